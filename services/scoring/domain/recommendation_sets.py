"""How what recommendations are made from is made: anew from all facts, beside what is in force, then in force at once.

Loaded by jobs only: it brings numpy and scipy. A set is written under a lock on its row, so whoever puts a set in force, or
begins another one, waits for a portion at most; and a set whose row is gone is nobody's any more.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any
from uuid import UUID

import numpy as np
from sqlalchemy import text
from sqlalchemy.orm import Session

from services.scoring.domain.arrays import arrays
from services.scoring.domain.lines import NET_LINES
from services.scoring.rules.related import FEWEST_BUYERS, Integers, Related, related_products

BESTSELLER_DAYS = 90
# Enough to fill 50 places for nearly everybody, whatever they own of them.
BESTSELLERS = 100
# Rows of a portion: some tenths of a second.
WRITTEN_AT_ONCE = 20_000

_KEPT = f"""
    select dense_rank() over (order by customer_id) - 1, number - 1
    from (
        select customer_id, sku
        from ({
    NET_LINES.format(bought="p.occurred_at < %(as_of)s", returned="r.occurred_at < %(as_of)s")
}) line
        group by customer_id, sku having sum(quantity) > 0) kept
    join unnest(cast(%(skus)s as text[])) with ordinality as known (sku, number) using (sku)
"""

_LATELY = "{}.occurred_at < :as_of and {}.occurred_at >= :as_of - :days * interval '1 day'"
# Where no segment is grouped by, everybody is.
_BESTSELLERS = f"""
    with ranked as (
        select s.segment, sku, count(*) as buyers, sum(amount_minor) as revenue_minor,
               row_number() over (partition by s.segment order by count(*) desc, sku collate "C") as place
        from (
            select customer_id, sku, sum(amount_minor) as amount_minor
            from ({NET_LINES.format(bought=_LATELY.format("p", "p"), returned=_LATELY.format("r", "r"))}) line
            group by customer_id, sku having sum(quantity) > 0) kept
        left join score s using (customer_id)
        group by grouping sets ((s.segment, sku), (sku))
        having count(*) >= :fewest and (s.segment is not null or grouping(s.segment) = 1)),
    written as (
        insert into bestseller (set_id, segment, place, sku, buyers, revenue_minor)
        select :id, coalesce(segment, ''), place, sku, buyers, revenue_minor from ranked where place <= :most
        returning set_id)
    select count(*) from written
"""

_COPY = """
    copy related_product (set_id, sku, place, related_sku, score, buyers, lift) from stdin (format binary)
"""
_COPY_TYPES = ["uuid", "text", "int2", "text", "float8", "int8", "float8"]


@dataclass(frozen=True)
class Kept:
    """Who bought and kept what, as indices (both of shape (pairs,)); ``products`` are places in ``skus``, which rise."""

    buyers: Integers
    products: Integers
    skus: Sequence[str]


def begin(session: Session, set_id: UUID) -> datetime:
    """An empty set; gives its as_of, which is the calibration's if that one is pinned, else now. Every unfinished set is given
    up, and what there was of this one."""
    _enter_alone(session)
    unfinished = session.scalars(text("select set_id from recommendation_set where state = 'counting'")).all()
    _forget(session, unfinished)
    as_of: datetime = session.execute(
        text("""
            insert into recommendation_set (set_id, as_of, state)
            select :id, coalesce((select as_of from calibration where state = 'current' and pinned), now()), 'counting'
            returning as_of
        """),
        {"id": set_id},
    ).scalar_one()
    return as_of


def kept_before(session: Session, as_of: datetime) -> Kept:
    """Everybody's, from the facts before ``as_of``. The erased count as anybody does, the merged as one."""
    # By code point, whatever the database's collation is: the order of equal scores.
    skus = sorted(session.scalars(text("select distinct sku from purchase_line")))
    found = arrays(session, _KEPT, {"as_of": as_of, "skus": skus}, ("buyers", "products"))
    return Kept(found["buyers"], found["products"], skus)


def related(kept: Kept) -> Iterator[list[Related]]:
    """What goes with each product, the products in their order, in portions to be written at once."""
    portion, rows = list[Related](), 0
    for block in related_products(kept.buyers, kept.products, len(kept.skus)):
        portion.append(block)
        rows += len(block.product)
        if rows >= WRITTEN_AT_ONCE:
            yield portion
            portion, rows = [], 0
    yield portion


def is_wanted(session: Session, set_id: UUID) -> bool:
    """Whether nobody has given this set up; until the commit nobody does."""
    held = text("select true from recommendation_set where set_id = :id for key share")
    return session.scalar(held, {"id": set_id}) is True


def write_related(session: Session, set_id: UUID, skus: Sequence[str], portion: Sequence[Related]) -> int:
    """Add a portion to a set that is wanted; gives how many rows it has."""
    connection: Any = session.connection().connection.driver_connection
    with connection.cursor() as cursor, cursor.copy(_COPY) as copy:
        copy.set_types(_COPY_TYPES)
        for block in portion:
            places = np.arange(len(block.product)) - np.searchsorted(block.product, block.product) + 1
            columns = (block.product, places, block.related, block.score, block.buyers, block.lift)
            for product, place, other, *measured in zip(*(each.tolist() for each in columns), strict=True):
                copy.write_row((set_id, skus[product], place, skus[other], *measured))
    return sum(len(block.product) for block in portion)


def write_bestsellers(session: Session, set_id: UUID, as_of: datetime) -> int:
    """Add those of every segment and of everybody to a set that is wanted; gives how many rows there are.

    What fewer than ``FEWEST_BUYERS`` bought is none: it would show a customer's purchases to others.
    """
    written: int = session.execute(
        text(_BESTSELLERS),
        {
            "id": set_id,
            "as_of": as_of,
            "days": BESTSELLER_DAYS,
            "fewest": FEWEST_BUYERS,
            "most": BESTSELLERS,
        },
    ).scalar_one()
    return written


def take_effect(session: Session, set_id: UUID, related_count: int) -> bool:
    """From the commit on recommendations are made from this set, and nothing is left of any other; False if it was given up."""
    _enter_alone(session)
    if not is_wanted(session, set_id):
        return False
    others = text("select set_id from recommendation_set where set_id <> :id")
    _forget(session, session.scalars(others, {"id": set_id}).all())
    session.execute(
        text("""
            update recommendation_set set state = 'current', related_count = :related_count, effective_at = now()
            where set_id = :id
        """),
        {"id": set_id, "related_count": related_count},
    )
    return True


def give_up(session: Session, set_id: UUID) -> None:
    """Leave nothing of a set that is not in force."""
    _enter_alone(session)
    unfinished = text("select set_id from recommendation_set where set_id = :id and state = 'counting'")
    _forget(session, session.scalars(unfinished, {"id": set_id}).all())


def _enter_alone(session: Session) -> None:
    """Wait for those who write, and let nobody write until the commit; whoever reads goes on."""
    session.execute(text("lock table recommendation_set in exclusive mode"))


def _forget(session: Session, set_ids: Sequence[UUID]) -> None:
    for table in ("recommendation_set", "related_product", "bestseller"):
        session.execute(
            text(f"delete from {table} where set_id = any(cast(:ids as uuid[]))"), {"ids": list(set_ids)}
        )
