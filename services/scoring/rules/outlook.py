"""What is to be expected of each customer: churn, purchases, value, the next purchase. Arrays in, arrays out, numpy only;
one customer is an array of one.

Days are proleptic ordinals (``date.toordinal``). The observation ends with the last whole day before ``as_of``.
"""

from dataclasses import dataclass
from datetime import date

import numpy as np
import numpy.typing as npt

from services.scoring.rules import bgnbd, gamma_gamma
from services.scoring.rules.bgnbd import BgNbd, Floats, Ints
from services.scoring.rules.gamma_gamma import GammaGamma

# A churn band is its position here.
CHURN_BANDS = ("low", "medium", "high")
# The day on which a band moves, where time alone will not move it: no date has this ordinal.
NEVER = 0
# With so many gaps of their own a customer's rhythm is their own.
OWN_GAPS = 3


@dataclass(frozen=True)
class Histories:
    """One entry per customer with an occasion, each array of the same length.

    ``x`` occasions after the first; ``first_day`` and ``last_day`` of an occasion; ``squared_gaps``: the sum of the squares
    of the x gaps in days (their sum is last_day - first_day); ``mean_repeat_value`` of the x repeat occasions, net of
    returns, in major units (ignored where x is 0); ``historic_minor``: net revenue so far, in minor units.
    """

    x: Ints
    first_day: Ints
    last_day: Ints
    squared_gaps: Ints
    mean_repeat_value: Floats
    historic_minor: Ints


@dataclass(frozen=True)
class Settings:
    """``usual_gap_days`` is the population's, above zero. ``churn_cuts`` part the bands by churn probability, ``silence_cuts``
    by the ratio of the silence to the usual gap; ``level`` is that of the intervals."""

    usual_gap_days: float
    horizon_days: int = 365
    annual_discount: float = 0.10
    level: float = 0.8
    churn_cuts: tuple[float, float] = (0.3, 0.7)
    silence_cuts: tuple[float, float] = (1.5, 3.0)
    minor_per_unit: int = 100


@dataclass(frozen=True)
class Models:
    """Each None where it is insufficient (rules/sufficiency.py); ``churn`` is the model of purchases where its P(alive)
    may be read as churn."""

    purchases: BgNbd | None
    churn: BgNbd | None
    spend: GammaGamma | None


@dataclass(frozen=True)
class Outlooks:
    """One entry per customer. What no model says is NaN, never zero.

    ``alive`` and ``churn`` are probabilities that add up to 1; ``churn_band`` a position in CHURN_BANDS. ``purchases`` are
    the occasions expected within the horizon, with their interval. ``clv_minor`` is what they will be worth, discounted,
    whole minor units, with an interval, and ``clv_total_minor`` that and the historic value together; ``spend`` is
    expected per occasion, in major units. ``usual_gap`` and ``gap_spread`` (standard deviation) are in days, ``silence``
    in whole days since the last occasion, ``silence_ratio`` in usual gaps. ``next_day`` is when the next purchase would
    be due, ``next_early`` and ``next_late`` a spread before and after; ``overdue`` says that the latter has passed.
    ``moves_on`` is the first day after as_of on which the band is another if nothing happens, or NEVER.
    """

    alive: Floats
    churn: Floats
    churn_band: Ints
    purchases: Floats
    purchases_low: Floats
    purchases_high: Floats
    spend: Floats
    clv_minor: Floats
    clv_low_minor: Floats
    clv_high_minor: Floats
    clv_total_minor: Floats
    usual_gap: Floats
    gap_spread: Floats
    silence: Ints
    silence_ratio: Floats
    next_day: Ints
    next_early: Ints
    next_late: Ints
    overdue: npt.NDArray[np.bool_]
    moves_on: Ints


