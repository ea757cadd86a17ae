"""What two records of one customer become, field by field, and what is taken back when they turn out to be two."""

from collections.abc import Mapping
from datetime import datetime
from typing import Any, Literal, NamedTuple

Strategy = Literal["newest", "oldest", "non_empty", "union"]

# The winner's word counts unless it has none. Lists are put together, and a customer is one since the first of the two was.
DEFAULT: Strategy = "non_empty"
DEFAULTS: Mapping[str, Strategy] = {"registered_at": "oldest"}


class Told(NamedTuple):
    """The value of a field and when it was told or last confirmed."""

    value: Any
    at: datetime


class Change(NamedTuple):
    """What a merge writes over a field of the winner."""

    before: Any
    given: Any


class Unmergeable(ValueError):  # noqa: N818 - an answer, not an error of ours
    """The strategy does not fit the field."""


def strategy_of(field: str, value: Any, wished: Mapping[str, Strategy]) -> Strategy:
    """The strategy for a field with such a value. Raises Unmergeable: only lists are united."""
    wish = wished.get(field)
    if wish == "union" and not isinstance(value, list):
        raise Unmergeable(field)
    return wish or DEFAULTS.get(field) or ("union" if isinstance(value, list) else DEFAULT)


def outcome(
    winner: Mapping[str, Told], loser: Mapping[str, Told], wished: Mapping[str, Strategy]
) -> dict[str, Change]:
    """The fields of the winner that change. An empty value (absent, null, an empty list) never replaces another.

    Of two values of one age the winner's stays. Raises Unmergeable.
    """
    changes = {}
    for field, other in loser.items():
        own = winner.get(field)
        strategy = strategy_of(field, other.value, wished)
        if other.value in (None, [], ""):
            continue
        if own is None or own.value in (None, [], ""):
            given = other.value
        elif strategy == "newest":
            given = other.value if _age(field, other) > _age(field, own) else own.value
        elif strategy == "oldest":
            given = other.value if _age(field, other) < _age(field, own) else own.value
        elif strategy == "union":
            given = sorted({*own.value, *other.value})
        else:
            given = own.value
        if own is None or given != own.value:
            changes[field] = Change(own and own.value, given)
    return changes


def restored(changes: Mapping[str, Change], current: Mapping[str, Any]) -> dict[str, Any]:
    """What fields become when the merge is undone: those that still have the value that it gave them have the one before
    again. Of a list that changed since, only what the merge added goes."""
    back: dict[str, Any] = {}
    for field, change in changes.items():
        now = current.get(field)
        if now == change.given:
            back[field] = change.before
        elif isinstance(change.given, list) and isinstance(now, list):
            added = set(change.given) - set(change.before or ())
            if added & set(now):
                back[field] = [each for each in now if each not in added]
    return back


def inherited(change: Change, was: Any, now: Any) -> Change:
    """A change that gave ``was``, which the customer it came from does not have any more: it gives ``now`` instead, or
    what was there before."""
    if change.given == was:
        return change._replace(given=change.before if now in (None, [], "") else now)
    if isinstance(change.given, list) and isinstance(was, list):
        gone = set(was) - set(now or ()) - set(change.before or ())
        return change._replace(given=[each for each in change.given if each not in gone])
    return change


def _age(field: str, told: Told) -> datetime:
    """A time is as old as it is, not as its telling."""
    return told.value if isinstance(told.value, datetime) else told.at
