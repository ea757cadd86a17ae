"""Rows with one order number → one purchase or return, the same in whatever order the rows stand in the file."""

from collections.abc import Callable, Sequence
from datetime import datetime
from decimal import Decimal
from typing import NamedTuple

from services.profile.rules.facts import CustomerRef, LineFacts, PurchaseFacts, UnmatchedReturnFacts
from services.profile.rules.mapping_rows import Refused

# An event carries all lines of its purchase and may not be longer than 900 KB: about 200 bytes a line.
MOST_LINES = 4000


class StagedRow(NamedTuple):
    """A checked row of the file."""

    kind: int
    order_number: str
    line: int
    customer: str | None
    sku: str
    quantity: int
    unit_price: Decimal
    occurred_at: datetime
    description: str | None
    category: str | None
    country: str | None
    currency: str
    exchange_rate: Decimal | None
    discount: Decimal | None
    channel: str | None
    store: str | None
    brand: str | None = None
    staff: str | None = None
    coupons: str | None = None


# Amount and currency → minor units.
ToMinor = Callable[[Decimal, str], int]


def purchase(source: str, rows: Sequence[StagedRow], to_minor: ToMinor) -> PurchaseFacts:
    """``rows`` of one order number as a purchase: it occurred when its earliest line did. Raises Refused."""
    rows = in_order(rows)
    first = rows[0]
    return PurchaseFacts(
        source=source,
        external_id=first.order_number,
        occurred_at=min(row.occurred_at for row in rows),
        currency=first.currency,
        lines=_lines(rows, to_minor),
        customer=_customer(source, rows),
        exchange_rate=first.exchange_rate,
        channel=next((row.channel for row in rows if row.channel), None),
        store=next((row.store for row in rows if row.store), None),
        staff_id=next((row.staff for row in rows if row.staff), None),
        coupon_codes=tuple(
            dict.fromkeys(code for row in rows if row.coupons for code in row.coupons.split("\n"))
        ),
    )


def unmatched_return(source: str, rows: Sequence[StagedRow], to_minor: ToMinor) -> UnmatchedReturnFacts:
    """``rows`` of one order number as a return that names no purchase. Raises Refused."""
    rows = in_order(rows)
    first = rows[0]
    return UnmatchedReturnFacts(
        source=source,
        external_id=first.order_number,
        occurred_at=min(row.occurred_at for row in rows),
        currency=first.currency,
        lines=_lines(rows, to_minor),
        customer=_customer(source, rows),
        exchange_rate=first.exchange_rate,
    )


def in_order(rows: Sequence[StagedRow]) -> list[StagedRow]:
    """The lines of an order as they are numbered: by what they say, not by where they stand, so that the same export
    sorted otherwise is the same purchase. Raises Refused for rows that cannot be one order."""
    if len(rows) > MOST_LINES:
        raise Refused("order", "too_many_lines", f"an order has at most {MOST_LINES} lines")
    if len({row.customer for row in rows if row.customer is not None}) > 1:
        raise Refused("customer", "order_of_several_customers", "the order's rows name several customers")
    if len({(row.currency, row.exchange_rate) for row in rows}) > 1:
        raise Refused(
            "currency", "order_of_several_currencies", "the order's rows name several currencies or rates"
        )
    return sorted(rows, key=_what_it_says)


def _what_it_says(row: StagedRow) -> tuple[object, ...]:
    return (
        row.occurred_at,
        row.sku,
        row.unit_price,
        row.quantity,
        row.description or "",
        row.category or "",
        row.discount or 0,
        row.channel or "",
        row.store or "",
        row.brand or "",
    )


def _lines(rows: Sequence[StagedRow], to_minor: ToMinor) -> tuple[LineFacts, ...]:
    return tuple(
        LineFacts(
            row.sku,
            row.quantity,
            row.unit_price,
            to_minor(row.discount, row.currency) if row.discount else 0,
            row.description,
            row.brand,
            row.category,
        )
        for row in rows
    )


def _customer(source: str, rows: Sequence[StagedRow]) -> CustomerRef | None:
    name = next((row.customer for row in rows if row.customer is not None), None)
    return None if name is None else CustomerRef(source=source, external_id=name)
