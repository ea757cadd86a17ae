"""What can be exported, and how a row is written so that no program that opens it obeys it."""

import csv
import io
import json
from collections.abc import Iterable, Mapping, Sequence
from datetime import date, datetime
from typing import Any
from uuid import UUID

# Fields by kind, in the order of the columns; True = personal: only with approval.
KINDS: dict[str, dict[str, bool]] = {
    "customers": {
        "id": False,
        "kind": False,
        "external_ids": False,
        "name": True,
        "email": True,
        "phone": True,
        "birth_date": True,
        "postcode": True,
    }
    | dict.fromkeys(
        (
            "country",
            "region",
            "city",
            "gender",
            "education",
            "income_band",
            "industry",
            "organisation_size",
            "interests",
            "lifestyle",
            "personal_values",
            "language",
            "time_zone",
            "acquisition_channel",
            "tags",
            "registered_at",
            "created_at",
        ),
        False,
    ),
    "purchases": dict.fromkeys(
        (
            "id",
            "source",
            "external_id",
            "customer_id",
            "occurred_at",
            "recorded_at",
            "currency",
            "exchange_rate",
            "channel",
            "store",
            "staff_id",
            "campaign_id",
            "coupon_codes",
            "total_minor",
            "returned_minor",
            "accounting_total_minor",
            "accounting_returned_minor",
        ),
        False,
    ),
    "purchase_lines": dict.fromkeys(
        (
            "purchase_id",
            "source",
            "external_id",
            "customer_id",
            "occurred_at",
            "currency",
            "line",
            "sku",
            "description",
            "brand",
            "category",
            "quantity",
            "unit_price",
            "discount_minor",
            "amount_minor",
            "accounting_amount_minor",
            "returned_quantity",
        ),
        False,
    ),
    "returns": dict.fromkeys(
        (
            "id",
            "source",
            "external_id",
            "purchase_id",
            "customer_id",
            "occurred_at",
            "recorded_at",
            "currency",
            "amount_minor",
            "accounting_amount_minor",
        ),
        False,
    ),
    "consents": dict.fromkeys(
        (
            "id",
            "customer_id",
            "purpose",
            "channel",
            "state",
            "text_version",
            "collected_at",
            "in_force_from",
            "recorded_at",
            "recorded_by",
        ),
        False,
    ),
    "products": dict.fromkeys(
        (
            "id",
            "sku",
            "name_zh",
            "name_en",
            "brand",
            "category",
            "price_minor",
            "currency",
            "stock",
            "replenishable",
            "accessory_of",
            "active",
        ),
        False,
    ),
}
# Which filters a kind knows.
FILTERS: dict[str, tuple[str, ...]] = {
    "customers": ("country", "kind", "tag", "source", "created_at_gte", "created_at_lt"),
    "purchases": ("source", "channel", "store", "occurred_at_gte", "occurred_at_lt"),
    "purchase_lines": ("source", "channel", "store", "occurred_at_gte", "occurred_at_lt"),
    "returns": ("source", "occurred_at_gte", "occurred_at_lt"),
    "consents": ("purpose", "consent_channel", "state"),
    "products": ("brand", "active"),
}

BYTE_ORDER_MARK = "\ufeff"
# What a spreadsheet takes for the start of a formula or a command, in the full width of Chinese keyboards, too; and
# what could end a cell or a row for a program that reads carelessly.
_OBEYED = "=+-@\t\r\n\0|%＝＋－＠"


def is_personal(kind: str, fields: Iterable[str]) -> bool:
    return any(KINDS[kind][field] for field in fields)


def inert(cell: str) -> str:
    """A text that is shown and never obeyed: with an apostrophe in front where it begins, behind blanks or without, as a
    formula does."""
    start = cell.lstrip(" \u00a0\u3000\ufeff")[:1]
    return "'" + cell if start and start in _OBEYED else cell


def header(fields: Sequence[str], form: str) -> str:
    return _csv([fields]) if form == "csv" else ""


def written(rows: Iterable[Mapping[str, Any]], fields: Sequence[str], form: str) -> str:
    """Rows as lines of CSV, or of NDJSON."""
    if form == "csv":
        return _csv([[_cell(row[field]) for field in fields] for row in rows])
    return "".join(
        json.dumps({field: _plain(row[field]) for field in fields}, ensure_ascii=False) + "\n" for row in rows
    )


def _csv(rows: Iterable[Sequence[Any]]) -> str:
    """Every text in quotes, so that a semicolon splits none where semicolons separate."""
    text = io.StringIO()
    csv.writer(text, quoting=csv.QUOTE_NONNUMERIC, lineterminator="\r\n").writerows(rows)
    return text.getvalue()


def _cell(value: Any) -> Any:
    plain = _plain(value)
    if plain is None:
        return ""
    if isinstance(plain, bool):
        return "true" if plain else "false"
    if isinstance(plain, int):
        return plain
    if isinstance(plain, list):
        plain = ", ".join(map(str, plain))
    return inert(plain)


def _plain(value: Any) -> Any:
    if value is None or isinstance(value, bool | int | str):
        return value
    if isinstance(value, datetime):
        return value.isoformat().replace("+00:00", "Z")
    if isinstance(value, date | UUID):
        return str(value)
    if isinstance(value, list | tuple):
        return [_plain(item) for item in value]
    return format(value.normalize(), "f")
