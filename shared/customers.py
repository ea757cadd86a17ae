"""What every service but profile keeps about a customer: who it is by natural key, its language, whether it still acts
and into whom it was merged. Filled from profile's events; asked, and locked, by every reaction first.

A service puts the table on its page with ``customer = Table("customer", metadata, *customer_columns())``, reacts with
``{event: follows(customer) for event in REGISTERED}`` to who customers are, with functions of its own to merges and
erasures (shared.merges), and opens every other reaction with ``lock_owners``.

Merged customers form trees: ``merged_into`` is the direct winner, the root owns what was recorded under any of them.
Whose a fact is depends on the tree as it is now and on nothing that an event says, so that everything ends in the same
state in whatever order merges and facts of different keys arrive.
"""

from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, TypeVar
from uuid import UUID

from sqlalchemy import Boolean, Column, Index, Table, Text, Uuid, text
from sqlalchemy.orm import Session
from sqlalchemy.schema import SchemaItem

from shared.database import Timestamptz
from shared.errors import Gone, NotFound
from shared.events.profile import CustomerFacts, CustomerRegistered, CustomerUpdated

REGISTERED = (CustomerRegistered, CustomerUpdated)


def customer_columns() -> list[SchemaItem]:
    """The columns of ``customer``. ``state`` is active, merged (then ``merged_into`` names the direct winner, since
    ``merged_at``) or erased, which lasts.

    ``natural_key`` is ``source:external_id`` of the first external id in their order, ``-`` where there is none or
    where the customer is not announced yet; ``registered_at`` is null until it is. ``merged_ever`` marks whoever took
    part in a merge, undone or not: what happened meanwhile may depend on which of two keys was heard first.
    """
    merged = text("merged_into is not null")
    return [
        Column("customer_id", Uuid, primary_key=True),
        Column("natural_key", Text, nullable=False, server_default="-"),
        Column("kind", Text, nullable=False, server_default="unknown"),
        Column("country", Text),
        Column("language", Text),
        Column("time_zone", Text),
        Column("state", Text, nullable=False, server_default="active"),
        Column("merged_into", Uuid),
        Column("registered_at", Timestamptz),
        Column("merged_at", Timestamptz),
        Column("merged_ever", Boolean, nullable=False, server_default=text("false")),
        Index("ix_customer_merged_into", "merged_into", postgresql_where=merged),
        # Empty as long as nobody is merged: to ask it costs nothing then.
        Index("ix_customer_merged", "customer_id", postgresql_where=merged),
    ]


# The same table for a migration, which may not import anything that changes: copy this text, do not import it.
#   create table customer (
#       customer_id uuid not null, natural_key text not null default '-', kind text not null default 'unknown',
#       country text, language text, time_zone text, state text not null default 'active', merged_into uuid,
#       registered_at timestamptz, merged_at timestamptz, merged_ever boolean not null default false,
#       constraint pk_customer primary key (customer_id));
#   create index ix_customer_merged_into on customer (merged_into) where merged_into is not null;
#   create index ix_customer_merged on customer (customer_id) where merged_into is not null


class Tree:
    """Who was merged into whom: ``parents`` of those that were, with the time."""

    def __init__(self, parents: Mapping[UUID, tuple[UUID, datetime | None]]) -> None:
        self.parents = parents

    def owner(self, customer_id: UUID, moment: datetime | None = None) -> UUID:
        """The root above a customer; with ``moment`` only merges that were made by then count.

        Keys overtake each other, so that for a while the merges that were heard of may lead round in a circle; its
        smallest id owns everything then, until the word arrives that opens it.
        """
        seen: list[UUID] = []
        while (merge := self.parents.get(customer_id)) is not None:
            if customer_id in seen:
                return min(seen[seen.index(customer_id) :])
            if moment is not None and (merge[1] is None or merge[1] > moment):
                break
            seen.append(customer_id)
            customer_id = merge[0]
        return customer_id

    def owners_in_time(self, recorded: Iterable[UUID]) -> list[tuple[UUID, datetime, UUID]]:
        """(recorded, from when on, owner) for those that were merged; before the first line each owns its own."""
        lines = []
        for customer_id in recorded:
            moments = set()
            step, seen = customer_id, set()
            while (merge := self.parents.get(step)) is not None and step not in seen:
                seen.add(step)
                if merge[1] is not None:
                    moments.add(merge[1])
                step = merge[0]
            lines += [(customer_id, moment, self.owner(customer_id, moment)) for moment in sorted(moments)]
        return lines


