"""Points for purchases: earned, taken back by returns, corrected by a tier that was announced late.

Each purchase keeps what it has brought so far. Every fact about it – the purchase, a return, a cancellation, a tier
change before its time – books the difference to what it should have brought by now (rules.earning.due), so the books
come out the same in whatever order the topics were read. The tier that counts is that of whoever owned the purchase
when it was recorded: of the winner from the merge on, and as if never merged once the merge is undone.
"""

from collections.abc import Callable, Iterable, Sequence
from typing import TypeVar, cast
from uuid import UUID

from sqlalchemy import text
from sqlalchemy.orm import Session

from services.campaigns.domain import ledger, purchases, rating
from services.campaigns.domain.ledger import Movement
from services.campaigns.domain.purchases import Purchase
from services.campaigns.rules import earning
from services.campaigns.settings import CampaignsSettings
from services.campaigns.tables import customer
from shared import money
from shared.customers import Owners, lock_owners, recorded_customer
from shared.events.profile import (
    PurchaseCancelled,
    PurchaseFact,
    PurchaseRecorded,
    PurchaseReturned,
    ReturnMatched,
)

Fact = TypeVar("Fact", bound=PurchaseFact)


def earn(session: Session, events: Sequence[PurchaseRecorded]) -> None:
    """Points for purchases, at the multiplier of the tier in force just before each was recorded."""
    settings = purchases.settings_of(session)
    events, owners = _counted(session, events)
    known = purchases.load(session, [event.purchase_id for event in events])
    tiers = rating.tiers_before(session, events, owners)
    touched, movements = [], []
    for event, tier in zip(events, tiers, strict=True):
        purchase = known.get(event.purchase_id)
        if purchase is None:
            purchase = known[event.purchase_id] = _unseen(event.purchase_id, event, owners)
        elif purchase.total_minor is not None:
            continue
        purchase.customer_id, purchase.recorded_customer_id = _owner(event, owners)
        purchase.source, purchase.external_id = event.source, event.external_id
        purchase.recorded_at, purchase.historical = event.recorded_at, event.historical
        purchase.minor_per_unit = _minor_per_unit(
            event, event.total_minor, event.accounting_total_minor, settings
        )
        purchase.total_minor = event.accounting_total_minor
        purchase.percent = earning.percent_of(tier, settings.multipliers)
        touched.append(purchase)
        if points := purchase.settle(settings.points_per_unit):
            movements.append(
                _moved(purchase, points, "earned", event, f"purchase:{event.purchase_id}", "purchase")
            )
    purchases.save(session, touched)
    ledger.book(session, movements)


def take_back(session: Session, events: Sequence[PurchaseReturned]) -> None:
    """Points of what was returned, taken back at the purchase's own multiplier; at 1× where no purchase is named."""
    matched = [event for event in events if event.purchase_id is not None]
    unmatched = [event for event in events if event.purchase_id is None]
    if matched:
        _reduce(
            session,
            matched,
            lambda event: event.accounting_net_left_minor or 0,
            lambda event: f"return:{event.return_id}",
        )
    if unmatched:
        _take_back_unmatched(session, unmatched)


def match(session: Session, events: Sequence[ReturnMatched]) -> None:
    """What returns took at 1× while they named no purchase is given back; what their purchase says is taken instead."""
    ids = [event.purchase_id for event in events]
    # All that is locked is locked at once: the purchases' own customers, too.
    counted, owners = _counted(session, events, session.scalars(_RECORDED, {"ids": ids}).all())
    told = {event.return_id: event for event in counted}
    given_back = [
        Movement(
            customer_id=_owner(told[return_id], owners)[0],
            recorded_customer_id=recorded_customer(told[return_id]),
            points=-points,
            kind="adjusted",
            cause=f"unmatched:{return_id}",
            source=f"return:{return_id}",
            reason="return",
            effective_at=told[return_id].recorded_at,
            historical=told[return_id].historical,
            because=told[return_id],
        )
        for return_id, points in session.execute(_FORGET_UNMATCHED, {"returns": list(told)})
        if points
    ]
    ledger.book(session, given_back)
    _reduce(
        session,
        counted,
        lambda event: event.accounting_net_left_minor or 0,
        lambda event: f"match:{event.return_id}",
    )


def call_off(session: Session, events: Sequence[PurchaseCancelled]) -> None:
    """All points of cancelled purchases, taken back."""
    _reduce(session, events, lambda event: 0, lambda event: f"cancellation:{event.purchase_id}")


