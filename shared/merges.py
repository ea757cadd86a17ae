"""Merges, unmerges and erasures, as every service but profile follows them.

A merge moves what was recorded under the loser, and under everybody merged into it, to the root of the winner's tree;
an unmerge moves it back. Each is announced under both keys and acted on under the loser's, which keeps it in order with
the loser's facts. Tables of facts have ``customer_id`` (the owner now) and ``recorded_customer_id`` (for ever): moving
is one statement per table, and what is derived is derived again by the service, for both sides.
"""

from collections.abc import Callable, Collection, Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any
from uuid import UUID

from sqlalchemy import Table, text
from sqlalchemy.orm import Session

from shared import sealing
from shared.customers import Tree, lock_in_order, lock_owners, make_rows
from shared.events.envelope import ErasureCompleted, Event
from shared.events.profile import CustomerErased, CustomersMerged, CustomersUnmerged
from shared.messaging.outbox import announce

Merge = CustomersMerged | CustomersUnmerged


@dataclass(frozen=True)
class Moves:
    """What merges changed: the owner of every customer concerned (all of them locked), ``before`` and ``after``.

    ``erased`` are those among them who are; ``tree`` the merges as they are now; ``causes`` the last event about each
    loser; ``undone`` since when those were merged who are no longer; ``since`` the earliest moment from which on any of
    these merges counts or counted.
    """

    before: dict[UUID, UUID]
    after: dict[UUID, UUID]
    erased: frozenset[UUID]
    tree: Tree
    causes: dict[UUID, Event]
    undone: dict[UUID, datetime]
    since: datetime | None

    @property
    def moved(self) -> list[UUID]:
        """Whose facts have another owner now."""
        return sorted(each for each in self.after if self.before[each] != self.after[each])

    @property
    def sides(self) -> list[UUID]:
        """The owners who lost something or got something."""
        return sorted({owner for each in self.moved for owner in (self.before[each], self.after[each])})

    def cause_of(self, side: UUID) -> Event:
        """The event that changed what this owner has, the last one if several did."""
        found = [
            event
            for loser, event in self.causes.items()
            if side in (loser, self.before[loser], self.after[loser], event.winner_id)  # type: ignore[attr-defined]
        ]
        return (found or list(self.causes.values()))[-1]

    def members(self, owners: dict[UUID, UUID]) -> dict[UUID, set[UUID]]:
        """Everybody by owner."""
        found: dict[UUID, set[UUID]] = {}
        for each, owner in owners.items():
            found.setdefault(owner, set()).add(each)
        return found


def follow(session: Session, table: Table, events: Sequence[Merge]) -> Moves | None:
    """Take merges (or unmerges: one type at a time) into ``table`` and lock everybody concerned; None if the events
    are the winners' copies, which say nothing new."""
    # The loser's copy is the one that is in order with the loser's facts.
    causes: dict[UUID, Any] = {event.loser_id: event for event in events if event.key == str(event.loser_id)}
    if not causes:
        return None
    named = {each for event in causes.values() for each in (event.loser_id, event.winner_id)}
    rows = _lock_trees(session, table, named)
    parents = {row.customer_id: (row.merged_into, row.merged_at) for row in rows.values() if row.merged_into}
    erased = frozenset(row.customer_id for row in rows.values() if row.state == "erased")
    before = {each: Tree(parents).owner(each) for each in rows}
    merged_at = {loser: moment for loser in causes if (moment := parents.get(loser, (None, None))[1])}
    moments = list(merged_at.values())
    for loser, event in causes.items():
        if loser in erased:
            continue
        if isinstance(event, CustomersMerged) and event.winner_id != loser:
            parents[loser] = (event.winner_id, event.effective_at)
            moments.append(event.effective_at)
        else:
            parents.pop(loser, None)
    _keep(session, table, sorted(causes), sorted(named), parents)
    tree = Tree(parents)
    return Moves(
        before=before,
        after={each: tree.owner(each) for each in rows},
        erased=erased,
        tree=tree,
        causes=causes,
        undone={loser: moment for loser, moment in merged_at.items() if loser not in parents},
        since=min(moments, default=None),
    )


def locks(table: Table) -> Callable[[Session, Sequence[Any]], None]:
    """What a consumer locks before a batch of several runs: everybody whom any of its events is about, at once and in
    order. One run after the other would lock what the runs of another batch hold, and wait for it in a circle."""

    def lock(session: Session, events: Sequence[Any]) -> None:
        named = {
            each
            for event in events
            for name in ("customer_id", "recorded_customer_id", "winner_id", "loser_id")
            if (each := getattr(event, name, None)) is not None
        }
        if any(isinstance(event, Merge) for event in events):
            _lock_trees(session, table, named)
        else:
            lock_owners(session, table, named)

    return lock


