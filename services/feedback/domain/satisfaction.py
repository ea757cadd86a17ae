"""How content a customer was when last asked."""

from datetime import datetime
from typing import Any
from uuid import UUID

from sqlalchemy import Row, insert, select, update
from sqlalchemy.orm import Session

from services.feedback.domain import customers
from services.feedback.rules import nps
from services.feedback.tables import customer, satisfaction
from shared.customers import lock_active
from shared.events.envelope import Event
from shared.events.feedback import SatisfactionChanged
from shared.messaging.outbox import announce


def record(
    session: Session, customer_id: UUID, recorded_customer_id: UUID, score: int, now: datetime, cause: Event
) -> str:
    """The group that an NPS answer puts its customer in; only a change of it is announced. The customer is locked, so
    that two answers at once are told one after the other."""
    group = nps.group(score)
    lock_active(session, customer, [customer_id])
    before = session.scalar(
        select(satisfaction.c.satisfaction)
        .where(satisfaction.c.customer_id == customer_id)
        .with_for_update(key_share=True)
    )
    values: dict[str, Any] = {"measure": "nps", "score": score, "satisfaction": group}
    if before != group:
        values |= {"previous": before or nps.UNKNOWN, "since": now}
        announce(
            session,
            SatisfactionChanged(
                **customers.whose(customer_id, recorded_customer_id),
                from_=before or nps.UNKNOWN,
                to=group,
                measure="nps",
                effective_at=now,
            ).because(cause),
        )
    if before is None:
        session.execute(insert(satisfaction).values(customer_id=customer_id, **values))
    else:
        session.execute(update(satisfaction).where(satisfaction.c.customer_id == customer_id).values(values))
    return group


def of_customer(session: Session, customer_id: UUID) -> Row[Any] | None:
    return session.execute(
        select(satisfaction).where(satisfaction.c.customer_id == customer_id)
    ).one_or_none()
