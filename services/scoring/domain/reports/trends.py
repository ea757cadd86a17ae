"""Customers whose spend rises or declines beyond what chance explains, the largest change first."""

from collections.abc import Sequence
from typing import Any
from uuid import UUID

from sqlalchemy import Row
from sqlalchemy.orm import Session

from services.scoring.domain.reports.filters import Filter, ask

# Sorted by what makes the largest change, in the direction asked for, the smallest number.
_MOVING = """
    select customer_id, trend, recent_minor, before_minor, recent_minor - before_minor as change_minor, deviation, size
    from (
        select o.customer_id, o.trend, o.recent_minor, o.before_minor, o.trend_deviation as deviation,
               case o.trend when 'rising' then o.before_minor - o.recent_minor else o.recent_minor - o.before_minor end as size
        from ({members}) meant join outlook o using (customer_id) where o.trend = :direction) moving
    where (size, customer_id) > (cast(:size as bigint), cast(:after as uuid))
    order by size, customer_id limit :rows
"""
_BELOW_ALL = -(2**63)


def moving(
    session: Session, asked: Filter, direction: str, after: tuple[int, UUID] | None, rows: int
) -> Sequence[Row[Any]]:
    """The next ``rows`` customers whose trend is ``direction`` (rising or declining)."""
    size, customer_id = after or (_BELOW_ALL, UUID(int=0))
    return ask(
        session, _MOVING, asked, {"direction": direction, "size": size, "after": customer_id, "rows": rows}
    )
