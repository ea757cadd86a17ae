"""What every mapping says of its file: how it is written, and what times, numbers and countries look like."""

import re
from typing import Annotated, Literal
from zoneinfo import available_timezones

from pydantic import AfterValidator, BaseModel, ConfigDict, Field
from pydantic_core import PydanticCustomError

from services.profile.rules.mapping_cells import Cell, Name, SkipRule
from services.profile.rules.mapping_countries import is_code


def _zone(name: str) -> str:
    if name not in available_timezones():
        raise PydanticCustomError("unknown_time_zone", "{name} is not an IANA time zone", {"name": name})
    return name


def _pattern(text: str) -> str:
    try:
        re.compile(text)
    except re.error as error:
        raise PydanticCustomError(
            "invalid_pattern", "not a regular expression: {why}", {"why": str(error)}
        ) from None
    return text


def date_format(text: str) -> str:
    """``iso``, or a format of strptime that names at least year, month and day."""
    directives = set(re.findall(r"%(.)", text))
    complete = bool(directives & set("yY")) and bool(directives & set("mbB")) and "d" in directives
    if text != "iso" and not (complete or directives & set("cx")):
        raise PydanticCustomError("invalid_date_format", "neither iso nor a format with year, month and day")
    if directives - set("aAbBcdfHIjmMpSxXyYzZ%"):
        raise PydanticCustomError("invalid_date_format", "holds a directive that is not known")
    return text


def _countries(names: dict[str, str | None]) -> dict[str, str | None]:
    for name, code in names.items():
        if code is not None and not is_code(code):
            raise PydanticCustomError(
                "unknown_country", "the country given for {name} is not an ISO 3166-1 code", {"name": name}
            )
    return {name.casefold(): code for name, code in names.items()}


Pattern = Annotated[str, AfterValidator(_pattern)]
DateFormat = Annotated[str, AfterValidator(date_format)]
Column = Name | Cell
"""A column by its name, or with what is done to its cells."""


def cell_of(column: str | Cell) -> Cell:
    return column if isinstance(column, Cell) else Cell(column=column)


class FileShape(BaseModel):
    """How a file is written."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    source: str = Field(
        pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]{0,63}$", description="who names the orders and customers"
    )
    format: Literal["csv", "ndjson", "xlsx"] = "csv"
    encoding: Literal["utf-8", "gb18030"] = "utf-8"
    delimiter: Annotated[str, Field(pattern=r"^[,;\t|]$")] | None = Field(
        default=",", description="null: the one under which the header has the mapping's columns"
    )
    quote: Annotated[str, Field(pattern=r"^[\"']$")] = '"'
    sheet: Annotated[str, Field(min_length=1, max_length=100)] | None = Field(
        default=None, description="of an .xlsx: its name; the first one unless said"
    )
    skip_rows: Annotated[tuple[SkipRule, ...], Field(max_length=20)] = ()
    strip_id_suffix: str | None = Field(
        default=None, min_length=1, max_length=20, description="cut from ids, e.g. .0 of 17850.0"
    )
    time_zone: Annotated[str, AfterValidator(_zone)] = Field(
        default="UTC", description="of times that carry none"
    )
    date_format: DateFormat = Field(default="iso", max_length=100)
    decimal_separator: Literal[".", ","] = "."
    thousands_separator: Literal[",", ".", " ", "'"] | None = None
    country_names: bool = Field(
        default=True, description="countries are written as names; otherwise ISO 3166-1 codes"
    )
    countries: Annotated[dict[str, str | None], AfterValidator(_countries)] = Field(
        default={}, description="what a name in the file means, e.g. {'Channel Islands': 'JE'}; null: nothing"
    )
