"""The watch: sudden changes of daily series against their own usual variation, and the customers behind them.

What is usual on a day is the local level (the median of the last weeks) and what its weekday usually adds to that level
(the median of the last same weekdays); how far off that usually was is the spread. All of it from the days before. A day,
or up to a week of days together, further off than chance explains raises one alert, which stands for the whole event.
"""

from collections.abc import Hashable, Mapping, Sequence
from dataclasses import dataclass
from datetime import date
from itertools import pairwise
from math import pi
from statistics import NormalDist
from typing import Generic, Literal, TypeVar

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float64]
Bools = npt.NDArray[np.bool_]
Integers = npt.NDArray[np.int64]
Customer = TypeVar("Customer", bound=Hashable)

# A number of events; an amount that many purchases make up every day; an amount that few do, so that one order can be a
# hundred times the usual.
Kind = Literal["count", "total", "amount"]

DAYS_PER_MONTH = 365.25 / 12
# Standard deviation of a normal variable over its median absolute deviation.
MAD_TO_DEVIATION = 1.4826
# Under the root of a count + 3/8, Poisson noise has a standard deviation of one half at any level (Anscombe 1948).
ANSCOMBE = 3 / 8
POISSON_SPREAD = 0.5


@dataclass(frozen=True)
class Settings:
    """Days are open days. The defaults were chosen on one half of the shuffles of the public retail file that
    tests/benchmarks/watch.py makes, and measured on the other."""

    # The level is the median of so many days; a new series needs so few.
    level_days: int = 30
    least_level_days: int = 6
    # What a weekday adds to the level is the median of its last occurrences.
    weeks: int = 8
    least_weeks: int = 3
    # How far off the expectation was on so many days: their median, or this quantile where tails are heavy.
    spread_days: int = 90
    least_spread_days: int = 12
    tail_quantile: float = 0.95
    # No amount is steadier than this share of its level, both after the cube root: about 6 % of the amount.
    least_spread: float = 0.02
    # Nor than this share of a usual sale, in proportion to the days on which there is none.
    least_sale_spread: float = 0.5
    # Up to so many days are judged together, each of them counting for at most `clip` spreads.
    longest: int = 7
    clip: float = 2.5
    # The budget of everything watched together.
    false_alarms_per_month: float = 1.0
    # One day alone is judged by Student's t of so many degrees of freedom, because days have heavier tails than the normal
    # distribution; the heaviest are those of rises of an amount that few purchases make up.
    tail: float = 20.0
    amount_rise_tail: float = 5.0
    # An event is over once no days together deviate by so many spreads any more, or what it brought has lasted for so
    # many days that it is the usual: the level has followed by then.
    calm: float = 2.0
    lasting_days: int = 24


DEFAULTS = Settings()


@dataclass(frozen=True)
class Alert:
    """``observed`` and ``expected`` are sums over the open days ``since`` … ``day``, in the unit of the series; ``score`` is
    by how many spreads they deviate, ``limit`` how many it takes for an alert. ``series`` is a column."""

    day: date
    series: int
    direction: Literal["up", "down"]
    since: date
    observed: float
    expected: float
    score: float
    limit: float


def replay(
    days: Sequence[date],
    values: Floats,
    kinds: Sequence[Kind],
    families: Integers | None = None,
    exposure: Floats | None = None,
    open_days: Bools | None = None,
    settings: Settings = DEFAULTS,
) -> list[Alert]:
    """The alerts of a past, as they would have been raised day by day: those of a day depend on no later one.

    ``values`` (days × series) are what happened, NaN where nothing is known. ``kinds`` and ``families`` stand per series:
    every family (0, 1, …; by default all are one) has an equal part of the budget of false alarms, so that thousands of
    products do not blunt the watch over the company's revenue. With ``exposure`` (days × series; purchases behind returns,
    answers behind satisfaction) a series is judged by value / exposure, the more severely the larger the exposure.

    Days that are missing, or false in ``open_days``, are closed: neither judged nor remembered. By default a day is closed
    on which nothing at all happened; a company that never closes passes all true, and a day without sales is an alert. A
    series begins with its first value that is not zero. Raises ValueError for days that do not rise, or another shape.
    """
    if any(later <= earlier for earlier, later in pairwise(days)):
        raise ValueError("days rise")
    if values.shape != (len(days), len(kinds)):
        raise ValueError("values are days × series")
    traded = np.nan_to_num(values) != 0
    is_open = traded.any(axis=1) if open_days is None else open_days
    days = [day for day, kept in zip(days, is_open, strict=True) if kept]
    weight = np.ones_like(values) if exposure is None else exposure
    known = np.logical_or.accumulate(traded, axis=0) & (weight > 0)
    values, weight = np.where(known, values, np.nan)[is_open], np.where(known, weight, np.nan)[is_open]

    alike = np.zeros(len(kinds), dtype=np.int64) if families is None else families
    return _alerts(days, values, weight, kinds, alike, settings)


