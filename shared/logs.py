"""Structured logs: one JSON object a line on standard output, with the request and the trace, without personal data."""

import logging
import sys
import traceback
from typing import Any, TextIO

import structlog
from structlog.typing import EventDict

from shared import tracing

# What never stands in a log, whoever passes it.
_SECRET = frozenset({
    "authorization", "password", "secret", "token", "api_key", "name", "email", "phone", "address", "birth_date",
    "birth_on", "text", "comment", "note", "body",
})  # fmt: skip
_LONGEST_CHAIN = 8


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
        structlog.processors.ExceptionRenderer(_where_it_happened),
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
    # The server may have set up handlers of its own, which write lines that are not JSON.
    for name in ("uvicorn", "uvicorn.error"):
        server = logging.getLogger(name)
        server.handlers[:], server.propagate = [], True


def _place(service: str) -> Any:
    def place(logger: Any, method: str, event: EventDict) -> EventDict:
        event["service"] = event.get("service", service)
        if request_id := tracing.request_id.get():
            event["request_id"] = request_id
        if traceparent := tracing.traceparent.get():
            event["trace_id"], event["span_id"] = traceparent[3:35], traceparent[36:52]
        return event

    return place


def _where_it_happened(exc_info: Any) -> str:
    """The types of an error and its causes, each with the places it passed, without their messages: what was being
    worked on may stand in them, as it does in those of the database and of validation."""
    error: BaseException | None = exc_info if isinstance(exc_info, BaseException) else exc_info[1]
    told: list[str] = []
    while error is not None and len(told) < _LONGEST_CHAIN:
        places = traceback.extract_tb(error.__traceback__)
        kind = f"{type(error).__module__}.{type(error).__qualname__}"
        state = getattr(error, "sqlstate", None)
        told.append(
            "\n".join(
                [
                    *(f"{at.filename}:{at.lineno} in {at.name}" for at in places),
                    f"{kind} {state or ''}".rstrip(),
                ]
            )
        )
        error = error.__cause__ or (None if error.__suppress_context__ else error.__context__)
    return "\n-- caused by --\n".join(told)


def _redact(logger: Any, method: str, event: EventDict) -> EventDict:
    for key in event.keys() & _SECRET:
        event[key] = "[redacted]"
    return event
