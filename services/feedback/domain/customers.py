"""What feedback knows about customers: that they are there, their language and their tier."""

from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime
from typing import Any
from uuid import UUID

from sqlalchemy import select
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.orm import Session

from services.feedback.tables import customer, customer_tier
from shared.errors import Gone
from shared.events.scoring import TierChanged


def whose(customer_id: UUID, recorded_customer_id: UUID) -> dict[str, Any]:
    """The customer of an event: the owner, and the one under whom the fact was recorded where that is another."""
    other = recorded_customer_id if recorded_customer_id != customer_id else None
    return {"customer_id": customer_id, "recorded_customer_id": other}


def owner(session: Session, customer_id: UUID) -> UUID:
    """Under whom something about this customer is recorded now. Raises Gone for the erased."""
    row = session.execute(
        select(customer.c.state, customer.c.merged_into).where(customer.c.customer_id == customer_id)
    ).one_or_none()
    if row is not None and row.state == "erased":
        raise Gone("customer_erased", "this customer has been erased")
    return row.merged_into if row is not None and row.merged_into else customer_id


def tier_of(session: Session, customer_id: UUID) -> str | None:
    return session.scalar(select(customer_tier.c.tier).where(customer_tier.c.customer_id == customer_id))


def languages(session: Session, customer_ids: Iterable[UUID]) -> Mapping[UUID, str | None]:
    rows = session.execute(
        select(customer.c.customer_id, customer.c.language).where(
            customer.c.customer_id.in_(set(customer_ids))
        )
    )
    return {row.customer_id: row.language for row in rows}


def change_tiers(session: Session, events: Sequence[TierChanged]) -> None:
    """Keep the tier that took effect last, in whatever order the changes arrive."""
    latest: dict[UUID, tuple[datetime, str]] = {}
    for event in events:
        if event.customer_id not in latest or latest[event.customer_id][0] <= event.effective_at:
            latest[event.customer_id] = (event.effective_at, event.tier)
    rows = [
        {"customer_id": customer_id, "tier": tier, "effective_at": effective_at}
        for customer_id, (effective_at, tier) in sorted(latest.items())
    ]
    new = insert(customer_tier)
    session.execute(
        new.on_conflict_do_update(
            index_elements=[customer_tier.c.customer_id],
            set_={"tier": new.excluded.tier, "effective_at": new.excluded.effective_at},
            where=customer_tier.c.effective_at <= new.excluded.effective_at,
        ),
        rows,
    )
