"""Regroup a batch into long runs of one type, so that reactions can work set-based."""

from collections.abc import Hashable, Sequence
from typing import TypeVar

from shared.events.envelope import Event

E = TypeVar("E", bound=Event)


def runs(events: Sequence[E]) -> list[tuple[type[E], list[E]]]:
    """Runs of one type that, one after the other, keep the order of every (topic, key).

    An event joins the earliest run of its type that is not before the last run of its key; nothing is promised across
    keys, so moving it past other keys' events changes nothing.
    """
    found: list[tuple[type[E], list[E]]] = []
    by_type: dict[type[E], list[int]] = {}
    last: dict[Hashable, int] = {}
    for event in events:
        kind, stream = type(event), (event.topic, event.key)
        earliest = last.get(stream, 0)
        of_type = by_type.setdefault(kind, [])
        # Runs of one type are few (as many as one key changes its type in a batch): no search tree.
        place = next((number for number in of_type if number >= earliest), None)
        if place is None:
            place = len(found)
            found.append((kind, []))
            of_type.append(place)
        found[place][1].append(event)
        last[stream] = place
    return found
