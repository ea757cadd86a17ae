"""How content a customer was when last asked."""

from datetime import datetime
from typing import Any
from uuid import UUID

from sqlalchemy import Row, insert, select, update
from sqlalchemy.orm import Session

from services.feedback.rules import nps
from services.feedback.tables import satisfaction
from shared.customers import whose
from shared.events.envelope import Event
from shared.events.feedback import SatisfactionChanged
from shared.messaging.outbox import announce


def record(
    session: Session, customer_id: UUID, recorded_customer_id: UUID, score: int, now: datetime, cause: Event
) -> str:
    """The group that an NPS answer puts its customer in: the one under whom it was recorded, and the owner, for whom
    the latest change counts. Only a change, of either, is announced. Both are locked."""
    group = nps.group(score)
    own = session.execute(
        select(satisfaction).where(satisfaction.c.recorded_customer_id == recorded_customer_id)
    ).one_or_none()
    shown = of_customer(session, customer_id)
    before_own = nps.UNKNOWN if own is None else own.satisfaction
    before = nps.UNKNOWN if shown is None else shown.satisfaction
    values: dict[str, Any] = {"measure": "nps", "score": score, "satisfaction": group}
    if not group == before == before_own:
        previous = before if before != group else before_own
        values |= {"previous": previous, "since": now}
        announce(
            session,
            SatisfactionChanged(
                **whose(customer_id, recorded_customer_id),
                from_=previous,
                to=group,
                measure="nps",
                effective_at=now,
            ).because(cause),
        )
    if own is None:
        session.execute(
            insert(satisfaction).values(
                customer_id=customer_id, recorded_customer_id=recorded_customer_id, **values
            )
        )
    else:
        session.execute(
            update(satisfaction)
            .where(satisfaction.c.recorded_customer_id == recorded_customer_id)
            .values(values)
        )
    return group


def of_customer(session: Session, customer_id: UUID) -> Row[Any] | None:
    """Of all that was said by this owner and those who were merged into it, the latest change."""
    return session.execute(
        select(satisfaction)
        .where(satisfaction.c.customer_id == customer_id)
        .order_by(satisfaction.c.since.desc(), satisfaction.c.recorded_customer_id)
        .limit(1)
    ).one_or_none()
