"""Where a customer stands in the life with the company: a small state machine over the rhythm of their occasions.

Silence moves a customer down (declining, dormant, lost), an occasion moves them up, and neither at once: whoever came back
after being dormant is won back until two gaps in a row were as usual, whoever was late is declining until one was. That is
the hysteresis, and since it looks at the latest two gaps alone, a stage is a function of the facts: the same in whatever
order they were heard.
"""

from dataclasses import dataclass
from math import ceil, sqrt
from typing import Literal

Stage = Literal["prospect", "acquired", "growing", "mature", "declining", "dormant", "lost", "won_back"]
STAGES: tuple[Stage, ...] = (
    "prospect", "acquired", "growing", "mature", "declining", "dormant", "lost", "won_back",
)  # fmt: skip


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
class Rhythm:
    """A customer's occasions: how many, the sum of the whole-day gaps between them and of their squares, and the latest two
    gaps (None where there are none), the latest first."""

    occasions: int
    gap_sum: int = 0
    gap_square_sum: int = 0
    last_gap: int | None = None
    gap_before: int | None = None

    @property
    def gaps(self) -> int:
        return max(0, self.occasions - 1)

    def before(self, latest: int) -> "Rhythm":
        """The same without the ``latest`` (one or two) gaps: what these are judged by."""
        taken = [gap for gap in (self.last_gap, self.gap_before)[:latest] if gap is not None]
        return Rhythm(
            self.occasions - len(taken),
            self.gap_sum - sum(taken),
            self.gap_square_sum - sum(gap * gap for gap in taken),
        )


@dataclass(frozen=True)
class Limits:
    """Days of silence after which (more than) a customer is late, dormant and lost."""

    late: int
    dormant: int
    lost: int


def limits(rhythm: Rhythm, population_gap_days: float, policy: StagePolicy) -> Limits:
    """From the customer's own gaps; what is missing of ``own_gaps`` is lent by the population, spread as the gaps of random
    purchases are (their mean square is 2 × mean²)."""
    lent = max(0, policy.own_gaps - rhythm.gaps)
    gaps = rhythm.gaps + lent
    mean = (rhythm.gap_sum + lent * population_gap_days) / gaps
    mean_square = (rhythm.gap_square_sum + lent * 2 * population_gap_days**2) / gaps
    deviation = sqrt(max(0.0, mean_square - mean * mean))
    usual = max(mean, policy.shortest_gap_days)
    late = max(policy.late * usual, mean + policy.late_deviations * deviation)
    dormant = max(policy.dormant * usual, late)
    return Limits(ceil(late), ceil(dormant), ceil(max(policy.lost * usual, dormant)))


def stage_after_last_occasion(rhythm: Rhythm, population_gap_days: float, policy: StagePolicy) -> Stage:
    """Where the latest occasion left the customer; each gap is judged by the rhythm before it."""
    if rhythm.occasions == 0:
        return "prospect"
    if rhythm.last_gap is None:
        return "acquired"
    before_last = limits(rhythm.before(1), population_gap_days, policy)
    if rhythm.last_gap > before_last.dormant:
        return "won_back"
    if rhythm.gap_before is not None:
        before_both = limits(rhythm.before(2), population_gap_days, policy)
        if rhythm.gap_before > before_both.dormant:
            return "won_back"
    if rhythm.last_gap > before_last.late:
        return "declining"
    return "growing" if rhythm.occasions < policy.mature_from else "mature"


def stage_at(
    rhythm: Rhythm, silence_days: int, population_gap_days: float, policy: StagePolicy
) -> tuple[Stage, int | None]:
    """The stage after ``silence_days`` without an occasion, and after how many days of silence time alone changes it (None:
    never). A first-time buyer declines into nothing: acquired until dormant."""
    if rhythm.occasions == 0:
        return "prospect", None
    now = limits(rhythm, population_gap_days, policy)
    if silence_days > now.lost:
        return "lost", None
    if silence_days > now.dormant:
        return "dormant", now.lost + 1
    stage = stage_after_last_occasion(rhythm, population_gap_days, policy)
    if stage in ("acquired", "declining"):
        return stage, now.dormant + 1
    if silence_days > now.late:
        return "declining", now.dormant + 1
    return stage, now.late + 1
