"""How a company values its customers, as data: weights, bands, segments, tiers. Replaced by a new version, never changed."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

# Bands come from the customers' own distribution, or from fixed thresholds where there are too few of them.
Basis = Literal["population", "fixed"]


@dataclass(frozen=True)
class Level:
    """A tier or a value class. Reached by the share of counted customers who score strictly lower (``percentile``) or,
    in a small base, by ``net_revenue`` in whole units of the accounting currency; the lowest asks for nothing. Where tiers
    are qualified for otherwise (Qualification), by a ``threshold``: a value score, or whole units of what is measured."""

    code: str
    percentile: int
    net_revenue: int | None
    names: Mapping[str, str]
    threshold: int | None = None


@dataclass(frozen=True)
class Qualification:
    """By what tiers are reached: a percentile of the value score, a value score (0–100; in a small base both by net revenue),
    or a ``measure`` of a qualifying ``period``.

    ``rolling_days``: the last ``days`` (of 24 hours) before as_of. ``calendar_year``: the better of the year under way, which
    is that of the last moment before as_of, and the whole year before it: what was earned in one year holds through the next.
    """

    by: Literal["score_percentile", "score_threshold", "period"] = "score_percentile"
    period: Literal["calendar_year", "rolling_days"] | None = None
    days: int | None = None
    measure: Literal["net_revenue", "purchases", "occasions"] | None = None


@dataclass(frozen=True)
class StagePolicy:
    """Limits of silence as multiples of the usual gap, of which the first is widened for whoever is irregular: late after
    mean + ``late_deviations`` standard deviations, where that is more.

    ``mature_from`` occasions make a mature customer. Whoever has fewer than ``own_gaps`` gaps is lent what is missing by the
    population. ``shortest_gap_days``: whoever comes daily is not late on the second day.
    """

    late: float = 1.5
    dormant: float = 3.0
    lost: float = 6.0
    late_deviations: float = 1.5
    mature_from: int = 4
    own_gaps: int = 3
    shortest_gap_days: int = 7


@dataclass(frozen=True)
class Forecast:
    """How far customers are looked ahead of and how their future is weighed: ``annual_discount`` of what comes later,
    ``interval`` the probability that the truth lies within what is told. A churn band begins at a probability
    (``churn_probabilities``, rising) or, where no model says one, above so many usual gaps of silence
    (``churn_silences``). ``usual_gap_days`` stands in where too few customers have come back to know the population's;
    a trend compares two windows of ``trend_days``."""

    horizon_days: int = 365
    annual_discount: float = 0.10
    interval: float = 0.8
    churn_probabilities: tuple[float, float] = (0.3, 0.7)
    churn_silences: tuple[float, float] = (1.5, 3.0)
    usual_gap_days: float = 30.0
    trend_days: int = 90


@dataclass(frozen=True)
class Policy:
    """``fixed_…`` are the four thresholds between the five bands, from the worst up; ``segments[r-1][fm-1]`` names the
    segment of a recency band and the mean of the other two; ``tiers`` and ``value_classes`` rise. Frequency and monetary are
    those of the ``window_days`` (of 24 hours) before as_of, of all history where it is None. A downgrade leads ``one_step`` down
    or to what is deserved, and is announced before (``notice``) or not."""

    version: int
    recency_weight: int
    frequency_weight: int
    monetary_weight: int
    small_base: int
    fixed_recency_days: tuple[int, ...]
    fixed_frequency: tuple[int, ...]
    fixed_monetary: tuple[int, ...]
    segments: tuple[tuple[str, ...], ...]
    tiers: tuple[Level, ...]
    value_classes: tuple[Level, ...]
    grace_days: int
    stages: StagePolicy = field(default_factory=StagePolicy)
    forecast: Forecast = field(default_factory=Forecast)
    window_days: int | None = None
    qualification: Qualification = field(default_factory=Qualification)
    one_step: bool = False
    notice: bool = True

    def basis(self, counted: int) -> Basis:
        return "population" if counted >= self.small_base else "fixed"


def parse(version: int, content: Mapping[str, Any]) -> Policy:
    """A policy that is whole (rules/policy_faults): nothing else is published."""
    weights, fixed, downgrade = content["weights"], content["fixed_bands"], content.get("downgrade", {})
    return Policy(
        version=version,
        recency_weight=weights["recency"],
        frequency_weight=weights["frequency"],
        monetary_weight=weights["monetary"],
        small_base=content["small_base"],
        fixed_recency_days=tuple(fixed["recency_days"]),
        fixed_frequency=tuple(fixed["frequency"]),
        fixed_monetary=tuple(fixed["monetary"]),
        segments=tuple(tuple(row) for row in content["segments"]),
        tiers=_levels(content["tiers"]),
        value_classes=_levels(content["value_classes"]),
        grace_days=content["grace_days"],
        stages=StagePolicy(**content.get("stages", {})),
        forecast=_forecast(content.get("forecast", {})),
        window_days=content.get("window_days"),
        qualification=Qualification(**content.get("qualification", {})),
        one_step=downgrade.get("to") == "one_step",
        notice=downgrade.get("notice", True),
    )


def _forecast(content: Mapping[str, Any]) -> Forecast:
    lists = {name: tuple(value) for name, value in content.items() if isinstance(value, list)}
    return Forecast(**{**content, **lists})


def _levels(content: Sequence[Mapping[str, Any]]) -> tuple[Level, ...]:
    return tuple(
        Level(
            each["code"],
            each.get("percentile") or 0,
            each.get("net_revenue"),
            each.get("names", {}),
            each.get("threshold"),
        )
        for each in content
    )
