"""The kinds of values that requests hold: how long, of which form, and what they become."""

import re
from datetime import UTC, date, datetime
from string import ascii_uppercase
from typing import Annotated, Any
from uuid import UUID
from zoneinfo import available_timezones

from fastapi import Path
from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    Field,
    StrictStr,
    StringConstraints,
)
from pydantic_core import PydanticCustomError

from services.profile.rules.facts import CustomerRef
from services.profile.rules.mapping_countries import is_code
from shared.http.fields import Moment

# No control characters: they would be invisible in an id and could break a message's head.
PRINTABLE = r"^[^\x00-\x1f\x7f]*$"
_ZONES = available_timezones()
_COUNTRIES: list[Any] = [
    first + second for first in ascii_uppercase for second in ascii_uppercase if is_code(first + second)
]

Id = Annotated[StrictStr, StringConstraints(min_length=1, max_length=200, pattern=PRINTABLE)]
"""How an outside system names something."""
Label = Annotated[StrictStr, StringConstraints(min_length=1, max_length=100, pattern=PRINTABLE)]
Words = Annotated[StrictStr, StringConstraints(max_length=1000, pattern=PRINTABLE)]
Source = Annotated[str, Path(min_length=1, max_length=200, pattern=PRINTABLE, examples=["shop"])]
ExternalId = Annotated[str, Path(min_length=1, max_length=200, pattern=PRINTABLE, examples=["17850"])]

Quantity = Annotated[int, Field(strict=True, gt=0, le=2**31 - 1, examples=[6])]
Minor = Annotated[int, Field(strict=True, ge=0, le=10**15, description="minor units of the currency")]
Price = Annotated[
    StrictStr,
    StringConstraints(pattern=r"^[0-9]{1,13}(\.[0-9]{1,9})?$"),
    Field(description="whole units of the currency as a decimal string", examples=["2.55"]),
]
Rate = Annotated[
    StrictStr,
    StringConstraints(
        pattern=r"^(0*[1-9][0-9]{0,11}(\.[0-9]{1,12})?|0+\.[0-9]{0,11}[1-9][0-9]{0,11})$", max_length=30
    ),
    Field(description="accounting units per unit of the currency, as a decimal string", examples=["7.18"]),
]
Currency = Annotated[
    StrictStr, StringConstraints(pattern=r"^[A-Z]{3}$"), Field(description="ISO 4217", examples=["CNY"])
]


def _in_reach(value: datetime) -> datetime:
    if not 1900 <= value.year <= 9998:
        raise PydanticCustomError("date_time_out_of_range", "Input should lie between 1900 and 9998")
    return value.astimezone(UTC)


When = Annotated[
    Moment,
    AfterValidator(_in_reach),
    Field(json_schema_extra={"pattern": "^(19|[2-8][0-9]|9[0-8])[0-9]{2}-"}),
]
"""RFC 3339, read as UTC."""


def _day(value: Any) -> Any:
    if isinstance(value, str) and re.fullmatch(r"\d{4}-\d\d-\d\d", value, re.ASCII) is None:
        raise PydanticCustomError("date", "Input should be a date, as 1990-04-23")
    if not isinstance(value, str | date) or isinstance(value, datetime):
        raise PydanticCustomError("date", "Input should be a date, as 1990-04-23")
    return value


Day = Annotated[date, BeforeValidator(_day)]


def _country(value: str) -> str:
    if not is_code(value):
        raise PydanticCustomError("country_unknown", "Input should be an ISO 3166-1 alpha-2 code, as CN")
    return value


def _zone(value: str) -> str:
    if value not in _ZONES:
        raise PydanticCustomError("time_zone_unknown", "Input should be an IANA time zone, as Asia/Shanghai")
    return value


Country = Annotated[
    StrictStr,
    StringConstraints(pattern=r"^[A-Z]{2}$"),
    AfterValidator(_country),
    Field(examples=["CN"], json_schema_extra={"enum": _COUNTRIES}),
]
Language = Annotated[
    StrictStr,
    StringConstraints(pattern=r"^[a-z]{2,3}(-[A-Za-z0-9]{2,8}){0,3}$"),
    Field(description="BCP 47", examples=["zh"]),
]
Zone = Annotated[
    StrictStr,
    AfterValidator(_zone),
    Field(examples=["Asia/Shanghai"], json_schema_extra={"enum": sorted(_ZONES)}),
]


class CustomerName(BaseModel):
    """A customer by the name that an outside system has for it."""

    source: Id = Field(examples=["shop"])
    external_id: Id = Field(examples=["17850"])


class CustomerId(BaseModel):
    """A customer by its id."""

    id: UUID


def customer_ref(named: CustomerName | CustomerId | None) -> CustomerRef | None:
    if named is None:
        return None
    if isinstance(named, CustomerId):
        return CustomerRef(customer_id=named.id)
    return CustomerRef(source=named.source, external_id=named.external_id)