def _steadied(values: Floats, weight: Floats, counts: Bools) -> Floats:
    """Values per exposure with like noise at any level: the square root of counts (Anscombe, Biometrika 35, 1948), the cube
    root of amounts (Wilson & Hilferty, PNAS 17, 1931), which have heavier tails and may be negative."""
    return np.where(counts, np.sqrt((np.maximum(values, 0) + ANSCOMBE) / weight), np.cbrt(values / weight))


def _unsteadied(steadied: Floats, weight: Floats, counts: Bools) -> Floats:
    """Back in the unit of the series."""
    return np.where(
        counts, np.maximum(np.maximum(steadied, 0) ** 2 * weight - ANSCOMBE, 0), steadied**3 * weight
    )


def _levels(steadied: Floats, settings: Settings) -> Floats:
    levels = np.full_like(steadied, np.nan)
    for day in range(len(steadied)):
        levels[day] = _median(steadied[max(0, day - settings.level_days) : day], settings.least_level_days)
    return levels


def _least_spread(steadied: Floats, usual: Floats, settings: Settings) -> Floats:
    """Of amounts after past days: a share of the level, and, where many days have nothing, of a usual sale, so that one is
    no event."""
    empty = (steadied == 0).sum(axis=0) / np.maximum(np.isfinite(steadied).sum(axis=0), 1)
    sale = np.nan_to_num(_median(np.where(steadied == 0, np.nan, np.abs(steadied)), 1))
    least: Floats = np.maximum(
        settings.least_spread * np.abs(usual), settings.least_sale_spread * empty * sale
    )
    return least


def _spread(errors: Floats, settings: Settings) -> Floats:
    """How far off the expectation usually was: the larger of median and tail of the past errors (days × series), each as
    the standard deviation that it would mean of normal ones."""
    sizes = np.abs(errors)
    tail = _quantile(sizes, settings.tail_quantile, settings.least_spread_days)
    return np.maximum(
        MAD_TO_DEVIATION * _median(sizes, settings.least_spread_days),
        tail / NormalDist().inv_cdf((1 + settings.tail_quantile) / 2),
    )


def _median(values: Floats, least: int) -> Floats:
    return _quantile(values, 0.5, least)


def _quantile(values: Floats, share: float, least: int) -> Floats:
    """Per series (columns), between neighbours in proportion; NaN where fewer than ``least`` values are known. Many times
    as fast as numpy's nanquantile."""
    if len(values) < least:
        return np.full(values.shape[1], np.nan)
    ordered = np.sort(values, axis=0)  # what is not known comes last
    known = np.isfinite(ordered).sum(axis=0)
    position = share * np.maximum(known - 1, 0)
    lower, upper = (
        np.take_along_axis(ordered, at.astype(np.int64)[None], axis=0)[0]
        for at in (np.floor(position), np.ceil(position))
    )
    return np.where(known >= least, lower + (position % 1) * (upper - lower), np.nan)


def _alerts(
    days: Sequence[date],
    values: Floats,
    weight: Floats,
    kinds: Sequence[Kind],
    families: Integers,
    settings: Settings,
) -> list[Alert]:
    """One alert per event: raised by the first days together that are beyond the limit, and under way until it is over.

    A weekday is compared with the level of its own time: so a lasting shift is the usual as soon as the level has followed,
    and a steady trend, which the level trails, is made up for. Days of an event are no usual variation and not remembered
    as such; but how far off its first day was is, so that a series of rare large orders is known as one.
    """
    counts = np.array([kind == "count" for kind in kinds], dtype=np.bool_)
    few = np.array([kind == "amount" for kind in kinds], dtype=np.bool_)
    weekdays = np.array([day.weekday() for day in days])
    steadied = _steadied(values, weight, counts)
    lowest = np.fmin.accumulate(steadied)
    levels = _levels(steadied, settings)
    added = steadied - levels
    errors, scores, expected = (np.full_like(steadied, np.nan) for _ in range(3))
    under_way, began = np.zeros(len(kinds), dtype=np.int64), np.zeros(len(kinds), dtype=np.int64)
    alerts = []
    for day in range(1, len(days)):
        same = np.flatnonzero(weekdays[:day] == weekdays[day])[-settings.weeks :]
        # Nothing less is expected than the least that was seen: no negative sales.
        usual = np.maximum(levels[day] + _median(added[same], settings.least_weeks), lowest[day - 1])
        past = slice(max(0, day - settings.spread_days), day)
        least = np.full(len(kinds), POISSON_SPREAD)
        least[~counts] = _least_spread(steadied[past, ~counts], usual[~counts], settings)
        least[~counts] *= np.sqrt(weight[day, ~counts])
        spread = np.maximum(_spread(errors[past], settings), least)
        errors[day] = (steadied[day] - usual) * np.sqrt(weight[day])
        np.divide(errors[day], spread, out=scores[day], where=spread > 0)
        expected[day] = _unsteadied(usual, weight[day], counts)

        recent = slice(max(0, day + 1 - settings.longest), day + 1)
        watched = np.isfinite(scores[day])
        together = _together(scores[recent][::-1], settings)
        judged = np.isfinite(scores[recent])
        sums = np.where(judged, values[recent], 0)[::-1].cumsum(axis=0)
        usual_sums = np.where(judged, expected[recent], 0)[::-1].cumsum(axis=0)
        tails = np.where(few & (together[0] > 0), settings.amount_rise_tail, settings.tail)
        limits = _limits(_chances(watched, families, settings), tails, len(together))
        # Clipped days may point one way and their plain sum the other: nobody would understand such an alert.
        excess = np.where(together * (sums - usual_sums) > 0, np.abs(together) / limits, 0)
        length = excess.argmax(axis=0)
        direction = np.sign(np.take_along_axis(together, length[None], axis=0)[0]).astype(np.int64)

        over = watched & (together * under_way < settings.calm).all(axis=0)
        under_way[over | (day - began >= settings.lasting_days)] = 0
        errors[day, under_way != 0] = np.nan
        raised = watched & (excess.max(axis=0) >= 1) & (direction != under_way)
        under_way[raised], began[raised] = direction[raised], day
        added[day, under_way != 0] = np.nan
        for series in np.flatnonzero(raised):
            row = length[series]
            alerts.append(
                Alert(
                    day=days[day],
                    series=int(series),
                    direction="up" if direction[series] > 0 else "down",
                    since=days[day - row],
                    observed=float(sums[row, series]),
                    expected=float(usual_sums[row, series]),
                    score=float(together[row, series]),
                    limit=float(limits[row, series]),
                )
            )
    return alerts