@dataclass(frozen=True, slots=True)
class Owners:
    """Whose the facts are that were recorded under each of some locked customers.

    ``active``: the owner of each, both still there: what happens to the owner may reach a person. ``anonymous``: the
    owner was erased, and the word that the recorded one was, too, is still on its way; what is told now happened
    before, so its numbers count like those that came in time, and reach nobody. An erased customer is in neither:
    what comes late is left alone.
    """

    active: Mapping[UUID, UUID]
    anonymous: Mapping[UUID, UUID]
    tree: Tree

    def counted(self, recorded: UUID) -> UUID | None:
        """Whose numbers it adds to."""
        return self.active.get(recorded) or self.anonymous.get(recorded)


def recorded_customer(event: Any) -> UUID | None:
    """Under whom an event was recorded, which is its key; None for an anonymous purchase."""
    found: UUID | None = event.recorded_customer_id or event.customer_id
    return found


def whose(owner: UUID, recorded: UUID) -> dict[str, UUID | None]:
    """The customer of an event: the owner, and the one under whom the fact was recorded where that is another."""
    return {"customer_id": owner, "recorded_customer_id": None if recorded == owner else recorded}


def natural_key(event: CustomerFacts) -> str:
    """``source:external_id`` of the first external id in their order, else ``-``."""
    return min((f"{each.source}:{each.external_id}" for each in event.external_ids), default="-")


def follows(table: Table) -> Callable[[Session, Sequence[Any]], None]:
    """The reaction that keeps ``table``, for each event class of REGISTERED."""

    def follow_customers(session: Session, events: Sequence[Any]) -> None:
        _take_facts(session, table, events)

    return follow_customers


def lock_owners(session: Session, table: Table, recorded: Collection[UUID]) -> Owners:
    """Lock these customers and those into whom they were merged, in order, until the transaction ends.

    A customer of whom nothing was heard yet (another topic was faster) gets a row to lock, and is active.
    """
    wanted = sorted(set(recorded))
    if not wanted:
        return Owners({}, {}, Tree({}))

    def lock(ids: Sequence[UUID]) -> tuple[dict[UUID, Row], set[UUID]]:
        rows = _lock(session, table, ids)
        return rows, {into for _, into, _ in rows.values() if into is not None}

    parents, erased = _shape(lock_in_order(session, table, wanted, lock))
    if not parents and not erased:
        return Owners({each: each for each in wanted}, {}, Tree({}))
    tree = Tree(parents)
    homes = {each: tree.owner(each) for each in wanted if each not in erased}
    return Owners(
        {each: owner for each, owner in homes.items() if owner not in erased},
        {each: owner for each, owner in homes.items() if owner in erased},
        tree,
    )


Locked = TypeVar("Locked")


def lock_in_order(
    session: Session,
    table: Table,
    customer_ids: Collection[UUID],
    lock: Callable[[Sequence[UUID]], tuple[dict[UUID, Locked], set[UUID]]],
) -> dict[UUID, Locked]:
    """Lock rows so that nobody waits in a circle: ``lock`` takes those of some ids in their order and says who else is
    needed with them. Where one has no row yet, or a tree grew while this waited, everything is given back first: rows
    are made before any is locked, and none is locked after one with a larger id."""
    wanted, lacking = set(customer_ids), set[UUID]()
    while True:
        attempt = session.begin_nested()
        if lacking:
            make_rows(session, table, lacking)
        rows, needed = lock(sorted(wanted))
        absent = (wanted | needed) - rows.keys()
        if not absent:
            attempt.commit()
            return rows
        attempt.rollback()
        wanted |= absent
        lacking |= absent


def lock_active(session: Session, table: Table, customer_ids: Collection[UUID]) -> set[UUID]:
    """Lock these customers, in order, until the transaction ends; gives those that own what is theirs: neither erased
    nor merged into another."""
    owners = lock_owners(session, table, customer_ids)
    return {each for each, owner in owners.active.items() if owner == each}


def find_owner(session: Session, table: Table, customer_id: UUID) -> UUID | None:
    """Who answers for this customer: itself, or who it was merged into. None if nothing was heard of it; raises Gone
    ``customer_erased``."""
    rows = session.execute(
        text(f"""
            with recursive up as (
                select customer_id, state, merged_into, merged_at from {table.name} where customer_id = :id
                union
                select w.customer_id, w.state, w.merged_into, w.merged_at
                from up join {table.name} w on w.customer_id = up.merged_into)
            select * from up
        """),
        {"id": customer_id},
    ).all()
    if not rows:
        return None
    parents, erased = _shape({row.customer_id: (row.state, row.merged_into, row.merged_at) for row in rows})
    owner = Tree(parents).owner(customer_id)
    if customer_id in erased or owner in erased:
        raise Gone("customer_erased", f"customer {customer_id} was erased")
    return owner