def move(session: Session, tables: Iterable[str], moves: Moves) -> None:
    """Give the facts in these tables to the owners they have now."""
    moved = moves.moved
    for name in tables if moved else ():
        session.connection().exec_driver_sql(
            f"""
            update {name} fact set customer_id = home.owner
            from unnest(%(recorded)b::uuid[], %(before)b::uuid[], %(after)b::uuid[]) as home (recorded, before, owner)
            where fact.customer_id = home.before and fact.recorded_customer_id = home.recorded
            """,
            {
                "recorded": moved,
                "before": [moves.before[each] for each in moved],
                "after": [moves.after[each] for each in moved],
            },
        )


def everything_is_with_its_owner(table: str, facts: Iterable[str]) -> str:
    """SQL for an invariant: each fact belongs to the root of the tree of the customer under whom it was recorded."""
    all_facts = " union all ".join(f"select customer_id, recorded_customer_id from {name}" for name in facts)
    return f"""
        with recursive up as (
            select customer_id as recorded, merged_into as reached from {table} where merged_into is not null
            union
            select up.recorded, c.merged_into from up join {table} c on c.customer_id = up.reached
            where c.merged_into is not null
        ), home as (
            select up.recorded, up.reached from up join {table} c on c.customer_id = up.reached
            where c.merged_into is null
        )
        select count(*) = 0 from ({all_facts}) fact left join home on home.recorded = fact.recorded_customer_id
        where fact.customer_id <> coalesce(home.reached, fact.recorded_customer_id)
    """


def erase(session: Session, table: Table, events: Sequence[CustomerErased]) -> list[UUID]:
    """Mark these customers erased, for ever, and destroy what is sealed for them; gives those who were not yet.

    Of the row stay the id and the place in the tree: the natural key may name a person.
    """
    ids = sorted({event.customer_id for event in events})
    make_rows(session, table, ids)
    session.execute(
        text(
            f"select from {table.name} where customer_id = any(cast(:ids as uuid[])) order by customer_id"
            " for no key update"
        ),
        {"ids": ids},
    )
    fresh = session.scalars(
        text(f"""
            update {table.name} set state = 'erased', natural_key = '-', kind = 'unknown', country = null,
                language = null, time_zone = null, registered_at = null
            where customer_id = any(cast(:ids as uuid[])) and state <> 'erased' returning customer_id
        """),
        {"ids": ids},
    ).all()
    for customer_id in sorted(fresh):
        sealing.destroy(session, str(customer_id))
    return sorted(fresh)


def announce_erased(
    session: Session,
    receipt: type[ErasureCompleted],
    events: Sequence[CustomerErased],
    erased: Iterable[UUID],
) -> None:
    """The receipt that profile waits for, one for each customer who was forgotten here."""
    now = session.scalars(text("select now()")).one()
    told = {event.customer_id: event for event in events}
    announce(
        session,
        *(
            receipt(customer_id=customer_id, erased_at=told[customer_id].erased_at, completed_at=now).because(
                told[customer_id]
            )
            for customer_id in erased
        ),
    )


def _lock_trees(session: Session, table: Table, customer_ids: Collection[UUID]) -> dict[UUID, Any]:
    """Lock the whole trees of these customers, in the order of their ids."""

    def near(ids: Sequence[UUID]) -> list[UUID]:
        return list(session.scalars(_near(table.name), {"ids": ids}))

    def lock(ids: Sequence[UUID]) -> tuple[dict[UUID, Any], set[UUID]]:
        rows = session.execute(
            text(
                f"select customer_id, state, merged_into, merged_at from {table.name}"
                " where customer_id = any(cast(:ids as uuid[])) order by customer_id for no key update"
            ),
            {"ids": near(ids)},
        )
        return {row.customer_id: row for row in rows}, set(near(ids))

    return lock_in_order(session, table, customer_ids, lock)


def _near(name: str) -> Any:
    return text(f"""
        with recursive near as (
            select customer_id, merged_into from {name} where customer_id = any(cast(:ids as uuid[]))
            union
            select next.customer_id, next.merged_into from near cross join lateral (
                select customer_id, merged_into from {name} where customer_id = near.merged_into
                union all
                select customer_id, merged_into from {name} where merged_into = near.customer_id
            ) next
        )
        select customer_id from near
    """)


def _keep(
    session: Session,
    table: Table,
    losers: Sequence[UUID],
    named: Sequence[UUID],
    parents: dict[UUID, tuple[UUID, datetime | None]],
) -> None:
    session.execute(
        text(f"update {table.name} set merged_ever = true where customer_id = any(cast(:ids as uuid[]))"),
        {"ids": named},
    )
    session.execute(
        text(f"""
            update {table.name} c set merged_into = e.winner, merged_at = e.at,
                state = case when e.winner is null then 'active' else 'merged' end
            from unnest(cast(:losers as uuid[]), cast(:winners as uuid[]), cast(:moments as timestamptz[]))
                as e (loser, winner, at)
            where c.customer_id = e.loser and c.state <> 'erased'
        """),
        {
            "losers": losers,
            "winners": [parents[each][0] if each in parents else None for each in losers],
            "moments": [parents[each][1] if each in parents else None for each in losers],
        },
    )
