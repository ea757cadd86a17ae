"""On their way: what was shipped, promised and delivered of purchases."""

from collections.abc import Mapping, Sequence
from datetime import date, datetime
from typing import Any
from uuid import UUID

from sqlalchemy import Row, func, or_, select, tuple_
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.orm import Session

from services.profile.domain import customers, pricing, purchase_reading
from services.profile.rules.fulfilments import Impossible, day_of, is_late, told
from services.profile.tables import fulfilment, purchase
from shared import sealing
from shared.errors import Conflict, Fault, Invalid, NotFound
from shared.events.profile import PurchaseDelivered
from shared.messaging.outbox import announce

Given = Mapping[str, Any]
"""shipped_at, delivered_at, promised_on, carrier, tracking_number; absent = not spoken of, None = removed."""
Shown = dict[str, Any]

_KEPT = ("shipped_at", "delivered_at", "promised_on", "carrier")


def put(session: Session, source: str, external_id: str, given: Given, now: datetime) -> bool:
    """Write what is told over what is known of a purchase's way; True if it is the first that is heard of it.

    The delivery is announced, once. Raises NotFound ``purchase_not_found``; Invalid ``occurred_in_the_future``,
    ``delivered_before_shipped``; Conflict ``fulfilment_differs``, ``purchase_cancelled``; Gone.
    """
    for field in ("shipped_at", "delivered_at"):
        if given.get(field) is not None:
            pricing.check_time(given[field], now, field)
    bought = purchase_reading.lock(session, source, external_id)
    known = session.execute(
        select(fulfilment).where(fulfilment.c.purchase_id == bought.purchase_id)
    ).one_or_none()
    before = {field: getattr(known, field, None) for field in _KEPT}
    before["tracking_number"] = None if known is None else _tracking_numbers(session, [(bought, known)])[0]
    try:
        after = told(before, given)
    except Impossible as problem:
        kind = Conflict if problem.settled else Invalid
        faults = [Fault(f"/{problem.field}", problem.code, str(problem))]
        raise kind(problem.code, str(problem), faults=faults) from None
    if known is not None and after == before:
        return False
    if bought.cancelled_at is not None:
        raise Conflict("purchase_cancelled", "this purchase was called off")

    values = {field: after[field] for field in _KEPT}
    delivered_at = after["delivered_at"]
    zone = session.info["settings"].time_zone
    values["delivered_on"] = None if delivered_at is None else day_of(delivered_at, zone)
    values["tracking_number_sealed"] = _sealed(session, bought, after["tracking_number"])
    row = insert(fulfilment).values(purchase_id=bought.purchase_id, **values, recorded_at=now, updated_at=now)
    session.execute(
        row.on_conflict_do_update(index_elements=["purchase_id"], set_=values | {"updated_at": now})
    )
    if delivered_at is not None and before["delivered_at"] is None:
        announce(session, _delivered(session, bought, values, now))
    return known is None


def get(session: Session, source: str, external_id: str, now: datetime, *, clear: bool) -> Shown:
    """How far a purchase has come; the tracking number only if ``clear``. Raises NotFound ``purchase_not_found``,
    ``fulfilment_not_found``."""
    found = session.execute(
        _wanted().where(purchase.c.source == source, purchase.c.external_id == external_id)
    ).one_or_none()
    if found is None:
        purchase_reading.get(session, source, external_id)
        raise NotFound("fulfilment_not_found", "nothing was told of this purchase's way yet")
    return _shown(session, [found], now, clear=clear)[0]


def page_of_promised(
    session: Session,
    after: tuple[date, UUID] | None,
    limit: int,
    now: datetime,
    *,
    late: bool | None = None,
    delivered: bool | None = None,
    carriers: Sequence[str] = (),
    clear: bool,
) -> list[Shown]:
    """Purchases with a promised day, earliest promise first; ``late`` = delivered after that day, or not yet although it
    is over. What was called off and never came is late for nobody."""
    kept = fulfilment.c
    today = day_of(now, session.info["settings"].time_zone)
    order = (kept.promised_on, kept.purchase_id)
    rows = _wanted().where(kept.promised_on.is_not(None))
    rows = rows.where(or_(purchase.c.cancelled_at.is_(None), kept.delivered_at.is_not(None)))
    if late is True:
        # As the partial index says it.
        rows = rows.where(or_(kept.delivered_on.is_(None), kept.delivered_on > kept.promised_on))
        rows = rows.where(kept.promised_on < today)
    elif late is False:
        rows = rows.where(func.coalesce(kept.delivered_on, today) <= kept.promised_on)
    if delivered is not None:
        rows = rows.where(kept.delivered_at.is_not(None) == delivered)
    if carriers:
        rows = rows.where(kept.carrier.in_(carriers))
    if after is not None:
        rows = rows.where(tuple_(*order) > tuple_(*after))
    return _shown(session, session.execute(rows.order_by(*order).limit(limit)).all(), now, clear=clear)


def _wanted() -> Any:
    bought = purchase.c
    return select(
        fulfilment, bought.source, bought.external_id, bought.customer_id, bought.recorded_customer_id
    ).join(purchase, bought.purchase_id == fulfilment.c.purchase_id)


def _shown(session: Session, rows: Sequence[Row[Any]], now: datetime, *, clear: bool) -> list[Shown]:
    today = day_of(now, session.info["settings"].time_zone)
    numbers = _tracking_numbers(session, [(row, row) for row in rows]) if clear else [None] * len(rows)
    return [
        dict(row._mapping)
        | {
            "tracking_number": number,
            "personal_data": "shown" if clear else "withheld",
            "late": is_late(row.promised_on, row.delivered_on, today),
        }
        for row, number in zip(rows, numbers, strict=True)
    ]


def _tracking_numbers(session: Session, rows: Sequence[tuple[Row[Any], Row[Any]]]) -> list[str | None]:
    """In clear, of pairs of a purchase and its fulfilment."""
    return sealing.unseal_many(
        session,
        [
            (_subject(bought), _place(bought.purchase_id), known.tracking_number_sealed)
            for bought, known in rows
        ],
    )


def _sealed(session: Session, bought: Row[Any], number: str | None) -> bytes | None:
    if number is None:
        return None
    return sealing.seal(session, _subject(bought), _place(bought.purchase_id), number)


def _subject(bought: Row[Any]) -> str:
    return str(bought.recorded_customer_id or bought.purchase_id)


def _place(purchase_id: UUID) -> str:
    return f"fulfilment.tracking_number_sealed:{purchase_id}"


def _delivered(
    session: Session, bought: Row[Any], values: Mapping[str, Any], now: datetime
) -> PurchaseDelivered:
    moved = bought.recorded_customer_id != bought.customer_id
    return PurchaseDelivered(
        customer_id=bought.customer_id,
        recorded_customer_id=bought.recorded_customer_id if moved else None,
        source=bought.source,
        external_id=bought.external_id,
        occurred_at=values["delivered_at"],
        recorded_at=now,
        historical=customers.is_historical(session, values["delivered_at"], now),
        purchase_id=bought.purchase_id,
        carrier=values["carrier"],
        shipped_at=values["shipped_at"],
        promised_on=values["promised_on"],
        late=is_late(values["promised_on"], values["delivered_on"], values["delivered_on"]),
    )
