"""More requests than can be answered in time are turned away at once, instead of queueing without end."""

from starlette.types import ASGIApp, Receive, Scope, Send

from shared.errors import Unavailable

# A thread answers some hundred requests a second: whoever is let in is answered within about half a second.
WAITING_PER_THREAD = 32


class Overload:
    """Lets in as many requests as ``threads`` can soon work on; the others get 503 ``overloaded``. Liveness always
    answers."""

    def __init__(self, app: ASGIApp, threads: int) -> None:
        self._app = app
        self._most = threads * WAITING_PER_THREAD
        self._inside = 0

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http" or scope["path"].endswith("/livez"):
            await self._app(scope, receive, send)
            return
        if self._inside >= self._most:
            raise Unavailable(
                "overloaded", "more requests are waiting than can be answered", headers={"Retry-After": "1"}
            )
        self._inside += 1
        try:
            await self._app(scope, receive, send)
        finally:
            self._inside -= 1
