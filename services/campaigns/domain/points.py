"""What a customer's points are and how they came about."""

from collections.abc import Sequence
from typing import Any
from uuid import UUID

from sqlalchemy import select
from sqlalchemy.orm import Session

from services.campaigns.tables import movement, points_account, posting


def balance(session: Session, customer_id: UUID) -> int:
    """0 for a customer who never had any; below zero after a reversal of what was spent."""
    query = select(points_account.c.balance).where(points_account.c.customer_id == customer_id)
    return session.scalar(query) or 0


def entries(session: Session, customer_id: UUID, after: int | None, limit: int) -> Sequence[Any]:
    """The customer's side of each movement, the latest first; ``after`` is the position of the last one seen."""
    own = (posting.c.movement_id == movement.c.movement_id) & (posting.c.account == "customer")
    query = select(
        movement.c.movement_id.label("id"),
        movement.c.position,
        movement.c.kind,
        posting.c.points,
        movement.c.balance_after.label("balance"),
        movement.c.source,
        movement.c.reason,
        movement.c.effective_at,
        movement.c.booked_at,
    ).join(posting, own)
    query = query.where(movement.c.customer_id == customer_id)
    if after is not None:
        query = query.where(movement.c.position < after)
    return session.execute(query.order_by(movement.c.position.desc()).limit(limit)).all()
