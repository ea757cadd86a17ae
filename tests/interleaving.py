"""What a consumer may see of a history: each key's events in order, everything else in any order, some of it twice.

A history is a list of steps as profile would have made them: facts of people, and merges that make trees of them. Each
service's tests turn the facts into events of its own kind.
"""

from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID

from hypothesis import HealthCheck
from hypothesis import strategies as st

from shared.events.envelope import Event
from shared.events.profile import CustomersMerged, CustomersUnmerged
from shared.messaging import cloudevent, consumer
from shared.messaging.bus import Record

START = datetime(2026, 11, 20, 12, tzinfo=UTC)


SLOW: dict[str, Any] = {
    "deadline": None,
    "suppress_health_check": [HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
}


@dataclass(frozen=True)
class Step:
    """Something that happened at a minute of its own: ``kind`` merge, unmerge or a fact; ``who`` it happened to (of a
    merge the loser), ``owner`` whose it was then (of a merge the winner)."""

    minute: int
    kind: str
    who: int
    owner: int

    @property
    def at(self) -> datetime:
        return START + timedelta(minutes=self.minute)


@st.composite
def histories(
    draw: Callable[..., Any], people: int, kinds: Sequence[str], most: int = 14, apart: bool | None = None
) -> list[Step]:
    """``apart``: whether all merges are undone in the end; None = as it comes."""
    parents: dict[int, int] = {}
    steps: list[Step] = []

    def root(person: int) -> int:
        while person in parents:
            person = parents[person]
        return person

    for kind in draw(st.lists(st.sampled_from([*kinds, "merge", "merge", "unmerge"]), max_size=most)):
        who = draw(st.integers(0, people - 1))
        other = draw(st.integers(0, people - 1))
        if kind == "merge":
            winner, loser = root(who), root(other)
            if winner != loser:
                parents[loser] = winner
                steps.append(Step(len(steps), "merge", loser, winner))
        elif kind == "unmerge":
            if who in parents:
                steps.append(Step(len(steps), "unmerge", who, parents.pop(who)))
        else:
            steps.append(Step(len(steps), kind, who, root(who)))
    if apart if apart is not None else draw(st.booleans()):
        steps += [
            Step(len(steps) + number, "unmerge", loser, winner)
            for number, (loser, winner) in enumerate(draw(st.permutations(sorted(parents.items()))))
        ]
    return steps


@contextmanager
def rolled_back(sessions: Any) -> Iterator[None]:
    """What happens inside is undone: each example begins where the test began."""
    with sessions() as session:
        outer = session.begin_nested()
        session.connection()  # a savepoint is made when it is needed, not before
        try:
            yield
        finally:
            outer.rollback()


def merge_events(step: Step, ids: Sequence[UUID]) -> list[Event]:
    """Both copies of a merge or an unmerge, as profile announces them."""
    kind = CustomersMerged if step.kind == "merge" else CustomersUnmerged
    both = (ids[step.owner], ids[step.who])
    return [
        kind(customer_id=each, winner_id=both[0], loser_id=both[1], effective_at=step.at) for each in both
    ]


def interleaved(draw: Callable[..., Any], told: Iterable[tuple[Any, Any]]) -> list[Any]:
    """The (stream, thing) pairs' things in any order that keeps every stream's."""
    queues: dict[Any, list[Any]] = {}
    for stream, thing in told:
        queues.setdefault(stream, []).append(thing)
    waiting = list(queues.values())
    order = []
    while waiting:
        queue = draw(st.sampled_from(waiting))
        order.append(queue.pop(0))
        waiting = [each for each in waiting if each]
    return order


def stream_of(event: Event) -> tuple[str, str]:
    return event.topic, event.key


def numbered(events: Iterable[Event]) -> dict[UUID, Record]:
    """The records of the bus, by event."""
    sequences: Counter[tuple[str, str]] = Counter()
    records = {}
    for event in events:
        sequences[stream_of(event)] += 1
        value = cloudevent.write(
            event_id=event.id,
            type=event.type,
            key=event.key,
            sequence=sequences[stream_of(event)],
            created_at=START,
            data=event.model_dump_json(),
            traceparent=None,
            causation_id=None,
        )
        records[event.id] = Record(event.topic, 0, 0, event.key, value)
    return records


def deliver(
    draw: Callable[..., Any],
    sessions: Any,
    follower: consumer.Consumer,
    order: Sequence[Record | Callable[[], Any]],
) -> None:
    """Hand records over in batches, some of them again later; functions in between are called when their turn comes."""
    batch: list[Record] = []
    done: list[Record] = []

    def apply() -> None:
        if batch:
            assert consumer.apply(sessions, follower, batch).parked == 0
            batch.clear()

    for each in order:
        if callable(each):
            apply()
            each()
            continue
        batch.append(each)
        done.append(each)
        what = draw(st.sampled_from(("go on", "go on", "apply", "repeat")))
        if what == "repeat":
            batch.append(draw(st.sampled_from(done)))
        if what == "apply":
            apply()
    apply()
