"""The tables of the embedded bus, in a database of its own: made where they are missing, under an advisory lock."""

from collections.abc import Sequence
from typing import Any

import psycopg

from shared.messaging.bus import PARTITIONS

Place = tuple[int, int]  # (topic id, partition)

# Two processes making the tables wait for each other here; the number only has to be ours.
_TABLES_LOCK = 7_348_207_104

_TABLES = """
create table if not exists topic (
    id smallint generated always as identity primary key,
    name text not null unique
);
create table if not exists partition (
    topic_id smallint not null references topic,
    partition smallint not null,
    next_offset bigint not null default 0,
    primary key (topic_id, partition)
) with (fillfactor = 50);
create table if not exists record (
    topic_id smallint not null,
    partition smallint not null,
    "offset" bigint not null,
    key text not null,
    value bytea not null,
    appended_at timestamptz not null default now(),
    primary key (topic_id, partition, "offset")
);
create table if not exists member (
    group_name text not null,
    id uuid not null,
    seen_until timestamptz not null,
    primary key (group_name, id)
);
create table if not exists lease (
    group_name text not null,
    topic_id smallint not null,
    partition smallint not null,
    committed bigint not null default 0,
    owner uuid,
    epoch bigint not null default 0,
    until timestamptz,
    primary key (group_name, topic_id, partition)
) with (fillfactor = 50);
"""


def has_tables(connection: psycopg.Connection[Any]) -> bool:
    row = connection.execute("select to_regclass('lease') is not null").fetchone()
    return bool(row and row[0])


def make_tables(connection: psycopg.Connection[Any]) -> None:
    if has_tables(connection):
        return
    with connection.transaction():
        connection.execute("select pg_advisory_xact_lock(%s)", (_TABLES_LOCK,))
        connection.execute(_TABLES)


def make_topics(connection: psycopg.Connection[Any], topics: Sequence[str]) -> dict[str, int]:
    """The ids of the topics, made with their partitions where they are new."""
    wanted = sorted(topics)

    def known() -> dict[str, int]:
        return dict(
            connection.execute("select name, id from topic where name = any(%s)", (wanted,)).fetchall()
        )

    found = known()
    if len(found) < len(set(wanted)):
        with connection.transaction():
            connection.execute("select pg_advisory_xact_lock(%s)", (_TABLES_LOCK,))
            connection.execute(
                "insert into topic (name) select unnest(%s::text[]) on conflict do nothing", (wanted,)
            )
            connection.execute(
                "insert into partition (topic_id, partition)"
                " select id, number from topic, generate_series(0, %s) as number where name = any(%s)"
                " on conflict do nothing",
                (PARTITIONS - 1, wanted),
            )
        found = known()
    return found
