"""What every service but profile keeps about a customer: who it is by natural key, its language, and whether it still
acts. Filled from profile's events; asked, and locked, by every reaction first.

A service puts the table on its page with ``customer = Table("customer", metadata, *customer_columns())``, reacts with
``{event: follows(customer) for event in FOLLOWED}`` and opens every other reaction with ``lock_active``.
"""

from collections.abc import Callable, Collection, Sequence
from typing import Any
from uuid import UUID

from sqlalchemy import Column, Table, Text, Uuid, text
from sqlalchemy.orm import Session

from shared.database import Timestamptz
from shared.events.profile import (
    CustomerErased,
    CustomerFacts,
    CustomerRegistered,
    CustomersMerged,
    CustomersUnmerged,
    CustomerUpdated,
)

FOLLOWED = (CustomerRegistered, CustomerUpdated, CustomersMerged, CustomersUnmerged, CustomerErased)


def customer_columns() -> list[Column[Any]]:
    """The columns of ``customer``. ``state`` is active, merged (then ``merged_into`` names the winner) or erased.

    ``natural_key`` is ``source:external_id`` of the first external id in their order, ``-`` where there is none or
    where the customer is not announced yet; ``registered_at`` is null until it is.
    """
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
    ]


# The same table for a migration, which may not import anything that changes: copy this text, do not import it.
#   create table customer (
#       customer_id uuid not null, natural_key text not null default '-', kind text not null default 'unknown',
#       country text, language text, time_zone text, state text not null default 'active', merged_into uuid,
#       registered_at timestamptz, constraint pk_customer primary key (customer_id))


def natural_key(event: CustomerFacts) -> str:
    """``source:external_id`` of the first external id in their order, else ``-``."""
    return min((f"{each.source}:{each.external_id}" for each in event.external_ids), default="-")


def follows(table: Table) -> Callable[[Session, Sequence[Any]], None]:
    """The reaction that keeps ``table``, for each event class of FOLLOWED."""

    def follow_customers(session: Session, events: Sequence[Any]) -> None:
        follow(session, table, events)

    return follow_customers


def follow(session: Session, table: Table, events: Sequence[Any]) -> None:
    """Bring the customers of a run of events of one type up to date. The erased stay erased, whatever comes late."""
    kind = type(events[0])
    if issubclass(kind, CustomerFacts):
        _take_facts(session, table, events)
    elif kind is CustomerErased:
        _set_state(session, table, {event.customer_id: ("erased", None) for event in events})
    else:
        # A merge is announced under both keys; the loser's copy is the one that is in order with the loser's facts.
        merged = kind is CustomersMerged
        _set_state(
            session,
            table,
            {
                event.loser_id: ("merged", event.winner_id) if merged else ("active", None)
                for event in events
                if event.key == str(event.loser_id)
            },
        )


def lock_active(session: Session, table: Table, customer_ids: Collection[UUID]) -> set[UUID]:
    """Lock these customers, in order, until the transaction ends; gives those that are active.

    A customer of whom nothing was heard yet (another topic was faster) gets a row to lock and is active. Neither the
    erased nor the loser of a merge is in the answer: what comes late for them is left alone.
    """
    wanted = sorted(set(customer_ids))
    if not wanted:
        return set()
    # In psycopg's own language for its %b: many ids go over in binary in a sixth of the time.
    connection = session.connection()
    lock = (
        f"select customer_id, state from {table.name} where customer_id = any(%b::uuid[])"
        " order by customer_id for no key update"
    )
    found = connection.exec_driver_sql(lock, (wanted,)).all()
    if len(found) < len(wanted):
        session.execute(
            text(
                f"insert into {table.name} (customer_id) select unnest(cast(:ids as uuid[])) on conflict do nothing"
            ),
            {"ids": wanted},
        )
        found = connection.exec_driver_sql(lock, (wanted,)).all()
    return {row.customer_id for row in found if row.state == "active"}


def _take_facts(session: Session, table: Table, events: Sequence[CustomerFacts]) -> None:
    latest = {event.customer_id: event for event in events}
    rows = [latest[customer_id] for customer_id in sorted(latest)]
    session.execute(
        text(f"""
            insert into {table.name} (customer_id, natural_key, kind, country, language, time_zone, registered_at)
            select * from unnest(
                cast(:ids as uuid[]), cast(:keys as text[]), cast(:kinds as text[]), cast(:countries as text[]),
                cast(:languages as text[]), cast(:zones as text[]), cast(:registered as timestamptz[]))
            on conflict (customer_id) do update set
                natural_key = excluded.natural_key, kind = excluded.kind, country = excluded.country,
                language = excluded.language, time_zone = excluded.time_zone, registered_at = excluded.registered_at
            where {table.name}.state <> 'erased'
        """),
        {
            "ids": [event.customer_id for event in rows],
            "keys": [natural_key(event) for event in rows],
            "kinds": [event.kind for event in rows],
            "countries": [event.country for event in rows],
            "languages": [event.language for event in rows],
            "zones": [event.time_zone for event in rows],
            "registered": [event.registered_at for event in rows],
        },
    )


def _set_state(session: Session, table: Table, states: dict[UUID, tuple[str, UUID | None]]) -> None:
    """An erased customer's row keeps its id and state only: the id that an outside system gave may name a person."""
    if not states:
        return
    ids = sorted(states)
    session.execute(
        text(f"""
            insert into {table.name} (customer_id, state, merged_into)
            select * from unnest(cast(:ids as uuid[]), cast(:states as text[]), cast(:winners as uuid[]))
            on conflict (customer_id) do update set
                state = excluded.state, merged_into = excluded.merged_into,
                natural_key = case excluded.state when 'erased' then '-' else {table.name}.natural_key end,
                country = case excluded.state when 'erased' then null else {table.name}.country end,
                language = case excluded.state when 'erased' then null else {table.name}.language end,
                time_zone = case excluded.state when 'erased' then null else {table.name}.time_zone end
            where {table.name}.state <> 'erased'
        """),
        {
            "ids": ids,
            "states": [states[each][0] for each in ids],
            "winners": [states[each][1] for each in ids],
        },
    )
