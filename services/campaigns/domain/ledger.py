"""The points ledger: double entry, append-only, set-based.

A movement has two postings that sum to zero: the customer's account against the programme's liability (or the
adjustment account, for what a late tier corrects). Whoever books holds the lock of the customers' rows
(shared.customers.lock_active), so that balances read after it stay true until the commit.
"""

from collections.abc import Collection, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Literal
from uuid import UUID

from sqlalchemy import text
from sqlalchemy.orm import Session

from shared.events.campaigns import PointsEarned, PointsMoved, PointsReversed, PointsSpent
from shared.events.envelope import Event
from shared.ids import uuid7
from shared.messaging.outbox import announce

Kind = Literal["earned", "reversed", "adjusted", "spent"]


@dataclass(frozen=True, slots=True)
class Movement:
    """``points`` is what the customer's balance changes by, never 0; ``cause`` the one thing that may book this, once,
    for ever; ``source`` what the points are about (``purchase:{id}``)."""

    customer_id: UUID
    points: int
    kind: Kind
    cause: str
    source: str
    reason: str
    effective_at: datetime
    historical: bool = False
    because: Event | None = None
    movement_id: UUID = field(default_factory=uuid7)


def balances(session: Session, customer_ids: Collection[UUID]) -> dict[UUID, int]:
    """The balance of each of these customers; 0 for one without an account yet."""
    found = session.execute(_BALANCES, {"ids": list(customer_ids)}).all()
    return dict.fromkeys(customer_ids, 0) | {row.customer_id: row.balance for row in found}


def book(session: Session, movements: Sequence[Movement]) -> dict[UUID, int]:
    """Write the movements in their order and announce them; gives the balances after them.

    The customers must be locked. A cause that was booked before is an IntegrityError: nobody books twice by design, so
    it is a defect and must not pass quietly.
    """
    if not movements:
        return {}
    balance = balances(session, {each.customer_id for each in movements})
    after = []
    for each in movements:
        balance[each.customer_id] += each.points
        after.append(balance[each.customer_id])
    session.execute(
        _BOOK,
        {
            "movements": [each.movement_id for each in movements],
            "causes": [each.cause for each in movements],
            "kinds": [each.kind for each in movements],
            "customers": [each.customer_id for each in movements],
            "points": [each.points for each in movements],
            "after": after,
            "sources": [each.source for each in movements],
            "reasons": [each.reason for each in movements],
            "historical": [each.historical for each in movements],
            "effective": [each.effective_at for each in movements],
        },
    )
    announce(session, *map(_event, movements, after))
    return balance


def _event(movement: Movement, balance: int) -> PointsMoved:
    if movement.kind == "spent":
        kind: type[PointsMoved] = PointsSpent
    else:
        kind = PointsEarned if movement.points > 0 else PointsReversed
    event = kind(
        customer_id=movement.customer_id,
        entry_id=movement.movement_id,
        points=abs(movement.points),
        balance=balance,
        source=movement.source,
        effective_at=movement.effective_at,
        reason=movement.reason,
        historical=movement.historical,
    )
    return event if movement.because is None else event.because(movement.because)


_BALANCES = text(
    "select customer_id, balance from points_account where customer_id = any(cast(:ids as uuid[]))"
)

_BOOK = text("""
    with booked as (
        select * from unnest(
            cast(:movements as uuid[]), cast(:causes as text[]), cast(:kinds as text[]), cast(:customers as uuid[]),
            cast(:points as bigint[]), cast(:after as bigint[]), cast(:sources as text[]), cast(:reasons as text[]),
            cast(:historical as boolean[]), cast(:effective as timestamptz[])
        ) with ordinality as each (
            movement_id, cause, kind, customer_id, points, balance_after, source, reason, historical, effective_at,
            number)
    ), moved as (
        insert into movement
            (movement_id, cause, kind, customer_id, balance_after, source, reason, historical, effective_at)
        select movement_id, cause, kind, customer_id, balance_after, source, reason, historical, effective_at
        from booked order by number
    ), posted as (
        insert into posting (movement_id, account, customer_id, points)
        select movement_id, 'customer', customer_id, points from booked
        union all
        select movement_id, case kind when 'adjusted' then 'adjustment' else 'liability' end, null, -points from booked
    )
    insert into points_account (customer_id, balance)
    select customer_id, sum(points) from booked group by customer_id order by customer_id
    on conflict (customer_id) do update set balance = points_account.balance + excluded.balance
""")
