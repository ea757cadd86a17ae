"""The kinds of values that requests hold."""

import re
from typing import Annotated, Any

from pydantic import AwareDatetime, BeforeValidator
from pydantic_core import PydanticCustomError

_DATE_TIME = re.compile(r"\d{4}-\d\d-\d\d[Tt ]\d\d:\d\d(:\d\d(\.\d+)?)?([Zz]|[+-]\d\d:\d\d)", re.ASCII)


def _only_text(value: Any) -> Any:
    """A number is not a time, and a time without its offset could be any."""
    if not isinstance(value, str) or not _DATE_TIME.fullmatch(value):
        raise PydanticCustomError(
            "date_time", "Input should be a date and time with offset, as 2026-11-20T10:00:00Z"
        )
    return value


When = Annotated[AwareDatetime, BeforeValidator(_only_text)]
"""RFC 3339."""
