"""Parked keys: a queue per (consumer, topic, key) behind a gap or a failure.

The first event of a queue says why: ``gap`` (an earlier one has not come), ``failed`` (its reaction raised). It is
tried again when ``next_try_at`` has come; after the last try it is a dead letter (``dead_at``), and the key stays
parked, in order. Everything here happens under the lock of the key's watermark. A record that cannot be read at all
parks no key – if it took an event's place, the gap will – but is kept, ``unreadable``, until an operator decides.
"""

import hashlib
from collections.abc import Collection, Sequence
from datetime import timedelta
from typing import Any, NamedTuple
from uuid import UUID

from sqlalchemy import Row, text
from sqlalchemy.orm import Session

from shared.ids import uuid7
from shared.messaging import watermarks
from shared.messaging.bus import Record
from shared.messaging.cloudevent import LONGEST_NAME, Received, read
from shared.messaging.reacting import Consumer, react
from shared.messaging.watermarks import Stream

# One transaction takes at most this many events out of a queue.
_BATCH = 500


class _Entry(NamedTuple):
    topic: str
    key: str
    sequence: int | None
    type: str | None
    record: Record
    reason: str
    error: str | None = None
    attempts: int = 0
    next_try_in: float | None = None
    dead: bool = False
    digest: bytes | None = None


class Queue:
    """What a batch adds to the queues."""

    def __init__(self) -> None:
        self._entries: list[_Entry] = []
        self._failed: set[Stream] = set()
        self.closes_gaps = False

    @property
    def size(self) -> int:
        return len(self._entries)

    def gap(self, event: Received) -> None:
        self._add(event, "gap")

    def behind(self, event: Received, *, closes_gap: bool = False) -> None:
        """``closes_gap``: the event that a gap waited for, so the queue is due at once."""
        self._add(event, "behind", next_try_in=0.0 if closes_gap else None)
        self.closes_gaps |= closes_gap

    def failed(self, event: Received, error: str, retry_after: tuple[timedelta, ...]) -> None:
        """To be called in order: a second bad event of a key waits behind the first."""
        if event.stream in self._failed:
            self.behind(event)
            return
        self._failed.add(event.stream)
        wait = next_try_in(1, retry_after)
        self._add(event, "failed", error=error, attempts=1, next_try_in=wait, dead=wait is None)

    def unreadable(self, record: Record, error: str) -> None:
        """Kept under as much of its own key as can be shown."""
        digest = hashlib.sha256(record.key.encode(errors="replace") + b"\0" + record.value).digest()
        key = record.key[:LONGEST_NAME].replace("\0", "�")
        self._entries.append(
            _Entry(record.topic, key, None, None, record, "unreadable", error, dead=True, digest=digest)
        )

    def _add(self, event: Received, reason: str, **more: Any) -> None:
        self._entries.append(
            _Entry(event.topic, event.key, event.sequence, event.type, event.record, reason, **more)
        )

    def write(self, session: Session, consumer: str) -> int:
        """Returns how many were new: a redelivered event stands in its queue already."""
        if not self._entries:
            return 0
        streams = {(entry.topic, entry.key) for entry in self._entries if entry.sequence is not None}
        session.execute(
            text(
                "insert into shared.parked_key (consumer, topic, key)"
                " select :consumer, topic, key from unnest(cast(:topics as text[]), cast(:keys as text[])) as s(topic, key)"
                " on conflict do nothing"
            ),
            {
                "consumer": consumer,
                "topics": [topic for topic, _ in streams],
                "keys": [key for _, key in streams],
            },
        )
        written = session.execute(
            text(
                """
                insert into shared.parked_event (id, consumer, topic, key, sequence, type, partition, position, value,
                    digest, reason, error, attempts, next_try_at, dead_at)
                select id, :consumer, topic, key, sequence, type, partition, position, value, digest, reason, error,
                    attempts, now() + make_interval(secs => next_try_in), case when dead then now() end
                from unnest(cast(:ids as uuid[]), cast(:topics as text[]), cast(:keys as text[]),
                    cast(:sequences as bigint[]), cast(:types as text[]), cast(:partitions as integer[]),
                    cast(:positions as bigint[]), cast(:values as bytea[]), cast(:digests as bytea[]),
                    cast(:reasons as text[]), cast(:errors as text[]), cast(:attempts as integer[]),
                    cast(:next_try_in as double precision[]), cast(:dead as boolean[]))
                    as e(id, topic, key, sequence, type, partition, position, value, digest, reason, error, attempts,
                        next_try_in, dead)
                on conflict do nothing
                returning id
                """
            ),
            {
                "consumer": consumer,
                "ids": sorted(uuid7() for _ in self._entries),
                "topics": [entry.topic for entry in self._entries],
                "keys": [entry.key for entry in self._entries],
                "sequences": [entry.sequence for entry in self._entries],
                "types": [entry.type for entry in self._entries],
                "partitions": [entry.record.partition for entry in self._entries],
                "positions": [entry.record.offset for entry in self._entries],
                "values": [entry.record.value for entry in self._entries],
                "digests": [entry.digest for entry in self._entries],
                "reasons": [entry.reason for entry in self._entries],
                "errors": [entry.error for entry in self._entries],
                "attempts": [entry.attempts for entry in self._entries],
                "next_try_in": [entry.next_try_in for entry in self._entries],
                "dead": [entry.dead for entry in self._entries],
            },
        )
        return len(written.all())


