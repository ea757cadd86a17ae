"""What scoring does when other services speak.

Every reaction to a fact enters the gate, locks its customers, and only then reads the calibration in force (see
domain/calibrations.py). Whose a fact is is asked of the tree of merged customers, not of the event. What comes late for
an erased customer is left alone.
"""

from collections.abc import Callable, Iterable, Iterator, Sequence
from decimal import Decimal
from typing import Any, TypeVar
from uuid import UUID

from sqlalchemy.orm import Session

from services.scoring.domain import (
    acquisitions,
    calibrations,
    exchanges,
    facts,
    lines,
    merges,
    satisfaction,
    scores,
    traits,
)
from services.scoring.domain.calibrations import Calibration
from services.scoring.domain.causes import Cause
from services.scoring.tables import customer
from shared import money
from shared.customers import REGISTERED, Owners, follows, lock_owners, recorded_customer
from shared.events.feedback import SatisfactionChanged
from shared.events.profile import (
    CustomerErased,
    CustomerFacts,
    CustomersMerged,
    CustomersUnmerged,
    ProductChanged,
    PurchaseCancelled,
    PurchaseFact,
    PurchaseRecorded,
    PurchaseReturned,
    ReturnMatched,
)
from shared.events.profile_behaviour import TagsChanged
from shared.merges import locks
from shared.messaging.consumer import Consumer

_lock_customers = locks(customer)
_follow_customers = follows(customer)
Fact = TypeVar("Fact", bound=PurchaseFact)
Told = list[tuple[Fact, UUID, UUID]]  # with the owner, and under whom it was recorded


def follow_customers(session: Session, events: Sequence[CustomerFacts]) -> None:
    _follow_customers(session, events)
    latest = {event.customer_id: event for event in events}
    owners = lock_owners(session, customer, latest).active
    acquisitions.keep(
        session,
        [
            (recorded, owners[recorded], latest[recorded].acquisition_channel, latest[recorded].registered_at)
            for recorded in sorted(owners)
        ],
    )
    traits.keep(session, events)


def record_purchases(session: Session, events: Sequence[PurchaseRecorded]) -> None:
    calibration, told, owners = _open(session, events)
    if not told:
        return
    books = facts.open_books(
        session, next((event.currency for event, _, _ in told if event.exchange_rate is None), None)
    )
    scored, counted = _apart(told, owners)
    for part, boundaries in ((scored, calibration), (counted, None)):
        if part:
            scores.record_purchases(
                session,
                boundaries,
                [_purchase(*each) for each in part],
                books.time_zone,
                lambda i, part=part: _because_of(part[i][0], "purchase"),  # type: ignore[misc]
            )
    lines.record_bought(session, [line for event, _, _ in told for line in _bought(event, books.currency)])


def record_returns(session: Session, events: Sequence[PurchaseReturned]) -> None:
    _take_back(
        session,
        events,
        lambda event, owner, recorded: facts.Return(
            event.return_id,
            event.purchase_id,
            owner,
            recorded,
            event.occurred_at,
            event.accounting_amount_minor,
        ),
    )


def match_returns(session: Session, events: Sequence[ReturnMatched]) -> None:
    record_returns(session, events)


def cancel_purchases(session: Session, events: Sequence[PurchaseCancelled]) -> None:
    _take_back(
        session,
        events,
        lambda event, owner, recorded: facts.Return(
            event.purchase_id,
            event.purchase_id,
            owner,
            recorded,
            event.occurred_at,
            event.accounting_amount_minor,
            cancellation=True,
        ),
    )


def keep_satisfaction(session: Session, events: Sequence[SatisfactionChanged]) -> None:
    told = [(event, event.recorded_customer_id or event.customer_id) for event in events]
    owners = lock_owners(session, customer, {recorded for _, recorded in told}).active
    # Events of one key are in order: the last one holds.
    latest = {recorded: event for event, recorded in told if recorded in owners}
    satisfaction.keep(
        session,
        [
            (recorded, owners[recorded], each.to, each.measure, each.effective_at)
            for recorded, each in sorted(latest.items(), key=lambda item: item[0])
        ],
    )


