"""The embedded bus: topics in a Postgres database of their own, with the promises of the other bus.

Appending locks the row of the (topic, partition) until commit, so offsets are contiguous and become visible in order.
A partition is read by one leased member per group; every claim raises the lease's epoch, and a commit counts only under
the epoch that was claimed – a member that slept through its lease commits nothing. Safe with many processes.
"""

import contextlib
import threading
import zlib
from collections.abc import Iterator, Sequence
from typing import Any

import psycopg
from sqlalchemy.engine import make_url

from shared.events.catalogue import KEPT_DAYS
from shared.messaging.bus import PARTITIONS, BusUnavailable, Message, Record
from shared.messaging.postgres_reader import PostgresReader
from shared.messaging.postgres_tables import Place, has_tables, make_tables, make_topics

_FORGET = """
delete from record where (topic_id, partition, "offset") in (
    select r.topic_id, r.partition, r."offset" from partition p
    cross join lateral (
        select * from record r where r.topic_id = p.topic_id and r.partition = p.partition
            and r."offset" < p.next_offset - 1
        order by r."offset" limit 1000
    ) r
    where p.topic_id = (select id from topic where name = %s)
        and r.appended_at < now() - make_interval(days => %s)
)
"""


class PostgresBus:
    """``postgresql://…/database``. Connections are opened at first use; publishing shares one."""

    def __init__(self, url: str) -> None:
        self._url = make_url(url).set(drivername="postgresql").render_as_string(hide_password=False)
        self._publishing = threading.Lock()
        self._connection: psycopg.Connection[Any] | None = None
        self._topics: dict[str, int] = {}

    def prepare(self, topics: Sequence[str]) -> None:
        with self._guarded(), self._connect() as connection:
            make_tables(connection)
            self._topics.update(make_topics(connection, topics))

    def forget_old(self) -> int:
        """In portions. The last record of a partition stays, so that a reader who was away finds its way to the end."""
        with self._guarded(), self._connect() as connection:
            if not has_tables(connection):
                return 0
            gone = 0
            for topic, days in KEPT_DAYS.items():
                while found := connection.execute(_FORGET, (topic, days)).rowcount:
                    gone += found
            return gone

    def publish(self, messages: Sequence[Message]) -> None:
        if not messages:
            return
        unknown = {message.topic for message in messages} - self._topics.keys()
        if unknown:
            self.prepare(sorted(unknown))
        with self._publishing:
            try:
                if self._connection is None or self._connection.closed:
                    self._connection = self._connect()
                with self._connection.transaction():
                    self._append(self._connection, messages)
            except psycopg.Error as error:
                self._forget_connection()
                raise BusUnavailable(f"postgres: {type(error).__name__}") from error

    def _append(self, connection: psycopg.Connection[Any], messages: Sequence[Message]) -> None:
        by_place: dict[Place, list[Message]] = {}
        for message in messages:
            place = self._topics[message.topic], partition_of(message.key)
            by_place.setdefault(place, []).append(message)
        places = sorted(by_place)
        topic_ids, partitions = [list(column) for column in zip(*places, strict=True)]
        # Locked in one order, until commit: nobody else appends to these partitions meanwhile.
        offsets = connection.execute(
            "select p.topic_id, p.partition, p.next_offset from partition p"
            " join unnest(%s::smallint[], %s::smallint[]) as w(topic_id, partition) using (topic_id, partition)"
            " order by p.topic_id, p.partition for update of p",
            (topic_ids, partitions),
        ).fetchall()
        if len(offsets) != len(places):  # the tables were wiped under us
            self._topics.clear()
            raise BusUnavailable("postgres: a topic is missing")
        with connection.cursor() as cursor:
            copy_in = 'copy record (topic_id, partition, "offset", key, value) from stdin (format binary)'
            with cursor.copy(copy_in) as copy:
                copy.set_types(["int2", "int2", "int8", "text", "bytea"])
                for topic_id, partition, start in offsets:
                    for number, message in enumerate(by_place[topic_id, partition], start):
                        copy.write_row((topic_id, partition, number, message.key, message.value))
        connection.execute(
            "update partition p set next_offset = p.next_offset + n.count"
            " from unnest(%s::smallint[], %s::smallint[], %s::bigint[]) as n(topic_id, partition, count)"
            " where p.topic_id = n.topic_id and p.partition = n.partition",
            (topic_ids, partitions, [len(by_place[place]) for place in places]),
        )

    def consume(self, group: str, topics: Sequence[str]) -> PostgresReader:
        return PostgresReader(self._connect, group, topics)

    def read_from_start(self, topics: Sequence[str], batch: int = 1_000) -> Iterator[list[Record]]:
        with self._guarded(), self._connect() as connection:
            if not has_tables(connection):
                return
            ends = connection.execute(
                "select t.name, p.topic_id, p.partition, p.next_offset from partition p join topic t on t.id = p.topic_id"
                " where t.name = any(%s) order by t.name, p.partition",
                (list(topics),),
            ).fetchall()
            for topic, topic_id, partition, end in ends:
                for start in range(0, end, batch):
                    with connection.cursor(binary=True) as cursor:
                        rows = cursor.execute(
                            'select "offset", key, value from record where topic_id = %s and partition = %s'
                            ' and "offset" >= %s and "offset" < %s order by "offset"',
                            (topic_id, partition, start, min(start + batch, end)),
                        ).fetchall()
                    yield [Record(topic, partition, offset, key, value) for offset, key, value in rows]

    def lag(self, group: str, topics: Sequence[str]) -> int:
        with self._guarded(), self._connect() as connection:
            if not has_tables(connection):
                return 0
            row = connection.execute(
                "select coalesce(sum(p.next_offset - coalesce(l.committed, 0)), 0)::bigint from partition p"
                " join topic t on t.id = p.topic_id"
                " left join lease l on l.group_name = %s and l.topic_id = p.topic_id and l.partition = p.partition"
                " where t.name = any(%s)",
                (group, list(topics)),
            ).fetchone()
            return int(row[0]) if row else 0

    def is_empty(self, topics: Sequence[str] | None = None) -> bool:
        with self._guarded(), self._connect() as connection:
            if not has_tables(connection):
                return True
            row = connection.execute(
                "select not exists (select from partition p join topic t on t.id = p.topic_id"
                " where p.next_offset > 0 and (%s::text[] is null or t.name = any(%s::text[])))",
                (None if topics is None else list(topics),) * 2,
            ).fetchone()
            return bool(row and row[0])

    def close(self) -> None:
        with self._publishing:
            self._forget_connection()

    def _connect(self) -> psycopg.Connection[Any]:
        try:
            return psycopg.connect(
                self._url,
                autocommit=True,
                connect_timeout=2,
                application_name="regulars bus",
                keepalives_idle=10,
                keepalives_interval=3,
                keepalives_count=3,
                tcp_user_timeout=10_000,
                options="-c lock_timeout=5s -c statement_timeout=30s -c timezone=UTC",
                prepare_threshold=2,
            )
        except psycopg.Error as error:
            raise BusUnavailable(f"postgres: {type(error).__name__}") from error

    @contextlib.contextmanager
    def _guarded(self) -> Iterator[None]:
        try:
            yield
        except psycopg.Error as error:
            raise BusUnavailable(f"postgres: {type(error).__name__}") from error

    def _forget_connection(self) -> None:
        if self._connection is not None:
            with contextlib.suppress(psycopg.Error):
                self._connection.close()
            self._connection = None


def partition_of(key: str) -> int:
    return zlib.crc32(key.encode()) % PARTITIONS
