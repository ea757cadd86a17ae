"""Points for purchases: earned, taken back by returns, corrected by a tier that was announced late.

Each purchase keeps what it has brought so far. Every fact about it – the purchase, a return, a cancellation, a tier
change before its time – books the difference to what it should have brought by now (rules.earning.due), so the books
come out the same in whatever order the topics were read.
"""

from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import TypeVar, cast
from uuid import UUID

from pydantic_core import to_json
from sqlalchemy import text
from sqlalchemy.orm import Session

from services.campaigns.domain import ledger
from services.campaigns.domain.ledger import Movement
from services.campaigns.rules import earning
from services.campaigns.settings import CampaignsSettings
from services.campaigns.tables import customer
from shared import money
from shared.customers import lock_active
from shared.events.profile import PurchaseCancelled, PurchaseFact, PurchaseRecorded, PurchaseReturned
from shared.events.scoring import TierChanged

Fact = TypeVar("Fact", bound=PurchaseFact)


@dataclass(slots=True)
class Purchase:
    """A purchase as the programme sees it; the columns of the table, in their order."""

    purchase_id: UUID
    customer_id: UUID
    recorded_customer_id: UUID
    source: str | None
    external_id: str | None
    recorded_at: datetime | None
    historical: bool
    minor_per_unit: int
    total_minor: int | None
    net_left_minor: int | None
    percent: int
    points: int

    def settle(self, points_per_unit: int) -> int:
        """Set ``points`` to what is due; gives the difference to book."""
        due = earning.due(
            self.total_minor, self.net_left_minor, self.minor_per_unit, points_per_unit, self.percent
        )
        difference, self.points = due - self.points, due
        return difference

    def leave(self, net_left_minor: int) -> None:
        """Value only ever goes: the lowest that was told counts, whichever return was told last."""
        known = self.net_left_minor
        self.net_left_minor = net_left_minor if known is None else min(known, net_left_minor)


def earn(session: Session, events: Sequence[PurchaseRecorded]) -> None:
    """Points for purchases, at the multiplier of the tier in force just before each was recorded."""
    settings = _settings(session)
    events = _of_active(session, events, owners={})
    known = _load(session, [event.purchase_id for event in events])
    tiers = _tiers_before(session, events)
    touched, movements = [], []
    for event, tier in zip(events, tiers, strict=True):
        purchase = known.get(event.purchase_id)
        if purchase is None:
            purchase = known[event.purchase_id] = _unseen(event.purchase_id, event, settings)
        elif purchase.total_minor is not None:
            continue
        purchase.customer_id, purchase.recorded_customer_id = _owners(event)
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
    _save(session, touched)
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


def call_off(session: Session, events: Sequence[PurchaseCancelled]) -> None:
    """All points of cancelled purchases, taken back."""
    _reduce(session, events, lambda event: 0, lambda event: f"cancellation:{event.purchase_id}")


def follow_tiers(session: Session, events: Sequence[TierChanged]) -> None:
    """Keep the tier history, and correct the points of purchases that were recorded after a tier change but booked
    before it was heard of."""
    settings = _settings(session)
    active = lock_active(session, customer, {event.customer_id for event in events})
    heard = {event.id: event for event in events if event.customer_id in active}
    if not heard:
        return
    rows = {
        "events": list(heard),
        "customers": [event.customer_id for event in heard.values()],
        "tiers": [event.tier for event in heard.values()],
        "effective": [event.effective_at for event in heard.values()],
    }
    session.execute(_ADD_TIERS, rows)
    late = session.execute(_RATED_BY, rows).all()
    if not late:
        return
    known = _load(session, [row.purchase_id for row in late])
    touched, movements = [], []
    for row in late:
        purchase, event = known[row.purchase_id], heard[row.event_id]
        percent = earning.percent_of(event.tier, settings.multipliers)
        if percent == purchase.percent:
            continue
        purchase.percent = percent
        touched.append(purchase)
        if points := purchase.settle(settings.points_per_unit):
            movements.append(
                Movement(
                    customer_id=purchase.customer_id,
                    points=points,
                    kind="adjusted",
                    cause=f"tier:{event.id}:{purchase.purchase_id}",
                    source=f"purchase:{purchase.purchase_id}",
                    reason=event.reason,
                    effective_at=row.recorded_at,
                    historical=event.historical or purchase.historical,
                    because=event,
                )
            )
    _save(session, touched)
    ledger.book(session, movements)


def _reduce(
    session: Session, events: Sequence[Fact], net_left: Callable[[Fact], int], cause: Callable[[Fact], str]
) -> None:
    settings = _settings(session)
    ids: list[UUID] = [event.purchase_id for event in events]  # type: ignore[attr-defined]
    owners = {row.purchase_id: row.customer_id for row in session.execute(_OWNERS, {"ids": ids})}
    events = _of_active(session, events, owners)
    ids = [event.purchase_id for event in events]  # type: ignore[attr-defined]
    known = _load(session, ids)
    movements = []
    for purchase_id, event in zip(ids, events, strict=True):
        purchase = known.get(purchase_id)
        if purchase is None:
            purchase = known[purchase_id] = _unseen(purchase_id, event, settings)
        purchase.leave(net_left(event))
        if points := purchase.settle(settings.points_per_unit):
            movements.append(_moved(purchase, points, "reversed", event, cause(event), "return"))
    _save(session, list(known.values()))
    ledger.book(session, movements)