def next_try_in(attempts: int, retry_after: tuple[timedelta, ...]) -> float | None:
    """Seconds until the next try after ``attempts`` failed ones; None after the last."""
    return retry_after[attempts - 1].total_seconds() if attempts <= len(retry_after) else None


def parked_streams(session: Session, consumer: str, streams: Collection[Stream]) -> set[Stream]:
    """Asked after the watermarks are locked, in a statement of its own: only that one sees what was parked last."""
    rows = session.connection().exec_driver_sql(
        "select p.topic, p.key from unnest(%s::text[], %s::text[]) as wanted(topic, key)"
        " join shared.parked_key p on p.consumer = %s and p.topic = wanted.topic and p.key = wanted.key",
        ([topic for topic, _ in streams], [key for _, key in streams], consumer),
    )
    return {(topic, key) for topic, key in rows}


def due_streams(session: Session, consumer: str) -> list[Stream]:
    rows = session.execute(
        text(
            "select topic, key from shared.parked_event"
            " where consumer = :consumer and next_try_at <= now() and sequence is not null"
            " group by topic, key order by min(next_try_at) limit 100"
        ),
        {"consumer": consumer},
    )
    return [(row.topic, row.key) for row in rows]


def due_unreadable(session: Session, consumer: str) -> list[tuple[UUID, Record]]:
    rows = session.execute(
        text(
            "select id, topic, key, partition, position, value from shared.parked_event"
            " where consumer = :consumer and next_try_at <= now() and sequence is null order by id limit 100"
        ),
        {"consumer": consumer},
    )
    return [(row.id, _record(row)) for row in rows]


def settle_unreadable(session: Session, event_id: UUID, readable: bool) -> None:
    """Gone where it could be read after all; else a dead letter again."""
    if readable:
        session.execute(text("delete from shared.parked_event where id = :id"), {"id": event_id})
    else:
        session.execute(
            text(
                "update shared.parked_event set next_try_at = null, dead_at = now(), attempts = attempts + 1 where id = :id"
            ),
            {"id": event_id},
        )


class Drained(NamedTuple):
    applied: int
    more: bool


def drain(session: Session, consumer: Consumer, stream: Stream) -> Drained:
    """Apply what stands ready at the front of a queue; ``more`` asks to be called again in the next transaction."""
    place = {"consumer": consumer.name, "topic": stream[0], "key": stream[1]}
    mark = watermarks.lock(session, consumer.name, [stream])[stream]
    session.execute(
        text(f"delete from shared.parked_event where {_PLACE} and sequence <= :mark"), {**place, "mark": mark}
    )
    rows = session.execute(
        text(
            "select id, topic, key, sequence, partition, position, value, attempts, next_try_at <= now() as due"
            f" from shared.parked_event where {_PLACE} and sequence is not null order by sequence limit {_BATCH}"
        ),
        place,
    ).all()
    if not rows:
        session.execute(text(f"delete from shared.parked_key where {_PLACE}"), place)
        return Drained(0, False)
    head = rows[0]
    # The first event speaks for its queue; what another one was due for has been answered by this call.
    session.execute(
        text(
            f"update shared.parked_event set next_try_at = null where {_PLACE} and sequence > :head"
            " and next_try_at is not null"
        ),
        {**place, "head": head.sequence},
    )
    if head.sequence > mark + 1 and stream[0] not in consumer.lossy_topics:
        session.execute(
            text("update shared.parked_event set reason = 'gap', next_try_at = null where id = :id"),
            {"id": head.id},
        )
        return Drained(0, False)
    if not head.due:
        return Drained(0, False)

    ready = _contiguous(rows, lossy=stream[0] in consumer.lossy_topics)
    done, failed, _ = react(session, consumer, [read(_record(row)) for row in ready])
    watermarks.advance(session, consumer.name, done)
    if done:
        session.execute(
            text(f"delete from shared.parked_event where {_PLACE} and sequence <= :done"),
            {**place, "done": done[-1].sequence},
        )
    if failed:
        first = min(failed, key=lambda failure: failure.event.sequence)
        row = next(row for row in ready if row.sequence == first.event.sequence)
        wait = next_try_in(row.attempts + 1, consumer.retry_after)
        session.execute(
            text(
                "update shared.parked_event set reason = 'failed', error = :error, attempts = attempts + 1,"
                " next_try_at = now() + make_interval(secs => cast(:wait as double precision)),"
                " dead_at = case when cast(:wait as double precision) is null then now() end where id = :id"
            ),
            {"error": first.error, "wait": wait, "id": row.id},
        )
        return Drained(len(done), False)
    # Whatever is next in line is due; the next transaction finds out whether it is there, or a gap, or nothing.
    session.execute(
        text(
            f"update shared.parked_event set next_try_at = now() where id = (select id from shared.parked_event"
            f" where {_PLACE} and sequence is not null order by sequence limit 1)"
        ),
        place,
    )
    return Drained(len(done), True)


_PLACE = "consumer = :consumer and topic = :topic and key = :key"


def _contiguous(rows: Sequence[Row[Any]], lossy: bool) -> list[Row[Any]]:
    ready = [rows[0]]
    for row in rows[1:]:
        if row.sequence != ready[-1].sequence + 1 and not lossy:
            break
        ready.append(row)
    return ready


def _record(row: Row[Any]) -> Record:
    return Record(row.topic, row.partition, row.position, row.key, bytes(row.value))
