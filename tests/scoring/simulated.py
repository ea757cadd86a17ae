"""Customers who behave as the models suppose, drawn with a seed."""

from dataclasses import dataclass

import numpy as np

from services.scoring.rules.bgnbd import DAYS_PER_WEEK, BgNbd, Ints
from services.scoring.rules.gamma_gamma import Floats, GammaGamma


@dataclass(frozen=True)
class Shoppers:
    """``after``: occasions in the days after the end of the observation; ``alive``: who had not dropped out by then."""

    x: Ints
    span: Ints
    age: Ints
    after: Ints
    alive: np.ndarray


def shoppers(
    model: BgNbd, count: int, seed: int, oldest: int = 730, days: int = 90, first_counts: bool = False
) -> Shoppers:
    """First occasions evenly over the ``oldest`` days before the end. Whoever would buy twice on a day does so once.
    ``first_counts``: one may drop out after the first purchase too, as ``bgnbd.alive`` supposes."""
    rng = np.random.default_rng(seed)
    rate = rng.gamma(model.r, 1 / model.alpha, count) / DAYS_PER_WEEK
    dropout = rng.beta(model.a, model.b, count)
    first = rng.integers(-oldest, 0, count)
    x, last, after = (np.zeros(count, np.int64) for _ in range(3))
    moment, alive = np.full(count, 0.5), np.ones(count, bool)
    present = np.arange(count)
    if first_counts:
        gone = rng.random(count) < dropout
        alive[gone] = False
        present = present[~gone]
    while present.size:
        moment[present] += rng.exponential(1 / np.maximum(rate[present], 1e-12))
        present = present[moment[present] < days - first[present]]
        day = np.floor(moment[present]).astype(np.int64)
        another = present[day > last[present]]
        last_day = np.floor(moment[another]).astype(np.int64)
        later = last_day > -first[another] - 1
        after[another[later]] += 1
        x[another[~later]] += 1
        last[another[~later]] = last_day[~later]
        gone = rng.random(present.size) < dropout[present]
        alive[present[gone & (day < -first[present])]] = False
        present = present[~gone]
    return Shoppers(x, last, -first - 1, after, alive)


def spending(model: GammaGamma, x: Ints, seed: int) -> Floats:
    """The mean value of x occasions of each customer."""
    rng = np.random.default_rng(seed)
    rate = rng.gamma(model.q, 1 / model.gamma, x.size)
    mean: Floats = rng.gamma(model.p * x) / rate / x
    return mean
