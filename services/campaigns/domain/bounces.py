"""Addresses that turned out to be dead: kept, in the transaction that learns of it, until profile was told.

What is kept is whom the address was asked for and profile's own reference to its answer, never the address. Telling twice
does no harm, so a claim is only a pause: whoever dies over it is followed by the next.
"""

from collections.abc import Sequence
from datetime import timedelta
from typing import Any
from uuid import UUID

from sqlalchemy import text
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.orm import Session

from services.campaigns.domain.deliveries import FIRST_RETRY, LONGEST_RETRY
from services.campaigns.tables import bounce

# Longer than telling a claim takes where profile answers; where it does not, the first that finds it away ends the claim.
LEASE = timedelta(seconds=120)


def keep(session: Session, delivery_id: UUID, customer_id: UUID, channel: str, reference: str | None) -> None:
    """This message was refused because of its address; ``reference`` is what profile called its answer."""
    values = {
        "delivery_id": delivery_id,
        "customer_id": customer_id,
        "channel": channel,
        "reference": reference,
    }
    session.execute(insert(bounce).values(values).on_conflict_do_nothing())


def claim(session: Session, limit: int) -> Sequence[Any]:
    """Take up to ``limit`` of which profile is to be told now, the longest due first."""
    found = session.execute(_CLAIM, {"limit": limit, "span": LEASE}).all()
    return sorted(found, key=lambda row: row.delivery_id)


def settle(session: Session, delivery_id: UUID, outcome: str) -> None:
    """Profile was told: ``suppressed``, or the code by which it said that there is nothing to suppress."""
    session.execute(_SETTLE, {"id": delivery_id, "outcome": outcome})


def postpone(session: Session, delivery_ids: Sequence[UUID]) -> None:
    """Tell profile later, after twice the pause each time, for as long as it takes."""
    session.execute(_POSTPONE, {"ids": list(delivery_ids), "first": FIRST_RETRY, "longest": LONGEST_RETRY})


_CLAIM = text("""
    with due as (
        select delivery_id from bounce where told_at is null and due_at <= clock_timestamp()
        order by due_at limit :limit for update skip locked
    )
    update bounce b set due_at = clock_timestamp() + cast(:span as interval), attempts = b.attempts + 1
    from due where b.delivery_id = due.delivery_id
    returning b.delivery_id, b.customer_id, b.channel, b.reference
""")

_SETTLE = text("""
    update bounce set told_at = clock_timestamp(), outcome = :outcome
    where delivery_id = :id and told_at is null
""")

_POSTPONE = text("""
    update bounce set due_at = clock_timestamp() + least(
        cast(:first as interval) * power(2, least(attempts - 1, 20)), cast(:longest as interval))
    where delivery_id = any(cast(:ids as uuid[])) and told_at is null
""")
