"""Recency, frequency, monetary: bands and segments. The set-based statements of domain/ compute the same in SQL; a
property test holds the two together."""

from collections.abc import Sequence
from datetime import datetime, timedelta

BANDS = 5


def whole_days(last_purchase_at: datetime, as_of: datetime) -> int:
    """Recency: whole days of 24 hours that have passed."""
    return (as_of - last_purchase_at) // timedelta(days=1)


def worse(values: Sequence[int], value: int) -> int:
    """How many of ``values`` (larger is better) are strictly worse."""
    return sum(1 for other in values if other < value)


def band(worse_count: int, counted: int) -> int:
    """1 + floor(5 × customers strictly worse / n), so that equal customers are equal.

    One who is better than everybody counted (a customer of today against yesterday's distribution) is in the best.
    """
    return min(BANDS, 1 + BANDS * worse_count // counted)


def fixed_band(value: int, thresholds: Sequence[int]) -> int:
    """The band by thresholds from the worst up: one more than how many of them ``value`` reaches."""
    return 1 + sum(1 for threshold in thresholds if value >= threshold)


def fixed_recency_band(days: int, thresholds: Sequence[int]) -> int:
    """The same for days, where fewer are better and thresholds fall."""
    return 1 + sum(1 for threshold in thresholds if days <= threshold)


def mean_band(f: int, m: int) -> int:
    """The mean of two bands, a half rounded up: the column of the published table of segments."""
    return (f + m + 1) // 2


def segment(segments: Sequence[Sequence[str]], r: int, f: int, m: int) -> str:
    return segments[r - 1][mean_band(f, m) - 1]
