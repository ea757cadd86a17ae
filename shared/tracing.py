"""Which request, and which trace, the running code belongs to (W3C Trace Context)."""

import re
import secrets
from contextvars import ContextVar

request_id: ContextVar[str | None] = ContextVar("request_id", default=None)
traceparent: ContextVar[str | None] = ContextVar("traceparent", default=None)

_TRACEPARENT = re.compile(r"^00-(?!0{32})([0-9a-f]{32})-(?!0{16})([0-9a-f]{16})-([0-9a-f]{2})$")


def current_traceparent() -> str | None:
    """The ``traceparent`` to hand on with calls and events, or None outside any trace."""
    return traceparent.get()


def current_request_id() -> str | None:
    return request_id.get()


def continue_trace(received: str | None) -> str:
    """The traceparent of a new span: a child of ``received`` if that is valid, else the start of a trace."""
    if received and (match := _TRACEPARENT.match(received)):
        return f"00-{match[1]}-{secrets.token_hex(8)}-{match[3]}"
    return f"00-{secrets.token_hex(16)}-{secrets.token_hex(8)}-01"


def follow(received: str | None) -> None:
    """Work that an event or a job started belongs to the trace in which it was announced."""
    traceparent.set(continue_trace(received) if received else None)
