"""Defined attributes: what a value must look like, and how it is kept."""

import math
import re
from datetime import date
from decimal import Decimal, InvalidOperation
from typing import Any, NamedTuple

TYPES = ("text", "number", "boolean", "date", "choice", "list")
LONGEST_TEXT, LONGEST_ITEM, MOST_ITEMS = 200, 100, 50
LARGEST_NUMBER = 10**15
_CONTROL = re.compile(r"[\x00-\x1f\x7f\ud800-\udfff]")
_DAY = re.compile(r"\d{4}-\d\d-\d\d", re.ASCII)


class Definition(NamedTuple):
    """A defined attribute. ``allowed_values`` empty = any (never so for a choice); a retired one takes no values."""

    name: str
    type: str
    allowed_values: tuple[str, ...]
    personal: bool
    required: bool
    retired: bool


class Unfit(Exception):  # noqa: N818
    """The value does not fit its definition; the message says what would, and never repeats the value."""


def kept_value(definition: Definition, value: Any) -> Any:
    """``value`` in the one form in which it is kept. Raises Unfit."""
    match definition.type:
        case "text":
            return _text(value, LONGEST_TEXT)
        case "number":
            return _number(value)
        case "boolean":
            if not isinstance(value, bool):
                raise Unfit("should be true or false")
            return value
        case "date":
            return _day(value)
        case "choice":
            return _allowed(definition, _text(value, LONGEST_ITEM))
        case _:
            if not isinstance(value, list) or len(value) > MOST_ITEMS:
                raise Unfit(f"should be a list of at most {MOST_ITEMS} texts")
            return sorted({_allowed(definition, _text(item, LONGEST_ITEM)) for item in value})


def measure(definition: Definition, value: Any) -> Decimal | None:
    """What ranges compare: a number, or a day as its number; None for every other type."""
    if definition.type == "number":
        return Decimal(str(value))
    if definition.type == "date":
        return Decimal(date.fromisoformat(value).toordinal())
    return None


def asked_value(definition: Definition, text: str) -> Any:
    """What a filter's text means for this attribute. Raises Unfit."""
    match definition.type:
        case "number":
            try:
                number = Decimal(text)
            except InvalidOperation:
                raise Unfit("should be a number") from None
            if not number.is_finite() or abs(number) > LARGEST_NUMBER or len(text) > 40:
                raise Unfit("should be a number")
            return number
        case "boolean":
            if text not in ("true", "false"):
                raise Unfit("should be true or false")
            return text
        case "date":
            return _day(text)
        case _:
            return _text(text, LONGEST_TEXT)


def _text(value: Any, longest: int) -> str:
    if not isinstance(value, str) or not value.strip() or len(value) > longest or _CONTROL.search(value):
        raise Unfit(f"should be a text of 1 to {longest} characters without control characters")
    return value.strip()


def _number(value: Any) -> int | float:
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise Unfit("should be a number")
    if not math.isfinite(value) or abs(value) > LARGEST_NUMBER:
        raise Unfit(f"should be a number between ±{LARGEST_NUMBER}")
    return int(value) if float(value).is_integer() else value


def _day(value: Any) -> str:
    if isinstance(value, str) and _DAY.fullmatch(value):
        try:
            return date.fromisoformat(value).isoformat()
        except ValueError:
            pass
    raise Unfit("should be a date, as 1990-04-23")


def _allowed(definition: Definition, value: str) -> str:
    if definition.allowed_values and value not in definition.allowed_values:
        raise Unfit("should be one of the allowed values")
    return value