def owner_of(session: Session, table: Table, customer_id: UUID) -> UUID:
    """As ``find_owner``; raises NotFound ``customer_not_found`` for a customer of whom nothing was heard."""
    owner = find_owner(session, table, customer_id)
    if owner is None:
        raise NotFound("customer_not_found", f"there is no customer {customer_id}")
    return owner


def tree_below(session: Session, table: Table, owners: Collection[UUID]) -> Tree:
    """Everybody who was merged into these owners; it stands still while they are locked."""
    rows = session.connection().exec_driver_sql(
        f"""
        with recursive down as (
            select customer_id, merged_into, merged_at from {table.name}
            where merged_into is not null and merged_into = any(%(ids)b::uuid[])
            union
            select l.customer_id, l.merged_into, l.merged_at
            from down join {table.name} l on l.merged_into = down.customer_id and l.merged_into is not null)
        select customer_id, merged_into, merged_at from down
        """,
        {"ids": sorted(owners)},
    )
    return Tree({customer_id: (into, at) for customer_id, into, at in rows})


def one_person(session: Session, table: Table, owner: UUID) -> list[UUID]:
    """The owner and everybody who was merged into it."""
    return sorted({owner, *tree_below(session, table, [owner]).parents})


def make_rows(session: Session, table: Table, customer_ids: Collection[UUID]) -> None:
    """Rows to lock, in the order of ids, for customers of whom nothing was heard yet."""
    session.execute(
        text(
            f"insert into {table.name} (customer_id) select unnest(cast(:ids as uuid[])) on conflict do nothing"
        ),
        {"ids": sorted(customer_ids)},
    )


Row = tuple[str, UUID | None, datetime | None]


def _lock(session: Session, table: Table, customer_ids: Sequence[UUID]) -> dict[UUID, Row]:
    # The way up is found before the locks are taken, so that these are taken in one order. In psycopg's own language
    # for its %b: many ids go over in binary in a sixth of the time.
    name = table.name
    found = session.connection().exec_driver_sql(
        f"""
        select customer_id, state, merged_into, merged_at from {name}
        where customer_id = any(%(ids)b::uuid[] || array(
            with recursive up as (
                select merged_into from {name} where merged_into is not null and customer_id = any(%(ids)b::uuid[])
                union
                select w.merged_into from up join {name} w on w.customer_id = up.merged_into
                where w.merged_into is not null)
            select merged_into from up))
        order by customer_id for no key update
        """,
        {"ids": list(customer_ids)},
    )
    return {customer_id: (state, into, at) for customer_id, state, into, at in found}


def _shape(rows: Mapping[UUID, Row]) -> tuple[dict[UUID, tuple[UUID, datetime | None]], set[UUID]]:
    parents = {each: (into, at) for each, (_, into, at) in rows.items() if into is not None}
    return parents, {each for each, (state, _, _) in rows.items() if state == "erased"}


def _take_facts(session: Session, table: Table, events: Sequence[CustomerFacts]) -> None:
    latest = {event.customer_id: event for event in events}
    facts = {
        "ids": (ids := sorted(latest)),
        "keys": [natural_key(latest[each]) for each in ids],
        "kinds": [latest[each].kind for each in ids],
        "countries": [latest[each].country for each in ids],
        "languages": [latest[each].language for each in ids],
        "zones": [latest[each].time_zone for each in ids],
        "registered": [latest[each].registered_at for each in ids],
    }
    made = session.scalars(
        text(f"""
            insert into {table.name} (customer_id, natural_key, kind, country, language, time_zone, registered_at)
            select * from {_FACTS} on conflict do nothing returning customer_id
        """),
        facts,
    ).all()
    if len(made) == len(ids):
        return
    # Those who were there are locked only now, in order (see lock_in_order).
    session.execute(
        text(f"""
            with known as materialized (
                select customer_id from {table.name} where customer_id = any(cast(:known as uuid[]))
                order by customer_id for no key update)
            update {table.name} c set natural_key = f.natural_key, kind = f.kind, country = f.country,
                language = f.language, time_zone = f.time_zone, registered_at = f.registered_at
            from known join {_FACTS} using (customer_id)
            where c.customer_id = known.customer_id and c.state <> 'erased'
        """),
        facts | {"known": sorted(set(ids) - set(made))},
    )


_FACTS = """unnest(
    cast(:ids as uuid[]), cast(:keys as text[]), cast(:kinds as text[]), cast(:countries as text[]),
    cast(:languages as text[]), cast(:zones as text[]), cast(:registered as timestamptz[]))
    as f (customer_id, natural_key, kind, country, language, time_zone, registered_at)"""
