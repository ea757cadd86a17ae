"""Where every error of a request ends: as one problem document."""

import structlog
from starlette.types import ASGIApp, Receive, Scope, Send

from shared.errors import Refusal
from shared.http import problem
from shared.http.exchange import KEY, Exchange

log = structlog.get_logger(__name__)


class Refusals:
    """Answers what the inside raised, unless the reply is already on its way."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        try:
            await self._app(scope, receive, send)
        except Exception as error:
            exchange: Exchange = scope[KEY]
            if exchange.status:
                raise
            refusal = problem.refusal_of(error)
            if refusal is None:
                log.exception("unexpected_error", route=exchange.template)
                refusal = problem.Unexpected()
            elif refusal.status >= 500:
                log.warning("refused", code=refusal.code, route=exchange.template, error=type(error).__name__)
            await _answer(refusal, scope, exchange, send)


async def _answer(refusal: Refusal, scope: Scope, exchange: Exchange, send: Send) -> None:
    body = problem.problem_of(refusal).model_dump_json(exclude_none=True).encode()
    headers = [
        (b"content-type", problem.MEDIA_TYPE.encode()),
        (b"content-length", str(len(body)).encode()),
        (b"cache-control", b"no-store"),
        *((name.lower().encode(), value.encode("latin-1")) for name, value in refusal.headers.items()),
    ]
    if refusal.status == 401:
        headers.append((b"www-authenticate", b'Bearer realm="regulars"'))
    if not exchange.body_read and _has_body(scope):
        # What was not read must not be taken for the next request, nor be waited for.
        headers.append((b"connection", b"close"))
    await send({"type": "http.response.start", "status": refusal.status, "headers": headers})
    await send({"type": "http.response.body", "body": body})


def _has_body(scope: Scope) -> bool:
    return any(
        name == b"transfer-encoding" or (name == b"content-length" and value != b"0")
        for name, value in scope["headers"]
    )
