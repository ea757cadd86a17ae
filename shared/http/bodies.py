"""Request bodies: how long, how deep, and of what kind; judged while they arrive."""

import asyncio
import re
from collections.abc import AsyncGenerator, Iterable
from typing import Any

from pydantic import BaseModel
from pydantic_core import from_json
from starlette.requests import Request

from shared.errors import Fault, Invalid, Refusal, TooLarge
from shared.http.exchange import exchange_of
from shared.http.problem import pointer_to

LONGEST = 12 * 1024 * 1024
PATIENCE = 30.0
"""Seconds in which a body must have arrived."""


# In JSON 8.0 and 8e2 are integers like 8; only a body that may hold such a number is looked through for them.
_MAYBE_WHOLE = re.compile(rb"[0-9]\.0*[\s,\]}]|[0-9][eE][+-]?[0-9]")


class UnsupportedMediaType(Refusal):
    """A body of another kind than the route reads (415)."""

    status = 415


class TooSlow(Refusal):
    """The body did not arrive in time (408)."""

    status = 408


class BoundedRequest(Request):
    """A request whose body is at most 12 MB, and whose JSON is strict.

    JSON deeper than 200 levels is refused, as are NaN and halves of surrogate pairs, which Postgres could not keep; so is
    U+0000, once it is known what of the body is meant (``refuse_nul``).
    """

    longest = LONGEST

    async def stream(self) -> AsyncGenerator[bytes, None]:
        received = 0
        async for chunk in super().stream():
            received += len(chunk)
            if received > self.longest:
                raise _too_large(self.longest)
            yield chunk

    async def json(self) -> Any:
        if not hasattr(self, "_json"):
            self._json = parse_json(await self.body())
        return self._json

    async def arrive(self) -> bytes:
        """Read the whole body; refuses one that says it is too long without reading any of it."""
        announced = self.headers.get("content-length", "")
        if announced.isdigit() and int(announced) > self.longest:
            raise _too_large(self.longest)
        try:
            async with asyncio.timeout(PATIENCE):
                body = await self.body()
        except TimeoutError:
            raise TooSlow("body_too_slow", f"the body did not arrive within {PATIENCE:.0f} s") from None
        exchange = exchange_of(self)
        exchange.body_read = True
        exchange.may_hold_nul = b"\\u0000" in body
        return body

    def require_json(self) -> None:
        """Refuse a body that is not declared as JSON, or is compressed."""
        kind = self.headers.get("content-type", "").partition(";")[0].strip().lower()
        if kind != "application/json" and not (kind.startswith("application/") and kind.endswith("+json")):
            raise UnsupportedMediaType("unsupported_media_type", "send the body as application/json")
        if self.headers.get("content-encoding", "identity").lower() != "identity":
            raise UnsupportedMediaType("unsupported_encoding", "send the body uncompressed")


def parse_json(body: bytes) -> Any:
    """The value of a JSON document. Raises Invalid (``malformed_json``) or TooLarge (``too_deep``)."""
    try:
        value = from_json(body, allow_inf_nan=False, cache_strings="keys")
    except ValueError as error:
        if "ecursion limit" in str(error):
            raise TooLarge("too_deep", "the body is nested too deeply") from None
        raise Invalid(
            "malformed_json", "the body is not JSON", faults=[Fault("", "json_invalid", str(error))]
        ) from None
    if _MAYBE_WHOLE.search(body):
        value = _with_whole_numbers(value)
    return value


def _with_whole_numbers(value: Any) -> Any:
    if isinstance(value, float):
        return int(value) if value.is_integer() and abs(value) <= 2**53 else value
    if isinstance(value, list):
        return [_with_whole_numbers(item) for item in value]
    if isinstance(value, dict):
        return {key: _with_whole_numbers(item) for key, item in value.items()}
    return value


def refuse_nul(values: Iterable[Any]) -> None:
    """Refuse texts with U+0000 in what a route was given (and not in fields that it ignores)."""
    faults = [fault for value in values for fault in _nul_characters(value, ())]
    if faults:
        raise Invalid("nul_character", "a text holds the character U+0000", faults=faults)


def _nul_characters(value: Any, at: tuple[Any, ...]) -> list[Fault]:
    if isinstance(value, BaseModel):
        return _nul_characters(value.model_dump(by_alias=True), at)
    if isinstance(value, str):
        return [Fault(pointer_to(at), "nul_character", "U+0000 cannot be kept")] if "\0" in value else []
    if isinstance(value, list):
        return [fault for number, item in enumerate(value) for fault in _nul_characters(item, (*at, number))]
    if isinstance(value, dict):
        found = [fault for key, item in value.items() for fault in _nul_characters(item, (*at, key))]
        return found + [fault for key in value for fault in _nul_characters(key, at)]
    return []


def _too_large(longest: int) -> TooLarge:
    if longest < LONGEST:
        return TooLarge("body_too_large", f"a body has at most {longest // 1024} KB here")
    return TooLarge(
        "body_too_large", f"a body has at most {LONGEST // 1024 // 1024} MB; use an import for more"
    )
