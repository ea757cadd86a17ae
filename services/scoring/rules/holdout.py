"""How well a model fitted on what came before a day foretold what came after it."""

from dataclasses import dataclass

import numpy as np

from services.scoring.rules import bgnbd
from services.scoring.rules.bgnbd import BgNbd, Ints

LONGEST_DAYS = 90
# Customers with as many repeat occasions or more are one class.
LAST_CLASS = 7


@dataclass(frozen=True)
class Holdout:
    """Of the customers who were there before the split. Errors are means per customer, in occasions; ``naive`` is that of
    going on at the rate so far, x / age. ``coverage`` is the share within the interval of ``level``. ``accuracy`` is
    0 … 1 (see ``measure``)."""

    days: int
    customers: int
    predicted: float
    actual: int
    mean_absolute_error: float
    naive_predicted: float
    naive_mean_absolute_error: float
    level: float
    coverage: float
    accuracy: float


def days_held_out(history_days: int) -> int:
    """A third of the history, at most 90 days: what comes before it must show how people come back."""
    return min(LONGEST_DAYS, history_days // 3)


def measure(
    model: BgNbd, x: Ints, span: Ints, age: Ints, actual: Ints, days: int, level: float = 0.8
) -> Holdout:
    """Compare with ``actual``, the occasions of each customer in the ``days`` after the split; x, span and age are as of
    it. Raises ValueError without a customer.

    Accuracy: customers are put into classes by x (0, 1, … 6, 7 and more), as in the tests of the literature (Fader, Hardie
    & Lee 2005), so that too much for some does not make up for too little for others; it is 1 − Σ |predicted −
    actual| / Σ max(predicted, actual) over the totals of the classes.
    """
    if not x.size:
        raise ValueError("nobody was there before the split")
    predicted = bgnbd.expected(model, x, span, age, days)
    naive = x / np.maximum(age, 1) * days
    low, high = bgnbd.interval(model, x, span, age, days, level)
    classes = np.minimum(x, LAST_CLASS)
    totals = np.bincount(classes, predicted), np.bincount(classes, actual)
    most = np.maximum(*totals).sum()
    return Holdout(
        days=days,
        customers=x.size,
        predicted=float(predicted.sum()),
        actual=int(actual.sum()),
        mean_absolute_error=float(np.abs(predicted - actual).mean()),
        naive_predicted=float(naive.sum()),
        naive_mean_absolute_error=float(np.abs(naive - actual).mean()),
        level=level,
        coverage=float(((low <= actual) & (actual <= high)).mean()),
        accuracy=float(1 - np.abs(totals[0] - totals[1]).sum() / most),
    )
