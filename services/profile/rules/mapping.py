"""What a mapping says: how the columns of somebody's export become purchases and returns."""

import re
from typing import Annotated, Literal, Self
from zoneinfo import available_timezones

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, model_validator
from pydantic_core import PydanticCustomError

from services.profile.rules.mapping_countries import is_code

Name = Annotated[str, Field(min_length=1, max_length=200)]


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


def _date_format(text: str) -> str:
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


class Columns(BaseModel):
    """Which column (CSV: of the header line; NDJSON: key of the object) holds what."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    order: Name = Field(description="the order's number: lines with the same one are one purchase or return")
    sku: Name
    quantity: Name
    unit_price: Name
    occurred_at: Name
    customer: Name | None = None
    description: Name | None = None
    category: Name | None = None
    country: Name | None = Field(default=None, description="of the customer; used when it is new")
    currency: Name | None = None
    exchange_rate: Name | None = Field(default=None, description="accounting units per unit of the currency")
    discount: Name | None = Field(default=None, description="amount off the line, in the order's currency")
    channel: Name | None = None
    store: Name | None = None

    def named(self) -> dict[str, str]:
        """field → column, for the fields that the file has."""
        return {field: column for field, column in self if column is not None}


class Mapping(BaseModel):
    """How one kind of file is read."""

    model_config = ConfigDict(
        extra="forbid",
        frozen=True,
        json_schema_extra={
            "examples": [
                {
                    "source": "shop",
                    "format": "csv",
                    "columns": {
                        "order": "InvoiceNo",
                        "sku": "StockCode",
                        "description": "Description",
                        "quantity": "Quantity",
                        "occurred_at": "InvoiceDate",
                        "unit_price": "UnitPrice",
                        "customer": "CustomerID",
                        "country": "Country",
                    },
                    "return_prefix": "C",
                    "strip_id_suffix": ".0",
                    "time_zone": "Europe/London",
                    "date_format": "%Y-%m-%d %H:%M:%S",
                    "currency": "GBP",
                    "missing_customer": "skip",
                }
            ]
        },
    )

    source: str = Field(
        pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]{0,63}$", description="who names the orders and customers"
    )
    format: Literal["csv", "ndjson"] = "csv"
    encoding: Literal["utf-8", "gb18030"] = "utf-8"
    delimiter: Annotated[str, Field(pattern=r"^[,;\t|]$")] = ","
    quote: Annotated[str, Field(pattern=r"^[\"']$")] = '"'
    columns: Columns
    return_prefix: str | None = Field(default=None, min_length=1, max_length=20)
    negative_quantity_is_return: bool = Field(
        default=False, description="a negative line of any order is a return; otherwise it is refused"
    )
    strip_id_suffix: str | None = Field(
        default=None, min_length=1, max_length=20, description="cut from ids, e.g. .0 of 17850.0"
    )
    time_zone: Annotated[str, AfterValidator(_zone)] = Field(
        default="UTC", description="of times that carry none"
    )
    date_format: Annotated[str, AfterValidator(_date_format)] = Field(default="iso", max_length=100)
    decimal_separator: Literal[".", ","] = "."
    thousands_separator: Literal[",", ".", " ", "'"] | None = None
    currency: str | None = Field(
        default=None, pattern=r"^[A-Z]{3}$", description="of rows that name none (ISO 4217)"
    )
    exchange_rate: str | None = Field(default=None, pattern=r"^[0-9]{1,9}(\.[0-9]{1,9})?$")
    channel: str | None = Field(default=None, min_length=1, max_length=100)
    store: str | None = Field(default=None, min_length=1, max_length=100)
    missing_customer: Literal["skip", "anonymous"] = "skip"
    country_names: bool = Field(
        default=True, description="countries are written as names; otherwise ISO 3166-1 codes"
    )
    countries: Annotated[dict[str, str | None], AfterValidator(_countries)] = Field(
        default={}, description="what a name in the file means, e.g. {'Channel Islands': 'JE'}; null: nothing"
    )
    product_pattern: Annotated[str, AfterValidator(_pattern)] | None = Field(
        default=None,
        max_length=200,
        description="what codes of products look like; unset: what most in the file do",
    )

    @model_validator(mode="after")
    def _parts_agree(self) -> Self:
        if self.currency is None and self.columns.currency is None:
            raise PydanticCustomError("currency_missing", "needs a currency or a column that holds it")
        if self.thousands_separator == self.decimal_separator:
            raise PydanticCustomError(
                "separators_equal", "the decimal and the thousands separator are the same"
            )
        if self.missing_customer == "skip" and self.columns.customer is None:
            raise PydanticCustomError(
                "customer_column_missing", "every row would be skipped: name the column or choose anonymous"
            )
        columns = list(self.columns.named().values())
        if len(set(columns)) != len(columns):
            raise PydanticCustomError("column_used_twice", "one column is given for two fields")
        return self
