"""Four applications behind one port, as an Ingress would put them."""

from collections.abc import Mapping

import anyio.to_thread
from starlette.types import Message, Receive, Scope, Send

from shared.http.app import ServiceApp

_PAGE = """<!doctype html>
<html lang="en"><meta charset="utf-8"><title>Regulars</title>
<meta name="viewport" content="width=device-width, initial-scale=1">
<h1>Regulars</h1>
<ul>{links}</ul>
</html>
"""


class Gateway:
    """``/profile/…`` goes to profile, unstripped; ``/`` lists what is here; ``/livez`` and ``/readyz`` speak for all."""

    def __init__(self, applications: Mapping[str, ServiceApp]) -> None:
        self.applications = dict(applications)
        links = "".join(f'<li><a href="/{name}/docs">{name}</a></li>' for name in self.applications)
        self._page = _PAGE.format(links=links).encode()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "lifespan":
            await self._lifespan(receive, send)
            return
        if scope["type"] != "http":
            return
        path = scope["path"]
        name = path[1:].partition("/")[0]
        if (application := self.applications.get(name)) is not None:
            await application(scope, receive, send)
        elif path == "/livez":
            await _reply(send, 200, b'{"status":"ok"}')
        elif path == "/readyz":
            ready = [
                await _status(application, name, scope) for name, application in self.applications.items()
            ]
            await _reply(
                send, max(ready), b'{"status":"ok"}' if max(ready) < 400 else b'{"status":"unavailable"}'
            )
        elif path == "/" and scope["method"] in ("GET", "HEAD"):
            await _reply(send, 200, self._page, b"text/html; charset=utf-8")
        else:
            body = b'{"type":"about:blank","title":"Not Found","status":404,"code":"not_found"}'
            await _reply(send, 404, body, b"application/problem+json")

    async def _lifespan(self, receive: Receive, send: Send) -> None:
        """The applications start with their first request; they stop with the server."""
        while (message := await receive())["type"] != "lifespan.shutdown":
            await send({"type": f"{message['type']}.complete"})
        for application in self.applications.values():
            await anyio.to_thread.run_sync(application.keys.stop)
        await send({"type": "lifespan.shutdown.complete"})


async def _status(application: ServiceApp, name: str, scope: Scope) -> int:
    """What an application answers to GET /{name}/readyz."""
    statuses = []

    async def note(message: Message) -> None:
        if message["type"] == "http.response.start":
            statuses.append(message["status"])

    async def receive() -> Message:
        return {"type": "http.request", "body": b"", "more_body": False}

    path = f"/{name}/readyz"
    await application({**scope, "method": "GET", "path": path, "raw_path": path.encode()}, receive, note)
    return statuses[0] if statuses else 503


async def _reply(send: Send, status: int, body: bytes, kind: bytes = b"application/json") -> None:
    headers = [(b"content-type", kind), (b"content-length", str(len(body)).encode())]
    await send({"type": "http.response.start", "status": status, "headers": headers})
    await send({"type": "http.response.body", "body": body})
