"""The outside of every request: its id and trace, its duration, one line in the log. Nothing personal."""

import re
import time

import structlog
from prometheus_client import Histogram
from starlette.datastructures import MutableHeaders
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from shared import tracing
from shared.http.exchange import KEY, Exchange
from shared.ids import uuid7

DURATION = Histogram(
    "http_server_request_duration_seconds",
    "Time from the head of a request to the end of its reply.",
    ["service", "method", "route", "status"],
    buckets=(0.002, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10),
)
_REQUEST_ID = re.compile(rb"^[A-Za-z0-9._:/+=@-]{1,128}$")

log = structlog.get_logger("http")


class Observation:
    """Names the request, follows its trace, measures it."""

    def __init__(self, app: ASGIApp, service: str) -> None:
        self._app = app
        self._service = service
        self._durations: dict[tuple[str, str, int], Histogram] = {}

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        began = time.perf_counter()
        received_id = received_trace = None
        for name, value in scope["headers"]:
            if name == b"x-request-id":
                received_id = value
            elif name == b"traceparent":
                received_trace = value.decode("latin-1")
        request_id = received_id.decode() if received_id and _REQUEST_ID.match(received_id) else str(uuid7())
        tracing.request_id.set(request_id)
        tracing.traceparent.set(tracing.continue_trace(received_trace))
        exchange = scope[KEY] = Exchange(request_id)

        async def send_named(message: Message) -> None:
            if message["type"] == "http.response.start":
                exchange.status = message["status"]
                MutableHeaders(scope=message)["X-Request-Id"] = request_id
            await send(message)

        try:
            await self._app(scope, receive, send_named)
        finally:
            self._record(scope["method"], exchange, time.perf_counter() - began)

    def _record(self, method: str, exchange: Exchange, seconds: float) -> None:
        route = exchange.template or "unknown"
        if route == "unknown" and method not in ("GET", "PUT", "POST", "PATCH", "DELETE", "OPTIONS", "HEAD"):
            method = "other"
        labels = (method, route, exchange.status)
        duration = self._durations.get(labels)
        if duration is None:
            duration = self._durations[labels] = DURATION.labels(
                self._service, method, route, exchange.status
            )
        duration.observe(seconds)
        if route.endswith(("/livez", "/readyz")) and exchange.status < 400:
            return
        log.info(
            "request",
            service=self._service,
            method=method,
            route=route,
            status=exchange.status,
            milliseconds=round(seconds * 1000, 2),
            caller=exchange.caller.credential_id if exchange.caller else None,
        )
