"""Which tier a customer deserves, and when it changes: up at once, down after a notice and a grace period."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta, tzinfo
from typing import Literal

from services.scoring.rules.policy import Level, Qualification

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


def level_by_threshold(levels: Sequence[Level], value: float, unit: int = 1) -> int:
    """Position of the highest level whose threshold (× ``unit``) is reached: a value score, or what the period measured."""
    return max(
        i for i, level in enumerate(levels) if level.threshold is None or value >= level.threshold * unit
    )


@dataclass(frozen=True)
class Fact:
    """A purchase (``amount_minor`` positive; it ``counts`` if it is worth more than nothing net of what came back of it) or
    something taken back (negative), at a moment in the company's own time zone."""

    occurred_at: datetime
    amount_minor: int
    counts: bool


def measured(facts: Sequence[Fact], measure: str) -> int:
    """What a qualifying period or a window counts: purchases that count, calendar days with one, or everything bought minus
    everything taken back, each at its own time."""
    if measure == "net_revenue":
        return sum(fact.amount_minor for fact in facts)
    counted = [fact.occurred_at for fact in facts if fact.counts]
    return len(counted) if measure == "purchases" else len({moment.date() for moment in counted})


def within(facts: Sequence[Fact], as_of: datetime, days: int) -> list[Fact]:
    """Those of the last ``days`` of 24 hours before ``as_of``."""
    start = as_of.astimezone(UTC) - timedelta(days=days)
    return [fact for fact in facts if start <= fact.occurred_at.astimezone(UTC) < as_of]


def qualifying(facts: Sequence[Fact], qualification: Qualification, as_of: datetime, zone: tzinfo) -> int:
    """What a customer has towards the thresholds of a qualifying period as of ``as_of`` (see Qualification)."""
    measure = qualification.measure or "net_revenue"
    if qualification.days is not None:
        return measured(within(facts, as_of, qualification.days), measure)
    year = (as_of - timedelta(microseconds=1)).astimezone(zone).year
    by_year = {
        each: [
            fact
            for fact in facts
            if fact.occurred_at.astimezone(zone).year == each and fact.occurred_at < as_of
        ]
        for each in (year, year - 1)
    }
    return max(measured(each, measure) for each in by_year.values())


@dataclass(frozen=True)
class Standing:
    """A customer's tier (position in the policy; None = none yet) and when it will be lost, if it will."""

    level: int | None
    downgrade_due_at: datetime | None = None


@dataclass(frozen=True)
class Decision:
    standing: Standing
    kind: Literal["unchanged", "raised", "lowered", "noticed", "kept"]


def decide(
    standing: Standing,
    deserved: int | None,
    review: datetime | None,
    grace: timedelta,
    *,
    one_step: bool = False,
) -> Decision:
    """What becomes of a tier. ``deserved`` is None for a customer without a counted purchase: none is given, and one
    that is held is worth the lowest. ``review`` is the as_of of a calibration, None between two of them.

    The grace runs in as_of time: noticed at one review, lowered to what is deserved – or by ``one_step`` – at the first whose
    as_of is ``grace`` later; whoever deserves the tier again in between keeps it.
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
        return Decision(Standing(standing.level - 1 if one_step else worth), "lowered")
    return Decision(standing, "unchanged")


def standing_of(
    codes: Sequence[str], tier: str | None, deserved: int | None, downgrade_due_at: datetime | None
) -> tuple[Standing, int | None]:
    """Where somebody with ``tier`` stands in a policy with these ``codes``, and what is deserved: whoever has a tier that the
    policy no longer knows is given one anew, the lowest without a counted purchase."""
    if tier is None:
        return Standing(None), deserved
    if tier not in codes:
        return Standing(None), deserved or 0
    return Standing(codes.index(tier), downgrade_due_at), deserved


def _later(moment: datetime, by: timedelta) -> datetime:
    return LATEST if moment > LATEST - by else moment + by
