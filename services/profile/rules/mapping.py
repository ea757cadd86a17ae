"""What a mapping says: how the columns of somebody's export become purchases and returns, or records of another kind."""

from typing import Annotated, Any, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, WrapValidator, model_validator
from pydantic_core import PydanticCustomError

from services.profile.rules.import_kinds import ATTRIBUTE, fields_of
from services.profile.rules.mapping_cells import Cell
from services.profile.rules.mapping_shape import Column, FileShape, Pattern, cell_of, date_format


class Columns(BaseModel):
    """Which column (CSV: of the header line; NDJSON: key of the object) holds what."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    order: Column = Field(
        description="the order's number: lines with the same one are one purchase or return"
    )
    sku: Column
    quantity: Column
    unit_price: Column | None = Field(default=None, description="or line_amount")
    line_amount: Column | None = Field(
        default=None, description="what the whole line costs, before its discount; instead of unit_price"
    )
    occurred_at: Column
    customer: Column | None = None
    description: Column | None = None
    brand: Column | None = None
    category: Column | None = None
    country: Column | None = Field(default=None, description="of the customer; used when it is new")
    currency: Column | None = None
    exchange_rate: Column | None = Field(
        default=None, description="accounting units per unit of the currency"
    )
    discount: Column | None = Field(default=None, description="amount off the line, in the order's currency")
    channel: Column | None = None
    store: Column | None = None
    staff: Column | None = None
    coupons: Column | None = Field(default=None, description="codes used for the order")

    def cells(self) -> dict[str, Cell]:
        """field → cell, for the fields that the file has."""
        return {field: cell_of(column) for field, column in self if column is not None}


class Mapping(FileShape):
    """How one kind of file with order lines is read."""

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

    kind: Literal["purchases"] = "purchases"
    columns: Columns
    return_prefix: str | None = Field(default=None, min_length=1, max_length=20)
    negative_quantity_is_return: bool = Field(
        default=False, description="a negative line of any order is a return; otherwise it is refused"
    )
    match_returns: Literal["never", "same_customer_sku_and_price"] = Field(
        default="never",
        description="whether the purchase of a return is looked for: the most recent one recorded for the same customer,"
        " in the same currency, not after the return, of which every returned line can still come back (same sku, same"
        " unit price, enough pieces). A return that fits none whole stays unmatched, for review.",
    )
    currency: str | None = Field(
        default=None, pattern=r"^[A-Z]{3}$", description="of rows that name none (ISO 4217)"
    )
    exchange_rate: str | None = Field(default=None, pattern=r"^[0-9]{1,9}(\.[0-9]{1,9})?$")
    channel: str | None = Field(default=None, min_length=1, max_length=100)
    store: str | None = Field(default=None, min_length=1, max_length=100)
    missing_customer: Literal["skip", "anonymous"] = "skip"
    product_pattern: Pattern | None = Field(
        default=None,
        max_length=200,
        description="what codes of products look like; unset: what most in the file do",
    )

    def cells(self) -> dict[str, Cell]:
        return self.columns.cells()

    @model_validator(mode="after")
    def _parts_agree(self) -> Self:
        if (self.columns.unit_price is None) == (self.columns.line_amount is None):
            raise PydanticCustomError(
                "price_column", "name the column of the unit price or of the line's amount"
            )
        if self.currency is None and self.columns.currency is None:
            raise PydanticCustomError("currency_missing", "needs a currency or a column that holds it")
        if self.missing_customer == "skip" and self.columns.customer is None:
            raise PydanticCustomError(
                "customer_column_missing", "every row would be skipped: name the column or choose anonymous"
            )
        _check(self, self.columns.cells(), dict(self.columns))
        return self


class RecordMapping(FileShape):
    """How a file is read whose rows are customers, products, activities, interactions, consents or tags, one each."""

    model_config = ConfigDict(
        extra="forbid",
        frozen=True,
        json_schema_extra={
            "examples": [
                {
                    "kind": "customers",
                    "source": "crm",
                    "columns": {
                        "external_id": "Contact ID",
                        "name": {"join": ["First Name", "Last Name"]},
                        "email": "Email",
                        "country": "Mailing Country",
                        "birth_date": {"column": "Birthdate", "date_format": "%m/%d/%Y"},
                        "acquisition_channel": {"default": "crm"},
                    },
                }
            ]
        },
    )

    kind: Literal["customers", "products", "activities", "interactions", "consents", "tags"]
    columns: Annotated[dict[str, Column], Field(min_length=1, max_length=200)]

    def cells(self) -> dict[str, Cell]:
        return {field: cell_of(column) for field, column in self.columns.items()}

    @model_validator(mode="after")
    def _parts_agree(self) -> Self:
        known = fields_of(self.kind)
        for field in self.columns:
            if field not in known and not (self.kind == "customers" and field.startswith(ATTRIBUTE)):
                raise PydanticCustomError(
                    "unknown_field",
                    "{kind} have no field {field}; there are: {known}",
                    {"kind": self.kind, "field": field[:100], "known": ", ".join(known)},
                )
        missing = [name for name, field in known.items() if field.required and name not in self.columns]
        if missing:
            raise PydanticCustomError(
                "field_missing", "needs a column for {names}", {"names": ", ".join(missing)}
            )
        _check(self, self.cells(), self.columns)
        return self


def _check(shape: FileShape, cells: dict[str, Cell], columns: "dict[str, Any]") -> None:
    """What can be wrong with the columns of either sort of mapping."""
    if shape.thousands_separator == shape.decimal_separator:
        raise PydanticCustomError("separators_equal", "the decimal and the thousands separator are the same")
    plain = [column for column in columns.values() if isinstance(column, str)]
    if len(set(plain)) != len(plain):
        raise PydanticCustomError("column_used_twice", "one column is given for two fields")
    for cell in cells.values():
        if cell.date_format is not None:
            date_format(cell.date_format)


def _chosen(value: Any, _: Any) -> "Mapping | RecordMapping":
    """By its kind; a mapping that names none is one of purchases."""
    kind = value.get("kind", "purchases") if isinstance(value, dict) else getattr(value, "kind", "purchases")
    return (Mapping if kind == "purchases" else RecordMapping).model_validate(value)


AnyMapping = Annotated[Mapping | RecordMapping, WrapValidator(_chosen)]


def read_mapping(definition: Any) -> Mapping | RecordMapping:
    """A mapping as it was saved."""
    return _chosen(definition, None)