def _open(session: Session, events: Sequence[Fact]) -> tuple[Calibration | None, Told[Fact], Owners]:
    """The calibration in force and the events that count, with whose they are; anonymous ones concern nobody."""
    recorded = [(event, under) for event in events if (under := recorded_customer(event)) is not None]
    calibrations.enter(session)
    owners = lock_owners(session, customer, {under for _, under in recorded})
    calibration = calibrations.current(session)
    if calibration is not None and owners.active:
        scores.catch_up(session, calibration, sorted(set(owners.active.values())))
    told = [
        (event, owner, under) for event, under in recorded if (owner := owners.counted(under)) is not None
    ]
    return calibration, told, owners


def _apart(told: Told[Fact], owners: Owners) -> tuple[Told[Fact], Told[Fact]]:
    """The facts that move a score, and those of the erased, which only count."""
    if not owners.anonymous:
        return told, []
    scored = [each for each in told if each[2] in owners.active]
    return scored, [each for each in told if each[2] not in owners.active]


def _purchase(event: PurchaseRecorded, owner: UUID, recorded: UUID) -> facts.Purchase:
    return facts.Purchase(
        event.purchase_id,
        owner,
        recorded,
        event.occurred_at,
        event.accounting_total_minor,
        event.channel,
        event.store,
        event.campaign_id,
        len(event.coupon_codes),
    )


def _bought(event: PurchaseRecorded, accounting: str | None) -> Iterator[lines.Bought]:
    """The lines; discounts and costs, which come in the purchase's currency alone, converted as its amounts were."""
    rate = None if event.exchange_rate is None else Decimal(event.exchange_rate)

    def counted(amount_minor: int) -> int:
        if rate is None:
            return amount_minor
        return money.convert(amount_minor, event.currency, accounting or event.currency, rate)

    for line in event.lines:
        yield lines.Bought(
            event.purchase_id,
            line.line,
            line.sku,
            line.category,
            line.brand,
            line.quantity,
            line.accounting_amount_minor,
            counted(line.discount_minor),
            None if line.unit_cost_minor is None else counted(line.unit_cost_minor * line.quantity),
        )


def _taken_back(events: Iterable[PurchaseFact]) -> list[lines.TakenBack]:
    return [
        lines.TakenBack(
            event.return_id, position, line.line, line.sku, line.quantity, line.accounting_amount_minor
        )
        for event in events
        if isinstance(event, PurchaseReturned)
        for position, line in enumerate(event.lines, 1)
    ]


def _take_back(
    session: Session, events: Sequence[Fact], fact: Callable[[Fact, UUID, UUID], facts.Return]
) -> None:
    calibration, told, owners = _open(session, events)
    if not told:
        return
    returns = [fact(*each) for each in told]
    if isinstance(events[0], ReturnMatched):
        exchanges.match(session, returns, {owner for _, owner, _ in told})
        lines.forget_taken_back(session, [each.id for each in returns])
    else:
        facts.record_returns(session, returns)
    lines.record_taken_back(session, _taken_back(event for event, _, _ in told))
    exchanges.link(session, _exchanged(event for event, _, _ in told))
    if calibration is not None:
        last = {owner: event for event, owner, _ in _apart(told, owners)[0]}
        scores.score_customers(
            session, calibration, sorted(last), lambda customer_id: _because_of(last[customer_id], "return")
        )


def _exchanged(events: Iterable[PurchaseFact]) -> list[tuple[UUID, UUID]]:
    return [
        (event.purchase_id, event.replacement_purchase_id)
        for event in events
        if isinstance(event, PurchaseReturned) and event.purchase_id and event.replacement_purchase_id
    ]


def _lock(session: Session, events: Sequence[Any]) -> None:
    calibrations.enter(session)
    _lock_customers(session, events)


def _because_of(event: PurchaseFact, reason: str) -> Cause:
    return Cause(reason=reason, effective_at=event.recorded_at, historical=event.historical, event=event)


REACTIONS: dict[type[Any], Callable[[Session, Sequence[Any]], None]] = {
    **dict.fromkeys(REGISTERED, follow_customers),
    CustomersMerged: merges.follow,
    CustomersUnmerged: merges.follow,
    CustomerErased: merges.erase,
    PurchaseRecorded: record_purchases,
    PurchaseReturned: record_returns,
    ReturnMatched: match_returns,
    PurchaseCancelled: cancel_purchases,
    SatisfactionChanged: keep_satisfaction,
    TagsChanged: traits.keep_tags,
    ProductChanged: lines.keep_products,
}

CONSUMER = Consumer("scoring", REACTIONS, lock=_lock)
