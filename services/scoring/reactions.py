"""What scoring does when other services speak.

Every reaction to a fact enters the gate, locks its customers, and only then reads the calibration in force (see
domain/calibrations.py). What comes late for an erased customer or the loser of a merge is left alone.
"""

from collections.abc import Callable, Sequence
from typing import Any, TypeVar
from uuid import UUID

from sqlalchemy.orm import Session

from services.scoring.domain import calibrations, facts, satisfaction, scores
from services.scoring.domain.calibrations import Calibration
from services.scoring.domain.scores import Cause
from services.scoring.tables import customer
from shared.customers import FOLLOWED, follows, lock_active
from shared.events.feedback import SatisfactionChanged
from shared.events.profile import PurchaseCancelled, PurchaseFact, PurchaseRecorded, PurchaseReturned
from shared.messaging.consumer import Consumer

Fact = TypeVar("Fact", bound=PurchaseFact)


def record_purchases(session: Session, events: Sequence[PurchaseRecorded]) -> None:
    calibration, active = _open(session, events)
    currency = next((event.currency for event, _ in active if event.exchange_rate is None), None)
    if currency is not None:
        facts.note_currency(session, currency)
    if active:
        scores.record_purchases(
            session,
            calibration,
            [
                facts.Purchase(
                    event.purchase_id,
                    owner,
                    event.recorded_customer_id or owner,
                    event.occurred_at,
                    event.accounting_total_minor,
                )
                for event, owner in active
            ],
            lambda i: _because_of(active[i][0], "purchase"),
        )


def record_returns(session: Session, events: Sequence[PurchaseReturned]) -> None:
    _take_back(
        session,
        events,
        lambda event, owner: facts.Return(
            event.return_id,
            event.purchase_id,
            owner,
            event.recorded_customer_id or owner,
            event.occurred_at,
            event.accounting_amount_minor,
        ),
    )


def cancel_purchases(session: Session, events: Sequence[PurchaseCancelled]) -> None:
    _take_back(
        session,
        events,
        lambda event, owner: facts.Return(
            event.purchase_id,
            event.purchase_id,
            owner,
            event.recorded_customer_id or owner,
            event.occurred_at,
            event.accounting_amount_minor,
            cancellation=True,
        ),
    )


def keep_satisfaction(session: Session, events: Sequence[SatisfactionChanged]) -> None:
    active = lock_active(session, customer, {event.customer_id for event in events})
    # Events of one key are in order: the last one holds.
    latest = {event.customer_id: event for event in events if event.customer_id in active}
    satisfaction.keep(
        session, [(id_, each.to, each.measure, each.effective_at) for id_, each in sorted(latest.items())]
    )


def _open(session: Session, events: Sequence[Fact]) -> tuple[Calibration | None, list[tuple[Fact, UUID]]]:
    """The calibration in force and the events of active customers with their owner; anonymous ones concern nobody."""
    owned = [(event, event.customer_id) for event in events if event.customer_id is not None]
    calibrations.enter(session)
    active = lock_active(session, customer, {owner for _, owner in owned})
    calibration = calibrations.current(session)
    if calibration is not None and active:
        scores.catch_up(session, calibration, sorted(active))
    return calibration, [(event, owner) for event, owner in owned if owner in active]


def _take_back(session: Session, events: Sequence[Fact], fact: Callable[[Fact, UUID], facts.Return]) -> None:
    calibration, active = _open(session, events)
    if not active:
        return
    facts.record_returns(session, [fact(event, owner) for event, owner in active])
    if calibration is not None:
        last = {owner: event for event, owner in active}
        scores.score_customers(
            session, calibration, sorted(last), lambda customer_id: _because_of(last[customer_id], "return")
        )


def _because_of(event: PurchaseFact, reason: str) -> Cause:
    return Cause(reason=reason, effective_at=event.recorded_at, historical=event.historical, event=event)


REACTIONS: dict[type[Any], Callable[[Session, Sequence[Any]], None]] = {
    **{event: follows(customer) for event in FOLLOWED},
    PurchaseRecorded: record_purchases,
    PurchaseReturned: record_returns,
    PurchaseCancelled: cancel_purchases,
    SatisfactionChanged: keep_satisfaction,
}

CONSUMER = Consumer("scoring", REACTIONS)
