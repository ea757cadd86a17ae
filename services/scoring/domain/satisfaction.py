"""What customers last told us, as feedback sums it up: shown beside the score."""

from collections.abc import Sequence
from datetime import datetime
from uuid import UUID

from sqlalchemy import text
from sqlalchemy.orm import Session


def keep(session: Session, changes: Sequence[tuple[UUID, UUID, str, str, datetime]]) -> None:
    """Keep (recorded customer, owner, promoter | passive | detractor | unknown, measure, since) – the last word under
    each key, so that an unmerge finds what each side said itself."""
    if not changes:
        return
    recorded, customers, states, measures, times = zip(*changes, strict=True)
    session.execute(
        text("""
            insert into satisfaction (recorded_customer_id, customer_id, satisfaction, measure, effective_at)
            select * from unnest(cast(:recorded as uuid[]), cast(:customers as uuid[]), cast(:states as text[]),
                                 cast(:measures as text[]), cast(:times as timestamptz[]))
            on conflict (recorded_customer_id) do update set satisfaction = excluded.satisfaction,
                measure = excluded.measure, effective_at = excluded.effective_at
        """),
        {
            "recorded": list(recorded),
            "customers": list(customers),
            "states": list(states),
            "measures": list(measures),
            "times": list(times),
        },
    )
