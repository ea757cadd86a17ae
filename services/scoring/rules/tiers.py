"""Which tier a customer deserves, and when it changes: up at once, down after a notice and a grace period."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Literal

from services.scoring.rules.policy import Level

# Nothing is due later than a date that every reader of events can hold.
LATEST = datetime(9999, 12, 31, tzinfo=UTC)


def value_numerator(weights: tuple[int, int, int], worse: tuple[int, int, int]) -> int:
    """The value score × the number of counted customers: integers, so that two engines agree to the last digit."""
    return sum(weight * count for weight, count in zip(weights, worse, strict=True))


def level_by_score(levels: Sequence[Level], worse_count: int, counted: int) -> int:
    """Position of the highest level whose share of counted customers scores strictly lower."""
    return max(i for i, level in enumerate(levels) if 100 * worse_count >= level.percentile * counted)


def level_by_revenue(levels: Sequence[Level], net_revenue_minor: int, minor_per_unit: int) -> int:
    """Position of the highest level whose net revenue (whole units) is reached."""
    return max(
        i
        for i, level in enumerate(levels)
        if level.net_revenue is None or net_revenue_minor >= level.net_revenue * minor_per_unit
    )


@dataclass(frozen=True)
class Standing:
    """A customer's tier (position in the policy; None = none yet) and when it will be lost, if it will."""

    level: int | None
    downgrade_due_at: datetime | None = None


@dataclass(frozen=True)
class Decision:
    standing: Standing
    kind: Literal["unchanged", "raised", "lowered", "noticed", "kept"]


def decide(standing: Standing, deserved: int | None, review: datetime | None, grace: timedelta) -> Decision:
    """What becomes of a tier. ``deserved`` is None for a customer without a counted purchase: none is given, and one
    that is held is worth the lowest. ``review`` is the as_of of a calibration, None between two of them.

    The grace runs in as_of time: noticed at one review, lowered to what is deserved by the first whose as_of is
    ``grace`` later; whoever deserves the tier again in between keeps it.
    """
    if standing.level is None:
        if deserved is None:
            return Decision(standing, "unchanged")
        return Decision(Standing(deserved), "raised")
    worth = deserved or 0
    if worth > standing.level:
        return Decision(Standing(worth), "raised")
    if worth == standing.level:
        if standing.downgrade_due_at is None:
            return Decision(standing, "unchanged")
        return Decision(Standing(standing.level), "kept")
    if review is None:
        return Decision(standing, "unchanged")
    if standing.downgrade_due_at is None:
        return Decision(Standing(standing.level, _later(review, grace)), "noticed")
    if review >= standing.downgrade_due_at:
        return Decision(Standing(worth), "lowered")
    return Decision(standing, "unchanged")


def _later(moment: datetime, by: timedelta) -> datetime:
    return LATEST if moment > LATEST - by else moment + by
