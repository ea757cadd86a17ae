"""How complete and how fresh a customer's file is, and when it has to be asked about again."""

from collections.abc import Collection, Mapping
from datetime import datetime, timedelta
from typing import Any, NamedTuple

# A value told again within this time confirms nothing new: a nightly copy need not write every customer.
CONFIRMED_AFTER = timedelta(days=1)


class Policy(NamedTuple):
    """What is expected of customers of one kind. ``stale_after_days_of`` has the exceptions; None = never stale."""

    expected: tuple[str, ...]
    stale_after_days: int
    stale_after_days_of: Mapping[str, int | None]

    def with_required(self, fields: Collection[str]) -> "Policy":
        more = [field for field in fields if field not in self.expected]
        return self._replace(expected=(*self.expected, *more))


class Upkeep(NamedTuple):
    """``completeness`` is the share of expected fields that are known, in percent rounded down; ``due_at`` is when the
    first expected field was missing or becomes stale, None if that never happens."""

    completeness: int
    missing: tuple[str, ...]
    due_at: datetime | None


def assess(policy: Policy, provenance: Mapping[str, Mapping[str, Any]], since: datetime) -> Upkeep:
    """``since`` is when the customer became known here: from then on a missing field is missing."""
    missing = tuple(field for field in policy.expected if field not in provenance)
    times = [
        turns_stale(policy, field, provenance[field]) for field in policy.expected if field in provenance
    ]
    due = [time for time in times if time is not None] + ([since] if missing else [])
    known = len(policy.expected) - len(missing)
    completeness = 100 if not policy.expected else 100 * known // len(policy.expected)
    return Upkeep(completeness, missing, min(due, default=None))


def turns_stale(policy: Policy, field: str, told: Mapping[str, Any]) -> datetime | None:
    """When a field that was told so has to be asked again; None = never."""
    days = policy.stale_after_days_of.get(field, policy.stale_after_days)
    return None if days is None else datetime.fromisoformat(told["at"]) + timedelta(days=days)


def told_anew(before: Mapping[str, Any] | None, at: datetime, *, changed: bool) -> bool:
    """Whether a field's provenance moves: it changed, or was confirmed long enough after it was last told."""
    if before is None or changed:
        return True
    return at - datetime.fromisoformat(before["at"]) >= CONFIRMED_AFTER
