"""Apply each event exactly once, in the transaction that holds its effect.

A consumer is named and keeps a watermark per (topic, key). An event at or below it is a repeat and is dropped; the next
one is applied and moves it; one further ahead shows a gap. A gap, or a failure that is not the database's, parks the
key: its later events queue behind it (parking.py), every other key flows on.
"""

from collections.abc import Callable, Iterable, Sequence
from typing import NamedTuple

from psycopg.errors import DeadlockDetected, SerializationFailure
from sqlalchemy.exc import OperationalError

from shared.database import Sessions
from shared.messaging import metrics, parking, watermarks
from shared.messaging.bus import Record
from shared.messaging.cloudevent import Received, Unreadable, read
from shared.messaging.reacting import Consumer, Reaction, is_the_databases, react

__all__ = ["Applied", "Consumer", "Reaction", "apply", "is_the_databases", "retry_due"]


class Applied(NamedTuple):
    """What became of a batch; ``applied`` counts events that moved a watermark, with or without a reaction."""

    applied: int = 0
    repeated: int = 0
    parked: int = 0


def apply(
    sessions: Sessions, consumer: Consumer, records: Sequence[Record], *, mostly_repeats: bool = False
) -> Applied:
    """Apply a batch in one transaction; what the database refuses for a moment is raised and nothing has happened.

    ``mostly_repeats`` (a replay) looks at the watermarks without locking first: they only ever rise, so what is a
    repeat now stays one.
    """
    events, unreadable = _sort_out(records)
    repeated = 0
    if mostly_repeats and events:
        with sessions() as session:
            reached = watermarks.read(session, consumer.name, {event.stream for event in events})
        fresh = [event for event in events if event.sequence > reached.get(event.stream, 0)]
        repeated, events = len(events) - len(fresh), fresh
    outcome = _Outcome()
    if events or unreadable:
        outcome = _again_on_deadlock(lambda: _apply(sessions, consumer, events, unreadable))
    applied = outcome.applied
    if outcome.closes_gaps:
        applied += retry_due(sessions, consumer)
    result = Applied(applied, repeated + outcome.repeated, outcome.parked)
    metrics.consumed(consumer.name, **result._asdict())
    return result


def retry_due(sessions: Sessions, consumer: Consumer) -> int:
    """Try the parked events whose time has come; returns how many were applied. Raises what is the database's fault."""
    with sessions() as session:
        streams = parking.due_streams(session, consumer.name)
        unreadable = parking.due_unreadable(session, consumer.name)
    applied = 0
    for stream in streams:
        more = True
        while more:
            with sessions.begin() as session:
                drained = parking.drain(session, consumer, stream)
            applied, more = applied + drained.applied, drained.more
    for event_id, record in unreadable:
        readable, _ = _sort_out([record])
        if readable:
            applied += apply(sessions, consumer, [record]).applied
        with sessions.begin() as session:
            parking.settle_unreadable(session, event_id, bool(readable))
    return applied


class _Outcome(NamedTuple):
    applied: int = 0
    repeated: int = 0
    parked: int = 0
    closes_gaps: bool = False


def _apply(
    sessions: Sessions,
    consumer: Consumer,
    events: Sequence[Received],
    unreadable: Sequence[tuple[Record, str]],
) -> _Outcome:
    with sessions.begin() as session:
        streams = {event.stream for event in events}
        position = watermarks.lock(session, consumer.name, streams)
        parked = parking.parked_streams(session, consumer.name, streams)
        queue = parking.Queue()
        accepted: list[Received] = []
        repeated = 0
        for event in events:
            stream = event.stream
            ahead = event.sequence - position[stream]
            if ahead <= 0:
                repeated += 1
            elif stream in parked:
                queue.behind(event, closes_gap=ahead == 1)
            elif ahead == 1 or event.topic in consumer.lossy_topics:
                if ahead > 1:
                    metrics.gap_accepted(consumer.name, event.topic)
                accepted.append(event)
                position[stream] = event.sequence
            else:
                queue.gap(event)
                parked.add(stream)

        reacted = react(session, consumer, accepted)
        watermarks.advance(session, consumer.name, reacted.done)
        for failure in sorted(reacted.failed, key=lambda failure: failure.event.sequence):
            queue.failed(failure.event, failure.error, consumer.retry_after)
        for event in reacted.behind:
            queue.behind(event)
        for record, error in unreadable:
            queue.unreadable(record, error)
        queued = queue.write(session, consumer.name)
    return _Outcome(len(reacted.done), repeated + queue.size - queued, queued, queue.closes_gaps)


def _sort_out(records: Iterable[Record]) -> tuple[list[Received], list[tuple[Record, str]]]:
    events, unreadable = [], []
    for record in records:
        try:
            events.append(read(record))
        except Unreadable as error:
            unreadable.append((record, str(error)))
    return events, unreadable


def _again_on_deadlock(work: Callable[[], _Outcome], tries: int = 3) -> _Outcome:
    """Deadlocks and serialization failures pass by themselves; everything else is the caller's to wait for."""
    for _ in range(tries - 1):
        try:
            return work()
        except OperationalError as error:
            if not isinstance(error.orig, (DeadlockDetected, SerializationFailure)):
                raise
    return work()
