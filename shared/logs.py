"""Structured logs: one JSON object a line on standard output, with the request and the trace, without personal data."""

import logging
import sys
from typing import Any, TextIO

import structlog
from structlog.typing import EventDict

from shared import tracing

# What never stands in a log, whoever passes it.
_SECRET = frozenset({
    "authorization", "password", "secret", "token", "api_key", "name", "email", "phone", "address", "birth_date",
    "birth_on", "text", "comment", "note", "body",
})  # fmt: skip


def configure(
    service: str, *, level: str = "info", stream: TextIO | None = None, colours: bool = False
) -> None:
    """Send every log of this process, the standard library's too, to ``stream`` as JSON lines.

    ``colours`` writes for a person at a terminal instead.
    """
    out = stream or sys.stdout
    threshold = logging.getLevelNamesMapping()[level.upper()]
    renderer: Any = structlog.dev.ConsoleRenderer() if colours else structlog.processors.JSONRenderer()
    shared: list[Any] = [
        structlog.processors.add_log_level,
        _place(service),
        _redact,
        structlog.processors.TimeStamper(fmt="iso", utc=True),
        structlog.processors.format_exc_info,
    ]
    structlog.configure(
        processors=[*shared, renderer],
        wrapper_class=structlog.make_filtering_bound_logger(threshold),
        logger_factory=structlog.WriteLoggerFactory(out),
        cache_logger_on_first_use=False,
    )
    handler = logging.StreamHandler(out)
    handler.setFormatter(structlog.stdlib.ProcessorFormatter(foreign_pre_chain=shared, processor=renderer))
    root = logging.getLogger()
    root.handlers[:] = [handler]
    root.setLevel(max(threshold, logging.WARNING))


def _place(service: str) -> Any:
    def place(logger: Any, method: str, event: EventDict) -> EventDict:
        event["service"] = event.get("service", service)
        if request_id := tracing.request_id.get():
            event["request_id"] = request_id
        if traceparent := tracing.traceparent.get():
            event["trace_id"], event["span_id"] = traceparent[3:35], traceparent[36:52]
        return event

    return place


def _redact(logger: Any, method: str, event: EventDict) -> EventDict:
    for key in event.keys() & _SECRET:
        event[key] = "[redacted]"
    return event
