"""A member of a group on the embedded bus: leases partitions, reads them, commits under the lease's epoch."""

import contextlib
import time
from collections.abc import Callable, Sequence
from typing import Any
from uuid import UUID

import psycopg

from shared.ids import uuid7
from shared.messaging.bus import PARTITIONS, BusUnavailable, Record
from shared.messaging.postgres_tables import Place, make_tables, make_topics

POLL = 0.05
LEASE = 10.0  # seconds; a member that died is replaced after this long
_REBALANCE_EVERY = 1.0


class PostgresReader:
    """A member of a group: claims its fair share of the partitions and gives back what is too much."""

    def __init__(
        self, connect: Callable[[], psycopg.Connection[Any]], group: str, topics: Sequence[str]
    ) -> None:
        self._connect = connect
        self._group = group
        self._wanted = sorted(topics)
        self._id: UUID = uuid7()
        self._connection: psycopg.Connection[Any] | None = None
        self._names: dict[int, str] = {}
        self._epochs: dict[Place, int] = {}
        self._positions: dict[Place, int] = {}
        self._dirty: set[Place] = set()
        self._rebalanced = -_REBALANCE_EVERY
        self._turn = 0

    def poll(self, max_records: int, timeout: float) -> list[Record]:
        deadline = time.monotonic() + timeout
        while True:
            try:
                connection = self._open()
                if time.monotonic() - self._rebalanced >= _REBALANCE_EVERY:
                    self._rebalance(connection)
                records = self._fetch(connection, max_records) if self._epochs else []
            except psycopg.Error as error:
                self._lose()
                raise BusUnavailable(f"postgres: {type(error).__name__}") from error
            left = deadline - time.monotonic()
            if records or left <= 0:
                return records
            time.sleep(min(POLL, left))

    def commit(self) -> None:
        if not self._dirty:
            return
        places = sorted(self._dirty)
        try:
            connection = self._open()
            kept = connection.execute(
                "update lease l set committed = c.position, until = now() + make_interval(secs => %s)"
                " from unnest(%s::smallint[], %s::smallint[], %s::bigint[], %s::bigint[])"
                " as c(topic_id, partition, position, epoch)"
                " where l.group_name = %s and l.topic_id = c.topic_id and l.partition = c.partition"
                " and l.owner = %s and l.epoch = c.epoch returning l.topic_id, l.partition",
                (
                    LEASE,
                    [topic_id for topic_id, _ in places],
                    [partition for _, partition in places],
                    [self._positions[place] for place in places],
                    [self._epochs[place] for place in places],
                    self._group,
                    self._id,
                ),
            ).fetchall()
        except psycopg.Error as error:
            self._lose()
            raise BusUnavailable(f"postgres: {type(error).__name__}") from error
        for place in set(places) - set(kept):  # somebody else's by now
            self._drop(place)
        self._dirty.clear()

    def close(self) -> None:
        """Gives the partitions back at once, so that nobody waits for the lease to run out."""
        if self._connection is None:
            return
        with contextlib.suppress(psycopg.Error):
            self._connection.execute(
                "update lease set owner = null, until = null where group_name = %s and owner = %s",
                (self._group, self._id),
            )
            self._connection.execute(
                "delete from member where group_name = %s and id = %s", (self._group, self._id)
            )
        self._lose()

    def _open(self) -> psycopg.Connection[Any]:
        if self._connection is None or self._connection.closed:
            connection: psycopg.Connection[Any] = self._connect()
            self._connection = connection
            # A commit that a crash forgets is a repeat, and repeats are dropped.
            connection.execute("set synchronous_commit = off")
            make_tables(connection)
            self._names = {number: name for name, number in make_topics(connection, self._wanted).items()}
            connection.execute(
                "insert into lease (group_name, topic_id, partition)"
                " select %s, topic_id, partition from partition where topic_id = any(%s::smallint[])"
                " on conflict do nothing",
                (self._group, list(self._names)),
            )
        return self._connection

    def _lose(self) -> None:
        """Begin anew, at what was committed."""
        if self._connection is not None:
            with contextlib.suppress(psycopg.Error):
                self._connection.close()
        self._connection = None
        self._epochs.clear()
        self._positions.clear()
        self._dirty.clear()
        self._rebalanced = -_REBALANCE_EVERY

    def _drop(self, place: Place) -> None:
        self._epochs.pop(place, None)
        self._positions.pop(place, None)
        self._dirty.discard(place)

    def _rebalance(self, connection: psycopg.Connection[Any]) -> None:
        """Renew what is held, then move towards a fair share: partitions ÷ members seen lately, rounded up."""
        self._rebalanced = time.monotonic()
        with connection.transaction():
            connection.execute(
                "insert into member (group_name, id, seen_until) values (%s, %s, now() + make_interval(secs => %s))"
                " on conflict (group_name, id) do update set seen_until = excluded.seen_until",
                (self._group, self._id, LEASE),
            )
            connection.execute(
                "delete from member where group_name = %s and seen_until < now()", (self._group,)
            )
            renewed = connection.execute(
                "update lease set until = now() + make_interval(secs => %s) where group_name = %s and owner = %s"
                " and topic_id = any(%s::smallint[]) returning topic_id, partition, epoch",
                (LEASE, self._group, self._id, list(self._names)),
            ).fetchall()
        held = {(topic_id, partition): epoch for topic_id, partition, epoch in renewed}
        for place in [place for place, epoch in self._epochs.items() if held.get(place) != epoch]:
            self._drop(place)

        row = connection.execute(
            "select count(*) from member where group_name = %s", (self._group,)
        ).fetchone()
        share = -(-len(self._names) * PARTITIONS // max(1, row[0] if row else 1))
        surplus = [place for place in sorted(self._epochs) if place not in self._dirty][share:]
        if surplus:
            self._release(connection, surplus)
        elif len(self._epochs) < share:
            self._claim(connection, share - len(self._epochs))

    def _claim(self, connection: psycopg.Connection[Any], count: int) -> None:
        claimed = connection.execute(
            "update lease l set owner = %s, epoch = l.epoch + 1, until = now() + make_interval(secs => %s)"
            " from (select topic_id, partition from lease where group_name = %s and topic_id = any(%s::smallint[])"
            "   and (owner is null or until < now()) order by topic_id, partition limit %s for update skip locked) free"
            " where l.group_name = %s and l.topic_id = free.topic_id and l.partition = free.partition"
            " returning l.topic_id, l.partition, l.epoch, l.committed",
            (self._id, LEASE, self._group, list(self._names), count, self._group),
        ).fetchall()
        for topic_id, partition, epoch, committed in claimed:
            self._epochs[topic_id, partition] = epoch
            self._positions[topic_id, partition] = committed

    def _release(self, connection: psycopg.Connection[Any], places: Sequence[Place]) -> None:
        connection.execute(
            "update lease l set owner = null, until = null"
            " from unnest(%s::smallint[], %s::smallint[]) as r(topic_id, partition)"
            " where l.group_name = %s and l.topic_id = r.topic_id and l.partition = r.partition and l.owner = %s",
            (
                [topic_id for topic_id, _ in places],
                [partition for _, partition in places],
                self._group,
                self._id,
            ),
        )
        for place in places:
            self._drop(place)

    def _fetch(self, connection: psycopg.Connection[Any], max_records: int) -> list[Record]:
        """An idle poll reads a dozen narrow rows; the records are asked for only where there are new ones."""
        ends = connection.execute(
            "select topic_id, partition, next_offset from partition where topic_id = any(%s::smallint[])",
            (list(self._names),),
        ).fetchall()
        behind = sorted(
            (topic_id, partition)
            for topic_id, partition, end in ends
            if self._positions.get((topic_id, partition), end) < end
        )
        if not behind:
            return []
        # Every partition gets its part of a batch, and where the batch ends early, others begin the next one.
        self._turn += 1
        behind = behind[self._turn % len(behind) :] + behind[: self._turn % len(behind)]
        behind = behind[:max_records]
        with connection.cursor(binary=True) as cursor:
            rows = cursor.execute(
                'select w.topic_id, w.partition, r."offset", r.key, r.value'
                " from unnest(%s::smallint[], %s::smallint[], %s::bigint[]) with ordinality"
                " as w(topic_id, partition, position, ord)"
                " cross join lateral (select * from record r where r.topic_id = w.topic_id and r.partition = w.partition"
                '   and r."offset" >= w.position order by r."offset" limit %s) r'
                ' order by w.ord, r."offset"',
                (
                    [topic_id for topic_id, _ in behind],
                    [partition for _, partition in behind],
                    [self._positions[place] for place in behind],
                    max(1, max_records // len(behind)),
                ),
            ).fetchall()
        records = []
        for topic_id, partition, offset, key, value in rows:
            records.append(Record(self._names[topic_id], partition, offset, key, value))
            self._positions[topic_id, partition] = offset + 1
            self._dirty.add((topic_id, partition))
        return records
