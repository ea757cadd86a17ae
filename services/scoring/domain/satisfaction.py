"""What customers last told us, as feedback sums it up: shown beside the score."""

from collections.abc import Sequence
from datetime import datetime
from uuid import UUID

from sqlalchemy import text
from sqlalchemy.orm import Session


def keep(session: Session, changes: Sequence[tuple[UUID, str, str, datetime]]) -> None:
    """Keep (customer, promoter | passive | detractor | unknown, measure, since) – one per customer."""
    if not changes:
        return
    customers, states, measures, times = zip(*changes, strict=True)
    session.execute(
        text("""
            insert into satisfaction (customer_id, satisfaction, measure, effective_at)
            select * from unnest(cast(:customers as uuid[]), cast(:states as text[]), cast(:measures as text[]),
                                 cast(:times as timestamptz[]))
            on conflict (customer_id) do update set satisfaction = excluded.satisfaction,
                measure = excluded.measure, effective_at = excluded.effective_at
        """),
        {
            "customers": list(customers),
            "states": list(states),
            "measures": list(measures),
            "times": list(times),
        },
    )
