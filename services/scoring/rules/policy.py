"""How a company values its customers, as data: weights, bands, segments, tiers. Replaced by a new version, never changed."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

# Bands come from the customers' own distribution, or from fixed thresholds where there are too few of them.
Basis = Literal["population", "fixed"]


@dataclass(frozen=True)
class Level:
    """A tier or a value class. Reached by the share of counted customers who score strictly lower (``percentile``) or,
    in a small base, by ``net_revenue`` in whole units of the accounting currency; the lowest asks for nothing."""

    code: str
    percentile: int
    net_revenue: int | None
    names: Mapping[str, str]


@dataclass(frozen=True)
class Policy:
    """``fixed_…`` are the four thresholds between the five bands, from the worst up; ``segments[r-1][fm-1]`` names the
    segment of a recency band and the mean of the other two; ``tiers`` and ``value_classes`` rise."""

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

    def basis(self, counted: int) -> Basis:
        return "population" if counted >= self.small_base else "fixed"


def parse(version: int, content: Mapping[str, Any]) -> Policy:
    """The policy as it is stored. Raises KeyError, TypeError or ValueError for one that is not whole."""
    weights, fixed = content["weights"], content["fixed_bands"]
    policy = Policy(
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
    )
    if policy.recency_weight + policy.frequency_weight + policy.monetary_weight != 100:
        raise ValueError("the weights add up to 100")
    if len(policy.segments) != 5 or any(len(row) != 5 for row in policy.segments):
        raise ValueError("segments are five rows of five")
    for thresholds in (policy.fixed_recency_days[::-1], policy.fixed_frequency, policy.fixed_monetary):
        if len(thresholds) != 4 or list(thresholds) != sorted(set(thresholds)):
            raise ValueError("four thresholds separate five bands")
    return policy


def _levels(content: list[Mapping[str, Any]]) -> tuple[Level, ...]:
    levels = tuple(
        Level(each["code"], each["percentile"], each["net_revenue"], each.get("names", {}))
        for each in content
    )
    percentiles = [each.percentile for each in levels]
    if not levels or levels[0].percentile != 0 or percentiles != sorted(set(percentiles)):
        raise ValueError("levels rise from one that asks for nothing")
    if levels[0].net_revenue is not None or any(each.net_revenue is None for each in levels[1:]):
        raise ValueError("every level but the lowest says its net revenue")
    return levels
