"""The kinds of values that requests hold, wherever a service has nothing stricter to say."""

import re
from datetime import datetime
from typing import Annotated, Any

from pydantic import AwareDatetime, BeforeValidator, Field
from pydantic_core import PydanticCustomError

_DATE_TIME = re.compile(r"\d{4}-\d\d-\d\d[Tt ]\d\d:\d\d(:\d\d(\.\d+)?)?([Zz]|[+-]\d\d:\d\d)", re.ASCII)


def _only_with_offset(value: Any) -> Any:
    if isinstance(value, datetime):
        return value
    if not isinstance(value, str) or not _DATE_TIME.fullmatch(value):
        raise PydanticCustomError(
            "date_time", "Input should be a date and time with offset, as 2026-11-20T10:00:00Z"
        )
    return value


Moment = Annotated[AwareDatetime, BeforeValidator(_only_with_offset)]
"""RFC 3339: a number is not a time, and a time without its offset could be any."""
Whole = Annotated[int, Field(strict=True)]
"""A JSON integer: neither a text nor true. (8.0 is one, and arrives as 8.)"""
