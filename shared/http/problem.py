"""Every error as one kind of document: application/problem+json (RFC 9457), rendered here and nowhere else."""

import http
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import structlog
from fastapi.exceptions import RequestValidationError
from psycopg import errors as postgres
from pydantic import BaseModel, Field
from sqlalchemy.exc import DBAPIError, OperationalError
from sqlalchemy.exc import TimeoutError as PoolTimeout
from starlette.exceptions import HTTPException

from shared import tracing
from shared.errors import Conflict, Fault, Invalid, NotFound, Refusal, Unavailable

MEDIA_TYPE = "application/problem+json"
MOST_FAULTS = 100

log = structlog.get_logger(__name__)


class FaultOut(BaseModel):
    """One place in the input that is wrong."""

    pointer: str = Field(
        description="JSON pointer into the body (`/lines/0/quantity`), or `/query/…`, `/path/…`, `/header/…`",
        examples=["/lines/0/quantity"],
    )
    code: str = Field(examples=["greater_than"])
    message: str = Field(examples=["Input should be greater than 0"])


class Problem(BaseModel):
    """What went wrong. `code` is stable; `detail` is for people and never holds personal data."""

    type: str = Field(examples=["urn:regulars:problem:validation_failed"])
    title: str = Field(examples=["Validation failed"])
    status: int = Field(examples=[422])
    code: str = Field(examples=["validation_failed"])
    detail: str = Field(examples=["1 value is not as it should be"])
    request_id: str | None = Field(default=None, examples=["019a8f6e-5d0c-7cc1-9d0e-0f6c1f1d2a3b"])
    errors: list[FaultOut] = Field(default=[], description="For bad input: every place that is wrong.")


def problem_of(refusal: Refusal) -> Problem:
    """The document of a refusal, e.g. for one item of a batch."""
    return Problem(
        type=f"urn:regulars:problem:{refusal.code}",
        title=refusal.code.replace("_", " ").capitalize(),
        status=refusal.status,
        code=refusal.code,
        detail=refusal.message,
        request_id=tracing.request_id.get(),
        errors=[
            FaultOut(pointer=fault.pointer, code=fault.code, message=fault.message)
            for fault in refusal.faults[:MOST_FAULTS]
        ],
    )


def refusal_of(error: BaseException) -> Refusal | None:
    """What an exception means to the caller; None for one that nobody foresaw."""
    if isinstance(error, Refusal):
        return error
    if isinstance(error, RequestValidationError):
        return _invalid(error)
    if isinstance(error, HTTPException):
        return _Plain(error.status_code, error.headers or {})
    if isinstance(error, PoolTimeout):
        return Unavailable(
            "overloaded", "all connections to the database are busy", headers={"Retry-After": "1"}
        )
    if isinstance(error, DBAPIError):
        return _database(error)
    return None


class Unexpected(Refusal):
    """What nobody foresaw; the log has it, the caller gets only the request id (500)."""

    status = 500

    def __init__(self) -> None:
        super().__init__(
            "internal_error", "something went wrong on our side; the request id finds it in the logs"
        )


class _Plain(Refusal):
    """An HTTP status without a code of ours (404 for an unknown path, 405)."""

    def __init__(self, status: int, headers: Mapping[str, str]) -> None:
        known = {404: ("unknown_path", "nothing is served under this path")}
        phrase = http.HTTPStatus(status).phrase
        code, message = known.get(status, (phrase.lower().replace(" ", "_").replace("-", "_"), phrase))
        super().__init__(code, message, headers=headers)
        self.status = status  # type: ignore[misc]


def _database(error: DBAPIError) -> Refusal | None:
    cause = error.orig
    if isinstance(
        cause, postgres.LockNotAvailable | postgres.DeadlockDetected | postgres.SerializationFailure
    ):
        return Unavailable(
            "busy", "others are changing the same data; try again", headers={"Retry-After": "1"}
        )
    if isinstance(cause, postgres.QueryCanceled):
        return Unavailable(
            "took_too_long", "the database gave up on this request", headers={"Retry-After": "5"}
        )
    if isinstance(error, OperationalError) or error.connection_invalidated:
        return Unavailable(
            "database_unavailable", "the database does not answer", headers={"Retry-After": "2"}
        )
    if isinstance(cause, postgres.UniqueViolation | postgres.ForeignKeyViolation):
        log.warning("constraint_refused", constraint=cause.diag.constraint_name)
        return Conflict("conflict", "this is at odds with what is already recorded")
    if isinstance(cause, postgres.DataError):
        return Invalid("value_out_of_range", "a value is too large, or of a form that cannot be stored")
    return None


def _invalid(error: RequestValidationError) -> Refusal:
    faults = [_fault(found, error.body) for found in error.errors()[:MOST_FAULTS]]
    if all(found["loc"][0] == "path" and found["type"] == "uuid_parsing" for found in error.errors()):
        return NotFound("unknown_id", "nothing can be known under this id: it is not a UUID", faults=faults)
    if any(fault.code == "json_invalid" for fault in faults):
        return Invalid("malformed_json", "the body is not JSON", faults=faults)
    count = len(error.errors())
    return Invalid(
        "validation_failed",
        f"{count} value{'s are' if count > 1 else ' is'} not as {'they' if count > 1 else 'it'} should be",
        faults=faults,
    )


def _fault(found: Mapping[str, Any], body: Any) -> Fault:
    location: Sequence[Any] = found["loc"]
    if location and location[0] == "body":
        pointer = pointer_to(_in_body(location[1:], body))
    else:
        pointer = pointer_to(location)
    return Fault(pointer, found["type"], found["msg"])


def _in_body(location: Sequence[Any], body: Any) -> Iterable[Any]:
    """Pydantic's location without the steps (a union's choice, a validator) that are not in the document."""
    here = body
    for number, step in enumerate(location):
        if (isinstance(here, dict) and step in here) or (
            isinstance(here, list) and isinstance(step, int) and step < len(here)
        ):
            here = here[step]
        elif number < len(location) - 1 or not isinstance(here, dict):
            continue
        yield step


def pointer_to(steps: Iterable[Any]) -> str:
    """RFC 6901."""
    return "".join(f"/{str(step).replace('~', '~0').replace('/', '~1')}" for step in steps)
