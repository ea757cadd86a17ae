"""The points ledger: double entry, append-only, set-based.

A movement has two postings that sum to zero: the customer's account against the programme's liability (or the
adjustment account, for what a late tier corrects). Whoever books holds the lock of the customers' rows
(shared.customers.lock_owners), so that balances read after it stay true until the commit.

A movement changes the owner's balance and adds to the own points of the customer under whom it was recorded. A merge or
an unmerge books what its sides have to hand over – each through the transfer account, which sums to zero – so that the
balance of every owner is the sum of the own points of everybody in its tree.
"""

from collections.abc import Collection, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Literal
from uuid import UUID

from pydantic_core import to_json
from sqlalchemy import text
from sqlalchemy.orm import Session

from shared.events.campaigns import (
    PointsEarned,
    PointsMoved,
    PointsReversed,
    PointsSpent,
    PointsTransferred,
)
from shared.events.envelope import Event
from shared.ids import uuid7
from shared.messaging.outbox import announce

Kind = Literal["earned", "reversed", "adjusted", "spent", "transferred"]


@dataclass(frozen=True, slots=True)
class Movement:
    """``points`` is what the customer's balance changes by, never 0; ``cause`` the one thing that may book this, once,
    for ever; ``source`` what the points are about (``purchase:{id}``). ``recorded_customer_id`` is under whom it is
    recorded, where that is not the customer whose balance changes."""

    customer_id: UUID
    points: int
    kind: Kind
    cause: str
    source: str
    reason: str
    effective_at: datetime
    historical: bool = False
    because: Event | None = None
    recorded_customer_id: UUID | None = None
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
            "recorded_customer_id": each.recorded_customer_id or each.customer_id,
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


def own_points(session: Session, customer_ids: Collection[UUID]) -> dict[UUID, tuple[int, int]]:
    """(balance, own points) of each of these customers."""
    rows = session.execute(_ACCOUNTS, {"ids": list(customer_ids)}).all()
    return dict.fromkeys(customer_ids, (0, 0)) | {
        row.customer_id: (row.balance, row.own_points) for row in rows
    }


def _event(movement: Movement, balance: int) -> PointsMoved:
    if movement.kind == "transferred":
        kind: type[PointsMoved] = PointsTransferred
    elif movement.kind == "spent":
        kind = PointsSpent
    else:
        kind = PointsEarned if movement.points > 0 else PointsReversed
    recorded = movement.recorded_customer_id
    event = kind(
        customer_id=movement.customer_id,
        recorded_customer_id=None if recorded == movement.customer_id else recorded,
        **({"direction": "in" if movement.points > 0 else "out"} if kind is PointsTransferred else {}),
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

_ACCOUNTS = text(
    "select customer_id, balance, own_points from points_account where customer_id = any(cast(:ids as uuid[]))"
)

_BOOK = text("""
    with booked as (
        select * from json_to_recordset(cast(:movements as json)) as each (
            movement_id uuid, cause text, kind text, customer_id uuid, recorded_customer_id uuid, points bigint, balance_after bigint,
            source text, reason text, historical boolean, effective_at timestamptz, number integer)
    ), moved as (
        insert into movement (
            movement_id, cause, kind, customer_id, recorded_customer_id, balance_after, source, reason, historical,
            effective_at)
        select movement_id, cause, kind, customer_id, recorded_customer_id, balance_after, source, reason, historical,
            effective_at
        from booked order by number
    ), posted as (
        insert into posting (movement_id, account, customer_id, points)
        select movement_id, 'customer', customer_id, points from booked
        union all
        select movement_id,
            case kind when 'adjusted' then 'adjustment' when 'transferred' then 'transfer' else 'liability' end,
            null, -points
        from booked
    )
    insert into points_account (customer_id, balance, own_points)
    select customer_id, sum(balance), sum(own_points) from (
        select customer_id, points as balance,
            case when customer_id = recorded_customer_id and kind <> 'transferred' then points else 0 end as own_points
        from booked
        union all
        select recorded_customer_id, 0, points from booked where customer_id <> recorded_customer_id
    ) change
    group by customer_id order by customer_id
    on conflict (customer_id) do update set balance = points_account.balance + excluded.balance,
        own_points = points_account.own_points + excluded.own_points
""")