def outlooks(histories: Histories, as_of: int | Ints, models: Models, settings: Settings) -> Outlooks:
    """Each customer's outlook as of the beginning of the day ``as_of``. Raises ValueError where an occasion is not before
    it.

    A churn probability of exactly a cut is in the higher band, a ratio of exactly a cut in the lower one. The interval of
    the value is that of the number of purchases at the expected spend: how much an occasion may differ is not in it.
    """
    h = histories
    first, last = h.first_day.astype(np.float64), h.last_day.astype(np.float64)
    end = np.broadcast_to(np.asarray(as_of, dtype=np.int64), h.x.shape) - 1
    if np.any(h.last_day > end):
        raise ValueError("every occasion is before as_of")
    span, age, silence = h.last_day - h.first_day, end - h.first_day, end - h.last_day
    usual_gap, gap_spread = rhythm(h.x, span, h.squared_gaps, settings.usual_gap_days)
    ratio = silence / usual_gap
    late = h.last_day + np.rint(usual_gap + gap_spread).astype(np.int64)

    alive = np.full(h.x.shape, np.nan)
    if models.churn is not None:
        alive = bgnbd.alive(models.churn, h.x, span, age)
        band = _band(1 - alive >= settings.churn_cuts[0], 1 - alive >= settings.churn_cuts[1])
        leaves_at = bgnbd.silent_until(models.churn, h.x, span, 1 - _next_cut(settings.churn_cuts, band))
        moves_on = _day(first + np.ceil(leaves_at) + 1, band, end)
    else:
        band = _band(ratio > settings.silence_cuts[0], ratio > settings.silence_cuts[1])
        longest = np.floor(_next_cut(settings.silence_cuts, band) * usual_gap)
        moves_on = _day(last + longest + 2, band, end)

    purchases, low, high, discounted = _purchases(models.purchases, h.x, span, age, settings)
    spend = np.full(h.x.shape, np.nan)
    if models.spend is not None:
        spend = gamma_gamma.expected_spend(models.spend, h.x, h.mean_repeat_value)
    # What an occasion within the horizon is worth today, in minor units.
    worth = spend * settings.minor_per_unit * discounted / purchases
    clv = np.rint(worth * purchases)
    return Outlooks(
        alive=alive,
        churn=1 - alive,
        churn_band=band,
        purchases=purchases,
        purchases_low=low,
        purchases_high=high,
        spend=spend,
        clv_minor=clv,
        clv_low_minor=np.rint(worth * low),
        clv_high_minor=np.rint(worth * high),
        clv_total_minor=clv + h.historic_minor.astype(np.float64),
        usual_gap=usual_gap,
        gap_spread=gap_spread,
        silence=silence,
        silence_ratio=ratio,
        next_day=h.last_day + np.rint(usual_gap).astype(np.int64),
        next_early=h.last_day + np.rint(np.maximum(usual_gap - gap_spread, 0)).astype(np.int64),
        next_late=late,
        overdue=end > late,
        moves_on=moves_on,
    )


def rhythm(x: Ints, span: Ints, squared_gaps: Ints, population_gap: float) -> tuple[Floats, Floats]:
    """The usual gap between occasions and its standard deviation, in days.

    With three gaps or more they are the customer's own mean and deviation. Whoever has fewer is lent what is missing of
    three by the population: gaps of its mean g, spread as those of random purchases are (their mean square is 2 g²):
    usual = (sum of own gaps + (3 - x) g) / 3, mean square = (sum of own squares + (3 - x) 2 g²) / 3.
    """
    lent = np.maximum(OWN_GAPS - x, 0)
    usual: Floats = (span + lent * population_gap) / (x + lent)
    mean_square = (squared_gaps + lent * 2 * population_gap**2) / (x + lent)
    return usual, np.sqrt(np.maximum(mean_square - usual**2, 0))


def _purchases(
    model: BgNbd | None, x: Ints, span: Ints, age: Ints, settings: Settings
) -> tuple[Floats, Floats, Floats, Floats]:
    """Expected within the horizon, the interval, and expected in today's worth."""
    if model is None:
        absent = np.full(x.shape, np.nan)
        return absent, absent, absent, absent
    customer, days = (model, x, span, age), settings.horizon_days
    low, high = bgnbd.interval(*customer, days, settings.level)
    return (
        bgnbd.expected(*customer, days),
        low.astype(np.float64),
        high.astype(np.float64),
        bgnbd.discounted(*customer, days, settings.annual_discount),
    )


def _band(reached: npt.NDArray[np.bool_], reached_next: npt.NDArray[np.bool_]) -> Ints:
    return reached.astype(np.int64) + reached_next


def _next_cut(cuts: tuple[float, float], band: Ints) -> Floats:
    """The cut above a band; above the highest, where none is, the last."""
    return np.array([*cuts, cuts[-1]])[band]


def _day(day: Floats, band: Ints, end: Ints) -> Ints:
    """``day``, not before the day after as_of; NEVER where the band is the highest, or after the last of all dates."""
    later = np.maximum(day, end + 2)
    last = date.max.toordinal()
    never = (band == len(CHURN_BANDS) - 1) | (later > last)
    return np.where(never, NEVER, np.minimum(later, last)).astype(np.int64)
