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

from pydantic_core import to_json
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
    rows = [
        {
            "movement_id": each.movement_id,
            "cause": each.cause,
            "kind": each.kind,
            "customer_id": each.customer_id,
            "points": each.points,
            "balance_after": reached,
            "source": each.source,
            "reason": each.reason,
            "historical": each.historical,
            "effective_at": each.effective_at,
            "number": number,
        }
        for number, (each, reached) in enumerate(zip(movements, after, strict=True))
    ]
    session.execute(_BOOK, {"movements": to_json(rows).decode()})
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
        select * from json_to_recordset(cast(:movements as json)) as each (
            movement_id uuid, cause text, kind text, customer_id uuid, points bigint, balance_after bigint,
            source text, reason text, historical boolean, effective_at timestamptz, number integer)
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