def _together(scores: Floats, settings: Settings) -> Floats:
    """By how many spreads the last 1, 2, … days (rows, the latest first) deviate together; the latest alone in full."""
    lengths = np.arange(1, len(scores) + 1)[:, None]
    # They share the error of one level, a median: pi / 2 / level_days of the variance of one day.
    shared = pi / 2 / settings.level_days
    sums = np.clip(np.nan_to_num(scores), -settings.clip, settings.clip).cumsum(axis=0)
    together = sums / np.sqrt(lengths * (1 + lengths * shared) / (1 + shared))
    together[0] = np.nan_to_num(scores[0])
    return together


def _chances(watched: Bools, families: Integers, settings: Settings) -> Floats:
    """The chance of a false alarm that a day leaves each series (Bonferroni): the month's budget in equal parts for its
    days, for the families, and for those of a family's series that are watched on the day."""
    sizes = np.bincount(families, weights=watched)
    daily = settings.false_alarms_per_month / DAYS_PER_MONTH
    return daily / max(int(np.count_nonzero(sizes)), 1) / np.maximum(sizes, 1)[families]


def _limits(chances: Floats, tails: Floats, lengths: int) -> Floats:
    """By how many spreads so many days (rows) of a series (columns) must deviate: half of the chance is for one day alone
    and half for several together, each in two directions."""
    from scipy.special import ndtri, stdtrit

    limits = np.tile(-ndtri(chances / 4), (lengths, 1))
    limits[0] = -stdtrit(tails, chances / 4)
    return limits


@dataclass(frozen=True)
class Contributor(Generic[Customer]):
    """``change`` is observed minus usual; ``share`` its part of the whole change, above 1 where others moved against it."""

    customer: Customer
    change: float
    share: float


@dataclass(frozen=True)
class Behind(Generic[Customer]):
    """Who is behind a change. The contributors' shares and ``others_share`` add up to 1, unless nothing changed."""

    change: float
    contributors: tuple[Contributor[Customer], ...]
    others_share: float


def behind(
    observed: Mapping[Customer, float],
    usual: Mapping[Customer, float],
    most: float = 0.8,
    at_most: int = 10,
) -> Behind[Customer]:
    """The fewest customers who together explain ``most`` of a change, the largest share first, equals by id.

    ``observed`` is what each contributed on the days of an alert, ``usual`` what each usually contributes on so many
    days; a customer absent from either contributed nothing to it.
    """
    customers = sorted({*observed, *usual}, key=str)
    changes = {each: observed.get(each, 0) - usual.get(each, 0) for each in customers}
    change = sum(changes.values())
    if change == 0:
        return Behind(0, (), 0)
    contributors: list[Contributor[Customer]] = []
    explained = 0.0
    for each in sorted(customers, key=lambda each: -changes[each] / change):
        share = changes[each] / change
        if share <= 0 or explained >= most or len(contributors) == at_most:
            break
        contributors.append(Contributor(each, changes[each], share))
        explained += share
    return Behind(change, tuple(contributors), 1 - explained)
