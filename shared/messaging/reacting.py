"""Hand a batch of events to a consumer's reactions and find out which event a failure comes from."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import timedelta
from functools import cached_property
from typing import Any, NamedTuple

import psycopg
from sqlalchemy import exc
from sqlalchemy.orm import Session

from shared.events.envelope import Event
from shared.messaging.cloudevent import Received, parse
from shared.messaging.faults import describe
from shared.messaging.runs import runs

Reaction = Callable[[Session, Sequence[Any]], None]

# Six tries in all, over about an hour and a quarter; then an operator decides.
RETRY_AFTER = (
    timedelta(seconds=5),
    timedelta(seconds=30),
    timedelta(minutes=2),
    timedelta(minutes=10),
    timedelta(hours=1),
)


@dataclass(frozen=True)
class Consumer:
    """What one part of a service does when others speak.

    ``name`` is the group on the bus and the owner of the watermarks, e.g. ``scoring.metrics``: unique in the suite,
    never changed. A reaction gets a run of events of one type; per key they are in order, and a key may stand in a run
    several times. In ``lossy_topics`` (finite retention) a gap is accepted and counted, never parked. ``lock`` takes
    what the reactions to a batch of several runs will lock, in one order, so that batches do not wait in a circle.
    """

    name: str
    reactions: Mapping[type[Event], Reaction]
    lossy_topics: frozenset[str] = frozenset()
    retry_after: tuple[timedelta, ...] = RETRY_AFTER
    lock: Reaction | None = None

    @cached_property
    def topics(self) -> tuple[str, ...]:
        return tuple(sorted({event.topic for event in self.reactions}))

    @cached_property
    def events(self) -> Mapping[str, type[Event]]:
        return {event.type: event for event in self.reactions}


class Failed(NamedTuple):
    """An event that its reaction would not take. ``error`` names the fault and never quotes the data."""

    event: Received
    error: str


class Reacted(NamedTuple):
    """What became of a batch, each part in order: ``behind`` follows a failed event of its own key."""

    done: list[Received]
    failed: list[Failed]
    behind: list[Received]


def is_the_databases(error: BaseException) -> bool:
    """Whether to blame the database (away, deadlock, timeout, full pool) and not the event: to be tried as it is."""
    if isinstance(error, (exc.InterfaceError, exc.TimeoutError)):
        return True
    if not isinstance(error, exc.DBAPIError):
        return False
    # Class 54, a limit of the program exceeded (an index entry too long), will be exceeded the next time, too.
    limit = isinstance(error.orig, psycopg.Error) and (error.orig.sqlstate or "").startswith("54")
    return error.connection_invalidated or (isinstance(error, exc.OperationalError) and not limit)


def react(session: Session, consumer: Consumer, events: Sequence[Received]) -> Reacted:
    """The whole batch is tried at once, in long runs of one type. If a reaction fails, its savepoint is rolled back
    and the batch is taken apart until the event that fails stands alone. Raises what is the database's fault.

    An event of a type without a reaction (or of a type newer than this version) is done without being looked at.
    """
    work = _Work(session, consumer)
    work.attempt(work.parse(events))
    return work.reacted


_Parsed = tuple[Received, Event | None]


class _Work:
    def __init__(self, session: Session, consumer: Consumer) -> None:
        self.session = session
        self.consumer = consumer
        self.reacted = Reacted([], [], [])
        self.blocked: set[tuple[str, str]] = set()

    def parse(self, events: Sequence[Received]) -> list[_Parsed]:
        parsed: list[_Parsed] = []
        for event in events:
            kind = self.consumer.events.get(event.type)
            if event.stream in self.blocked:
                self.reacted.behind.append(event)
            elif kind is None or kind.topic != event.topic:
                parsed.append((event, None))
            else:
                try:
                    parsed.append((event, parse(event, kind)))
                except ValueError as error:
                    self.fail(event, error)
        # Only the events after a bad one wait for it: those before may be done.
        self.blocked.clear()
        return parsed

    def attempt(self, batch: Sequence[_Parsed]) -> None:
        part = []
        for received, event in batch:
            if received.stream in self.blocked:
                self.reacted.behind.append(received)
            else:
                part.append((received, event))
        wanted = [event for _, event in part if event is not None]
        try:
            if wanted:
                with self.session.begin_nested():
                    in_order = runs(wanted)
                    if self.consumer.lock is not None and len(in_order) > 1:
                        self.consumer.lock(self.session, wanted)
                    for kind, run in in_order:
                        self.consumer.reactions[kind](self.session, run)
        except Exception as error:
            if is_the_databases(error):
                raise
            if len(part) == 1:
                self.fail(part[0][0], error)
                return
            # Eighths: few enough rounds for one bad event among many, few enough savepoints for many.
            size = max(1, len(part) // 8)
            for start in range(0, len(part), size):
                self.attempt(part[start : start + size])
        else:
            self.reacted.done.extend(received for received, _ in part)

    def fail(self, event: Received, error: Exception) -> None:
        self.reacted.failed.append(Failed(event, describe(error)))
        self.blocked.add(event.stream)
