"""What feedback knows about customers: that they are there, their language and their tier."""

from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime
from uuid import UUID

from sqlalchemy import select
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.orm import Session

from services.feedback.tables import customer, customer_tier
from shared.customers import find_owner, lock_owners
from shared.errors import Gone
from shared.events.scoring import TierChanged


def answering(session: Session, customer_id: UUID) -> UUID:
    """Who answers for this customer: its winner for a merged one, itself where nothing was heard of it. Raises Gone
    ``customer_erased``."""
    return find_owner(session, customer, customer_id) or customer_id


def lock(session: Session, customer_id: UUID) -> UUID:
    """The same, locked, so that nothing lands on one who is merged or erased meanwhile."""
    owner = lock_owners(session, customer, [customer_id]).active.get(customer_id)
    if owner is None:
        raise Gone("customer_erased", "this customer has been erased")
    return owner


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
    owners = lock_owners(session, customer, {event.customer_id for event in events})
    latest: dict[UUID, tuple[datetime, str]] = {}
    for event in events:
        if owners.counted(event.customer_id) is None:
            continue
        if event.customer_id not in latest or latest[event.customer_id][0] <= event.effective_at:
            latest[event.customer_id] = (event.effective_at, event.tier)
    rows = [
        {"customer_id": customer_id, "tier": tier, "effective_at": effective_at}
        for customer_id, (effective_at, tier) in sorted(latest.items())
    ]
    if not rows:
        return
    new = insert(customer_tier)
    session.execute(
        new.on_conflict_do_update(
            index_elements=[customer_tier.c.customer_id],
            set_={"tier": new.excluded.tier, "effective_at": new.excluded.effective_at},
            where=customer_tier.c.effective_at <= new.excluded.effective_at,
        ),
        rows,
    )
