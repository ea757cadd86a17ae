"""What a clustering learns of a company's customers, and what it then says of each: the cluster, the spend to come.

Pure, so that learning can be done in a process of its own, where scikit-learn stays. What was learnt is data: it is stored
as JSON and said again of any customer with numpy alone.
"""

from collections.abc import Iterator, Mapping
from dataclasses import asdict
from datetime import date, timedelta
from typing import Any, NamedTuple

import numpy as np

from services.scoring.rules import clusters, spend_forecast
from services.scoring.rules.features import (
    FEATURES,
    Integers,
    Lines,
    Matrix,
    Purchases,
    Returns,
    Vector,
    buyers,
    column,
    features,
)

REGRESSION = "regression"

Learnt = dict[str, Any]


class Facts(NamedTuple):
    """What ``customers`` customers, by position, bought and brought back; whole histories, in local time."""

    customers: int
    purchases: Purchases
    returns: Returns
    lines: Lines

    def features(self, day: date, minor_per_unit: int) -> Matrix:
        return features(
            self.customers, day, self.purchases, self.returns, self.lines, minor_per_unit=minor_per_unit
        )


class Window(NamedTuple):
    """Those who were customers on a day, and what each spent in the 90 days from then on."""

    matrix: Matrix
    spent: Vector


class Said(NamedTuple):
    """Of every customer: the label (0 where there is none), the forecast and the best naive one for the next 90 days in
    whole units (NaN where nothing is said)."""

    label: Integers
    forecast: Vector
    baseline: Vector


def learn(
    day: date, minor_per_unit: int, previous: Mapping[str, Any] | None, parts: Iterator[Facts]
) -> Iterator[Learnt]:
    """The clusters as of the beginning of ``day`` and the forecast of the 90 days from then on, as data; one result.

    ``previous`` are the parameters of the clusters that were found before, which keep their labels. Facts come in parts, of
    which only the features are kept.
    """
    now: list[Matrix] = []
    late: list[Window] = []
    early: list[Window] = []
    quarter = timedelta(days=spend_forecast.DAYS)
    for part in parts:
        today, a_quarter_ago, half_a_year_ago = (
            part.features(day - back * quarter, minor_per_unit) for back in range(3)
        )
        now.append(today[buyers(today)])
        late.append(_window(a_quarter_ago, today))
        early.append(_window(half_a_year_ago, a_quarter_ago))
    yield {"clusters": _clusters(_stack(now), previous), "spend": _spend(_join(early), _join(late))}


def say(learnt: Mapping[str, Mapping[str, Any]], matrix: Matrix) -> Said:
    """What was learnt (and stored), of these customers."""
    found, spend = learnt["clusters"], learnt["spend"]
    label = np.zeros(len(matrix), dtype=np.int64)
    forecast = baseline = np.full(len(matrix), np.nan)
    if not found["reasons"]:
        label = clusters.assign(clusters.model(found["parameters"]), matrix)
    if not spend["reasons"]:
        parameters = spend["parameters"]
        naive = spend_forecast.naive(matrix, parameters["mean_spent"])
        baseline = np.where(buyers(matrix), naive[parameters["baseline"]], np.nan)
        forecast = (
            spend_forecast.forecast(spend_forecast.model(parameters["regression"]), matrix)
            if parameters["method"] == REGRESSION
            else baseline
        )
    return Said(label, forecast, baseline)


def _clusters(matrix: Matrix, previous: Mapping[str, Any] | None) -> Learnt:
    if reasons := clusters.insufficient(matrix):
        return {"reasons": reasons, "parameters": {}, "quality": {}, "found": []}
    fitted = clusters.fit(matrix, None if previous is None else clusters.model(previous))
    found = clusters.describe(fitted, matrix, clusters.assign(fitted, matrix))
    return {
        "reasons": [],
        "parameters": fitted.as_data(),
        "quality": {"silhouette": fitted.silhouette, "customers": len(matrix)},
        "found": [_described(each) for each in found],
    }


def _described(found: clusters.Description) -> Learnt:
    rule = found.rule
    return {
        "label": found.label,
        "words": dict(found.words),
        "leading_features": [
            {"feature": feature, "deviations": round(deviations, 3)} for feature, deviations in found.leading
        ],
        "rule": None if rule is None else {"text": str(rule)} | asdict(rule),
    }


def _spend(early: Window, late: Window) -> Learnt:
    """The regression of the last quarter's spend, if one of the quarter before would have foretold that better than every
    naive forecast; else the best of these."""
    reasons = sorted({*spend_forecast.insufficient(*early), *spend_forecast.insufficient(*late)})
    if reasons:
        return {"reasons": reasons, "parameters": {}, "quality": {}}
    holdout = spend_forecast.hold_out(spend_forecast.fit(*early), *late)
    fitted = spend_forecast.fit(*late)
    return {
        "reasons": [],
        "parameters": {
            "method": REGRESSION if holdout.better else holdout.best_naive,
            "baseline": holdout.best_naive,
            "mean_spent": fitted.mean_spent,
            "regression": fitted.as_data() if holdout.better else None,
        },
        "quality": {"holdout": asdict(holdout)},
    }


def _window(matrix: Matrix, after: Matrix) -> Window:
    known = buyers(matrix)
    return Window(matrix[known], column(after, "net_revenue_90")[known])


def _stack(parts: list[Matrix]) -> Matrix:
    return np.concatenate([np.empty((0, len(FEATURES))), *parts])


def _join(windows: list[Window]) -> Window:
    return Window(
        _stack([each.matrix for each in windows]),
        np.concatenate([np.empty(0), *(each.spent for each in windows)]),
    )