def _reduce(
    session: Session, events: Sequence[Fact], net_left: Callable[[Fact], int], cause: Callable[[Fact], str]
) -> None:
    settings = purchases.settings_of(session)
    ids: list[UUID] = [event.purchase_id for event in events]  # type: ignore[attr-defined]
    # Not only the customer who brings it back: the purchase's own, too, whoever that is.
    recorded = session.scalars(_RECORDED, {"ids": ids}).all()
    events, owners = _counted(session, events, recorded)
    ids = [event.purchase_id for event in events]  # type: ignore[attr-defined]
    known = purchases.load(session, ids)
    movements = []
    for purchase_id, event in zip(ids, events, strict=True):
        purchase = known.get(purchase_id)
        if purchase is None:
            purchase = known[purchase_id] = _unseen(purchase_id, event, owners)
        purchase.leave(net_left(event))
        if points := purchase.settle(settings.points_per_unit):
            movements.append(_moved(purchase, points, "reversed", event, cause(event), "return"))
    purchases.save(session, list(known.values()))
    ledger.book(session, movements)


def _take_back_unmatched(session: Session, events: Sequence[PurchaseReturned]) -> None:
    settings = purchases.settings_of(session)
    rows, movements = [], []
    counted, owners = _counted(session, events)
    for event in counted:
        unit = _minor_per_unit(event, event.amount_minor, event.accounting_amount_minor, settings)
        points = -earning.points_for(
            event.accounting_amount_minor, unit, settings.points_per_unit, earning.ONE
        )
        rows.append((event, points))
        if points:
            movements.append(
                Movement(
                    customer_id=_owner(event, owners)[0],
                    recorded_customer_id=recorded_customer(event),
                    points=points,
                    kind="reversed",
                    cause=f"return:{event.return_id}",
                    source=f"return:{event.return_id}",
                    reason="return",
                    effective_at=event.recorded_at,
                    historical=event.historical,
                    because=event,
                )
            )
    if rows:
        session.execute(
            _ADD_UNMATCHED,
            {
                "returns": [event.return_id for event, _ in rows],
                "customers": [_owner(event, owners)[0] for event, _ in rows],
                "recorded": [recorded_customer(event) for event, _ in rows],
                "sources": [event.source for event, _ in rows],
                "external_ids": [event.external_id for event, _ in rows],
                "recorded_at": [event.recorded_at for event, _ in rows],
                "points": [points for _, points in rows],
            },
        )
    ledger.book(session, movements)


def _counted(
    session: Session, events: Sequence[Fact], also: Iterable[UUID] = ()
) -> tuple[list[Fact], Owners]:
    """The events that count – anonymous ones concern nobody –, with their customers' owners (and ``also``) locked."""
    named = {under for event in events if (under := recorded_customer(event)) is not None}
    owners = lock_owners(session, customer, named.union(also))
    counted = [
        event
        for event in events
        if (under := recorded_customer(event)) is not None and owners.counted(under) is not None
    ]
    return counted, owners


def _owner(event: PurchaseFact, owners: Owners) -> tuple[UUID, UUID]:
    """Whose it is and under whom it was recorded; asked only of events that count."""
    under = cast("UUID", recorded_customer(event))
    return cast("UUID", owners.counted(under)), under


def _unseen(purchase_id: UUID, event: PurchaseFact, owners: Owners) -> Purchase:
    owner, recorded_under = _owner(event, owners)
    return Purchase(
        purchase_id=purchase_id,
        customer_id=owner,
        recorded_customer_id=recorded_under,
        source=None,
        external_id=None,
        recorded_at=None,
        historical=event.historical,
        minor_per_unit=1,
        total_minor=None,
        net_left_minor=None,
        percent=earning.ONE,
        points=0,
    )


def _moved(
    purchase: Purchase, points: int, kind: ledger.Kind, event: PurchaseFact, cause: str, reason: str
) -> Movement:
    return Movement(
        customer_id=purchase.customer_id,
        recorded_customer_id=purchase.recorded_customer_id,
        points=points,
        kind=kind,
        cause=cause,
        source=f"purchase:{purchase.purchase_id}",
        reason=reason,
        effective_at=event.recorded_at,
        historical=event.historical,
        because=event,
    )


def _minor_per_unit(event: PurchaseFact, amount: int, accounting: int, settings: CampaignsSettings) -> int:
    if settings.currency is not None:
        exponent = money.exponent(settings.currency)
    else:
        own = money.exponent(event.currency)
        exponent = earning.accounting_exponent(amount, accounting, own, event.exchange_rate)
    return int(10**exponent)


_RECORDED = text("select recorded_customer_id from purchase where purchase_id = any(cast(:ids as uuid[]))")

_FORGET_UNMATCHED = text("""
    delete from unmatched_return where return_id = any(cast(:returns as uuid[])) returning return_id, points
""")

_ADD_UNMATCHED = text("""
    insert into unmatched_return
        (return_id, customer_id, recorded_customer_id, source, external_id, recorded_at, points)
    select * from unnest(
        cast(:returns as uuid[]), cast(:customers as uuid[]), cast(:recorded as uuid[]), cast(:sources as text[]),
        cast(:external_ids as text[]), cast(:recorded_at as timestamptz[]), cast(:points as bigint[]))
""")
