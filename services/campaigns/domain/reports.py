"""Figures about the whole programme."""

from collections.abc import Sequence
from typing import Any

from sqlalchemy import func, insert, select, text
from sqlalchemy.orm import Session

from services.campaigns.tables import held_back


def hold_back(session: Session, trigger: str, reason: str, count: int) -> None:
    """Count what old facts would have started, in the transaction that let it be."""
    if count:
        session.execute(insert(held_back).values(trigger=trigger, reason=reason, count=count))


def held_back_counts(session: Session) -> Sequence[Any]:
    """Rows of trigger, reason, count."""
    total = func.sum(held_back.c.count).cast(held_back.c.count.type).label("count")
    return session.execute(
        select(held_back.c.trigger, held_back.c.reason, total)
        .group_by(held_back.c.trigger, held_back.c.reason)
        .order_by(held_back.c.trigger, held_back.c.reason)
    ).all()


def points(session: Session) -> Any:
    """Customers with points, what they hold together, and what was ever earned, reversed, corrected and spent."""
    return session.execute(_POINTS).one()


_POINTS = text("""
    select
        (select count(*) from points_account) as customers,
        (select coalesce(sum(balance), 0)::bigint from points_account) as outstanding,
        coalesce(sum(p.points) filter (where m.kind = 'earned'), 0)::bigint as earned,
        coalesce(-sum(p.points) filter (where m.kind = 'reversed'), 0)::bigint as reversed,
        coalesce(sum(p.points) filter (where m.kind = 'adjusted'), 0)::bigint as adjusted,
        coalesce(-sum(p.points) filter (where m.kind = 'spent'), 0)::bigint as spent
    from posting p join movement m using (movement_id)
    where p.account = 'customer'
""")
