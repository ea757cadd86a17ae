"""How far a population has moved between two calibrations."""

from collections.abc import Sequence
from math import log
from typing import Literal

Drift = Literal["none", "some", "much"]

# An empty bin counts as this share: the index stays finite.
_LEAST = 1e-4
SOME, MUCH = 0.1, 0.25


def stability_index(before: Sequence[float], now: Sequence[float]) -> float:
    """The population stability index of two distributions over the same bins: Σ (now − before) × ln(now / before), a
    symmetric Kullback-Leibler divergence (Kullback & Leibler 1951). Shares add up to 1."""
    pairs = ((max(one, _LEAST), max(other, _LEAST)) for one, other in zip(before, now, strict=True))
    return sum((other - one) * log(other / one) for one, other in pairs)


def drift(index: float) -> Drift:
    """In the words that are usual for it: below 0.1 none, below 0.25 some."""
    return "none" if index < SOME else "some" if index < MUCH else "much"
