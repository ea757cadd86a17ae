"""Where customers stand in the life with the company: a small state machine over the rhythm of their occasions.

Silence moves a customer down (declining, dormant, lost), an occasion moves them up, and neither at once: whoever came back
after being dormant is won back until two gaps in a row were as usual, whoever was late is declining until one was. That is
the hysteresis, and since it looks at the latest two gaps alone, a stage is a function of the facts: the same in whatever
order they were heard.

Arrays in, arrays out, numpy only; one customer is an array of one.
"""

from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from services.scoring.rules.codes import STAGES
from services.scoring.rules.policy import StagePolicy

Ints = npt.NDArray[np.int64]

PROSPECT, ACQUIRED, GROWING, MATURE, DECLINING, DORMANT, LOST, WON_BACK = range(len(STAGES))

NO_GAP = -1
# Days of silence after which time alone changes the stage, where it does not.
NEVER = -1


class Rhythms(NamedTuple):
    """One entry per customer: how many occasions, the sum of the whole-day gaps between them and of their squares, and the
    latest two gaps (NO_GAP where there are none), the latest first."""

    occasions: Ints
    gap_sum: Ints
    gap_square_sum: Ints
    last_gap: Ints
    gap_before: Ints

    def without(self, gap: Ints) -> "Rhythms":
        """The same before ``gap``, the latest one: what it is judged by."""
        taken = np.maximum(gap, 0)
        return self._replace(
            occasions=self.occasions - (gap != NO_GAP),
            gap_sum=self.gap_sum - taken,
            gap_square_sum=self.gap_square_sum - taken * taken,
        )


class Limits(NamedTuple):
    """Days of silence after which (more than) a customer is late, dormant and lost."""

    late: Ints
    dormant: Ints
    lost: Ints


def limits(rhythms: Rhythms, population_gap_days: float, policy: StagePolicy) -> Limits:
    """From the customer's own gaps; what is missing of ``own_gaps`` is lent by the population, spread as the gaps of random
    purchases are (their mean square is 2 × mean²)."""
    own = np.maximum(rhythms.occasions - 1, 0)
    lent = np.maximum(policy.own_gaps - own, 0)
    mean = (rhythms.gap_sum + lent * population_gap_days) / (own + lent)
    mean_square = (rhythms.gap_square_sum + lent * 2 * population_gap_days**2) / (own + lent)
    deviation = np.sqrt(np.maximum(mean_square - mean * mean, 0))
    usual = np.maximum(mean, policy.shortest_gap_days)
    late = np.maximum(policy.late * usual, mean + policy.late_deviations * deviation)
    dormant = np.maximum(policy.dormant * usual, late)
    lost = np.maximum(policy.lost * usual, dormant)
    return Limits(*(np.ceil(each).astype(np.int64) for each in (late, dormant, lost)))


def after_last_occasion(rhythms: Rhythms, population_gap_days: float, policy: StagePolicy) -> Ints:
    """The stages in which their latest occasion left the customers; each gap is judged by the rhythm before it."""
    before_last = rhythms.without(rhythms.last_gap)
    limits_before_last = limits(before_last, population_gap_days, policy)
    limits_before_both = limits(before_last.without(rhythms.gap_before), population_gap_days, policy)
    came_back = (rhythms.last_gap > limits_before_last.dormant) | (
        rhythms.gap_before > limits_before_both.dormant
    )
    return np.select(
        [
            rhythms.occasions == 0,
            rhythms.last_gap == NO_GAP,
            came_back,
            rhythms.last_gap > limits_before_last.late,
            rhythms.occasions < policy.mature_from,
        ],
        [PROSPECT, ACQUIRED, WON_BACK, DECLINING, GROWING],
        MATURE,
    ).astype(np.int64)


def stages_at(
    rhythms: Rhythms, silence_days: Ints, population_gap_days: float, policy: StagePolicy
) -> tuple[Ints, Ints]:
    """The stages after so many days without an occasion, and after how many days of silence time alone changes each
    (NEVER: it does not). A first-time buyer declines into nothing: acquired until dormant."""
    now = limits(rhythms, population_gap_days, policy)
    left = after_last_occasion(rhythms, population_gap_days, policy)
    declining = (silence_days > now.late) & (left != ACQUIRED)
    stages = np.select(
        [left == PROSPECT, silence_days > now.lost, silence_days > now.dormant, declining],
        [PROSPECT, LOST, DORMANT, DECLINING],
        left,
    ).astype(np.int64)
    changes = np.select(
        [
            (stages == PROSPECT) | (stages == LOST),
            stages == DORMANT,
            (stages == ACQUIRED) | (stages == DECLINING),
        ],
        [NEVER, now.lost + 1, now.dormant + 1],
        now.late + 1,
    ).astype(np.int64)
    return stages, changes
