"""Calling a whole purchase off: everything of it that has not come back yet is reversed, once."""

from datetime import datetime
from typing import Any
from uuid import UUID

from sqlalchemy import Row, insert, select, update
from sqlalchemy.orm import Session

from services.profile.domain import customers, pricing, purchase_reading
from services.profile.rules.fingerprint import canonical
from services.profile.tables import purchase, purchase_cancellation
from shared.errors import Conflict, NotFound
from shared.events.profile import PurchaseCancelled
from shared.messaging.outbox import announce


def put(
    session: Session, source: str, external_id: str, occurred_at: datetime, reason: str | None, now: datetime
) -> bool:
    """Call a purchase off and announce what that reverses; False if it was told before.

    Raises NotFound ``purchase_not_found``, Invalid ``occurred_in_the_future``, Conflict ``cancellation_differs``, Gone.
    """
    pricing.check_time(occurred_at, now)
    bought = purchase_reading.lock(session, source, external_id)
    if bought.cancelled_at is not None:
        known = _find(session, bought.purchase_id)
        if (known.occurred_at, known.reason) != (occurred_at, reason):
            raise Conflict("cancellation_differs", "this purchase was called off with other facts")
        return False
    amount = bought.total_minor - bought.returned_minor
    accounting_amount = bought.accounting_total_minor - bought.accounting_returned_minor
    historical = customers.is_historical(session, occurred_at, now)
    session.execute(
        insert(purchase_cancellation).values(
            purchase_id=bought.purchase_id,
            occurred_at=occurred_at,
            recorded_at=now,
            historical=historical,
            reason=reason,
            amount_minor=amount,
            accounting_amount_minor=accounting_amount,
        )
    )
    session.execute(
        update(purchase)
        .where(purchase.c.purchase_id == bought.purchase_id)
        .values(
            returned_minor=purchase.c.returned_minor + amount,
            accounting_returned_minor=purchase.c.accounting_returned_minor + accounting_amount,
            cancelled_at=occurred_at,
        )
    )
    moved = bought.recorded_customer_id != bought.customer_id
    announce(
        session,
        PurchaseCancelled(
            customer_id=bought.customer_id,
            recorded_customer_id=bought.recorded_customer_id if moved else None,
            source=bought.source,
            external_id=bought.external_id,
            occurred_at=occurred_at,
            recorded_at=now,
            historical=historical,
            currency=bought.currency,
            exchange_rate=None if bought.exchange_rate is None else canonical(bought.exchange_rate),
            purchase_id=bought.purchase_id,
            amount_minor=amount,
            accounting_amount_minor=accounting_amount,
        ),
    )
    return True


def get(session: Session, source: str, external_id: str) -> Row[Any]:
    """Raises NotFound ``purchase_not_found``, ``cancellation_not_found``."""
    bought = purchase_reading.get(session, source, external_id)
    if bought["cancelled_at"] is None:
        raise NotFound("cancellation_not_found", "this purchase was not called off")
    return _find(session, bought["id"])


def _find(session: Session, purchase_id: UUID) -> Row[Any]:
    of = purchase_cancellation.c.purchase_id
    return session.execute(select(purchase_cancellation).where(of == purchase_id)).one()