def _take_back_unmatched(session: Session, events: Sequence[PurchaseReturned]) -> None:
    settings = _settings(session)
    rows, movements = [], []
    for event in _of_active(session, events, owners={}):
        unit = _minor_per_unit(event, event.amount_minor, event.accounting_amount_minor, settings)
        points = -earning.points_for(
            event.accounting_amount_minor, unit, settings.points_per_unit, earning.ONE
        )
        rows.append((event, points))
        if points:
            movements.append(
                Movement(
                    customer_id=_owners(event)[0],
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
                "customers": [event.customer_id for event, _ in rows],
                "recorded": [_owners(event)[1] for event, _ in rows],
                "sources": [event.source for event, _ in rows],
                "external_ids": [event.external_id for event, _ in rows],
                "recorded_at": [event.recorded_at for event, _ in rows],
                "points": [points for _, points in rows],
            },
        )
    ledger.book(session, movements)


def _of_active(session: Session, events: Sequence[Fact], owners: dict[UUID, UUID]) -> list[Fact]:
    """The events of customers that still act, with those customers (and the ``owners`` of the purchases) locked."""
    named = {event.customer_id for event in events if event.customer_id is not None}
    active = lock_active(session, customer, named | set(owners.values()))
    return [event for event in events if event.customer_id in active]


def _owners(event: PurchaseFact) -> tuple[UUID, UUID]:
    """Whose it is and under whom it was recorded; asked only of events that have a customer."""
    owner = cast("UUID", event.customer_id)
    return owner, event.recorded_customer_id or owner


def _unseen(purchase_id: UUID, event: PurchaseFact, settings: CampaignsSettings) -> Purchase:
    owner, recorded_under = _owners(event)
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


def _settings(session: Session) -> CampaignsSettings:
    return cast("CampaignsSettings", session.info["settings"])


def _load(session: Session, purchase_ids: Collection[UUID]) -> dict[UUID, Purchase]:
    found = session.execute(_LOAD, {"ids": list(purchase_ids)})
    return {row.purchase_id: Purchase(*row) for row in found}


def _tiers_before(session: Session, events: Sequence[PurchaseRecorded]) -> Sequence[str | None]:
    values = {
        "customers": [event.customer_id for event in events],
        "moments": [event.recorded_at for event in events],
    }
    return session.scalars(_TIERS_BEFORE, values).all()


def _save(session: Session, purchases: Sequence[Purchase]) -> None:
    if not purchases:
        return
    session.execute(_SAVE, {"purchases": to_json(purchases).decode()})


_COLUMNS = {
    "purchase_id": "uuid",
    "customer_id": "uuid",
    "recorded_customer_id": "uuid",
    "source": "text",
    "external_id": "text",
    "recorded_at": "timestamptz",
    "historical": "boolean",
    "minor_per_unit": "integer",
    "total_minor": "bigint",
    "net_left_minor": "bigint",
    "percent": "integer",
    "points": "bigint",
}

_LOAD = text(f"select {', '.join(_COLUMNS)} from purchase where purchase_id = any(cast(:ids as uuid[]))")

_OWNERS = text("select purchase_id, customer_id from purchase where purchase_id = any(cast(:ids as uuid[]))")

# One JSON value: twelve arrays of a thousand cost Python three times as much (measured).
_SAVE = text(f"""
    insert into purchase ({", ".join(_COLUMNS)})
    select * from json_to_recordset(cast(:purchases as json))
        as each ({", ".join(f"{name} {kind}" for name, kind in _COLUMNS.items())})
    on conflict (purchase_id) do update set
        {", ".join(f"{name} = excluded.{name}" for name in _COLUMNS if name != "purchase_id")}
""")

# Just before: a change that this very purchase caused has its recorded_at as effective_at and does not count yet.
_TIERS_BEFORE = text("""
    select (
        select tier from tier_change
        where customer_id = each.customer_id and effective_at < each.moment
        order by effective_at desc, position desc limit 1
    )
    from unnest(cast(:customers as uuid[]), cast(:moments as timestamptz[]))
        with ordinality as each (customer_id, moment, number)
    order by number
""")

_ADD_TIERS = text("""
    insert into tier_change (event_id, customer_id, tier, effective_at)
    select event_id, customer_id, tier, effective_at
    from unnest(cast(:events as uuid[]), cast(:customers as uuid[]), cast(:tiers as text[]),
                cast(:effective as timestamptz[]))
        with ordinality as each (event_id, customer_id, tier, effective_at, number)
    order by number
""")

# The purchases that one of these changes rates now: recorded after it, and no other change in between.
_RATED_BY = text("""
    select p.purchase_id, p.recorded_at, rated.event_id
    from (
        select customer_id, min(effective_at) as effective_at
        from unnest(cast(:customers as uuid[]), cast(:effective as timestamptz[])) as each (customer_id, effective_at)
        group by customer_id
    ) changed
    join purchase p on p.customer_id = changed.customer_id and p.recorded_at > changed.effective_at
    cross join lateral (
        select event_id from tier_change t
        where t.customer_id = p.customer_id and t.effective_at < p.recorded_at
        order by t.effective_at desc, t.position desc limit 1
    ) rated
    where rated.event_id = any(cast(:events as uuid[]))
    order by p.customer_id, p.recorded_at, p.purchase_id
""")

_ADD_UNMATCHED = text("""
    insert into unmatched_return
        (return_id, customer_id, recorded_customer_id, source, external_id, recorded_at, points)
    select * from unnest(
        cast(:returns as uuid[]), cast(:customers as uuid[]), cast(:recorded as uuid[]), cast(:sources as text[]),
        cast(:external_ids as text[]), cast(:recorded_at as timestamptz[]), cast(:points as bigint[]))
""")
