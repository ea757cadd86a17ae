"""What purchases and returns consisted of, line by line, and the products they speak of.

Lines hang on their purchase or return, wherever that one goes; no metric is moved by them.
"""

from collections.abc import Collection, Sequence
from typing import NamedTuple
from uuid import UUID

from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.orm import Session

from services.scoring.tables import product
from shared.events.profile import ProductChanged


class Bought(NamedTuple):
    """A line of a purchase, in minor units of the accounting currency; ``amount_minor`` is net of the discount,
    ``cost_minor`` of all its pieces, null where nobody told it."""

    purchase_id: UUID
    line: int
    sku: str
    category: str | None
    brand: str | None
    quantity: int
    amount_minor: int
    discount_minor: int
    cost_minor: int | None


class TakenBack(NamedTuple):
    """A line of a return; ``line`` is the purchase's, where one is named."""

    return_id: UUID
    position: int
    line: int | None
    sku: str
    quantity: int
    amount_minor: int


# What was bought and, negative, what came back of it; {bought} says of which purchases p, {returned} of which returns r. What
# was called off was never bought, and nothing of it came back.
NET_LINES = """
    select p.customer_id, l.sku, p.occurred_at, l.quantity, l.amount_minor
    from purchase p join purchase_line l using (purchase_id)
    where {bought} and not exists (
        select from purchase_return c where c.return_id = p.purchase_id and c.cancellation)
    union all
    select r.customer_id, l.sku, null, -l.quantity, -l.amount_minor
    from purchase_return r join purchase_return_line l using (return_id)
    where {returned} and not exists (
        select from purchase_return c where c.return_id = r.purchase_id and c.cancellation)
"""

_RECORD_BOUGHT = """
    insert into purchase_line (
        purchase_id, line, sku, category, brand, quantity, amount_minor, discount_minor, cost_minor)
    select * from unnest(
        cast(%(purchases)b as uuid[]), cast(%(lines)b as integer[]), cast(%(skus)s as text[]), cast(%(categories)s as text[]),
        cast(%(brands)s as text[]), cast(%(quantities)b as integer[]), cast(%(amounts)b as bigint[]),
        cast(%(discounts)b as bigint[]), cast(%(costs)b as bigint[]))
    on conflict do nothing
"""

_RECORD_TAKEN_BACK = """
    insert into purchase_return_line (return_id, position, line, sku, quantity, amount_minor)
    select * from unnest(
        cast(%(returns)b as uuid[]), cast(%(positions)b as integer[]), cast(%(lines)b as integer[]), cast(%(skus)s as text[]),
        cast(%(quantities)b as integer[]), cast(%(amounts)b as bigint[]))
    on conflict do nothing
"""


def record_bought(session: Session, lines: Sequence[Bought]) -> None:
    """Recording a line again changes nothing."""
    names = (
        "purchases",
        "lines",
        "skus",
        "categories",
        "brands",
        "quantities",
        "amounts",
        "discounts",
        "costs",
    )
    _record(session, _RECORD_BOUGHT, names, lines)


def record_taken_back(session: Session, lines: Sequence[TakenBack]) -> None:
    """Recording a line again changes nothing."""
    names = ("returns", "positions", "lines", "skus", "quantities", "amounts")
    _record(session, _RECORD_TAKEN_BACK, names, lines)


def forget_taken_back(session: Session, return_ids: Collection[UUID]) -> None:
    """A return says anew what it consists of."""
    session.connection().exec_driver_sql(
        "delete from purchase_return_line where return_id = any(cast(%(ids)s as uuid[]))",
        {"ids": list(return_ids)},
    )


def _record(
    session: Session, statement: str, names: Sequence[str], lines: Sequence[Bought] | Sequence[TakenBack]
) -> None:
    if lines:
        columns = (list(column) for column in zip(*lines, strict=True))
        session.connection().exec_driver_sql(statement, dict(zip(names, columns, strict=True)))


def keep_products(session: Session, events: Sequence[ProductChanged]) -> None:
    """The catalogue as it is told; the events of one product are in order, so the last word holds."""
    said = set(product.c.keys())
    latest = {event.sku: event.model_dump(include=said) for event in events}
    new = insert(product)
    session.execute(
        new.on_conflict_do_update(
            index_elements=["sku"], set_={name: new.excluded[name] for name in said - {"sku"}}
        ),
        list(latest.values()),
    )
