"""What can go wrong on purpose. Raised by the domain, rendered once as a problem document by shared/http.

Every refusal has a stable ``code`` that clients may rely on; the message is safe to show the caller
and never holds anyone's personal data.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar


@dataclass(frozen=True)
class Fault:
    """One thing wrong with the input, at ``pointer`` (RFC 6901, e.g. ``/lines/0/quantity``)."""

    pointer: str
    code: str
    message: str


class Refusal(Exception):  # noqa: N818 - a refusal is an answer, not an error of ours
    """The request was understood and refused; ``status`` is its HTTP status."""

    status: ClassVar[int] = 422

    def __init__(
        self,
        code: str,
        message: str,
        *,
        faults: Sequence[Fault] = (),
        headers: Mapping[str, str] | None = None,
    ) -> None:
        super().__init__(message)
        self.code = code
        self.message = message
        self.faults = tuple(faults)
        self.headers = dict(headers or {})

    def __reduce__(self) -> Any:
        return (_rebuild, (type(self), self.code, self.message, self.faults, self.headers))


def _rebuild(kind: type[Refusal], code: str, message: str, faults: Any, headers: Any) -> Refusal:
    return kind(code, message, faults=faults, headers=headers)


class BadRequest(Refusal):
    """The request as such is malformed: a header, a cursor, a token's form (400)."""

    status = 400


class Unauthenticated(Refusal):
    """No credential, or one that nobody issued (401)."""

    status = 401


class Forbidden(Refusal):
    """A valid credential that may not do this (403)."""

    status = 403


class NotFound(Refusal):
    """Nothing is known under this name – or nothing that this caller may know of (404)."""

    status = 404


class Conflict(Refusal):
    """At odds with the state of the resource (409)."""

    status = 409


class Gone(Refusal):
    """It was here and was erased (410)."""

    status = 410


class VersionMismatch(Refusal):
    """If-Match names another version than the current one (412)."""

    status = 412


class TooLarge(Refusal):
    """The body is longer or deeper than allowed (413)."""

    status = 413


class Invalid(Refusal):
    """Well-formed and wrong: ``faults`` name the places (422)."""

    status = 422


class PreconditionRequired(Refusal):
    """If-Match or Idempotency-Key is missing where it is required (428, or 400 for the key)."""

    status = 428


class TooManyRequests(Refusal):
    """Over a limit; ``Retry-After`` says when to come again (429)."""

    status = 429


class Unavailable(Refusal):
    """Something this needs is away for now (503)."""

    status = 503
