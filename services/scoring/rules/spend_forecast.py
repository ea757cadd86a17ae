"""What a customer will spend in the next 90 days, net of returns: a regression and the naive forecasts it must beat.

A Poisson regression with a log link on standardised logarithms of recency and of past spend, weakly held back by a ridge:
six coefficients, an intercept and a scaling, so it is stored as data, applies to one customer in numpy, and the expected
spend is a product of powers of what was spent before. The quasi-likelihood asks only that the mean is right, not that
amounts are counts (Gourieroux, Monfort and Trognon, "Pseudo maximum likelihood methods: applications to Poisson models",
Econometrica 1984).

Chosen on the public retail file, four splits in time (fit as of day - 90, forecast from June, July, August and 10 September
2011), mean ratio of MAE / of RMSE to the best naive forecast of each split: this one 0.96 / 0.89, better than every naive
forecast in both in each split; the same with all twenty features 0.99 / 0.91; Tweedie with power 1.5 and all features
1.03 / 0.97; a hurdle of logistic and gamma regression 1.12 / 1.33; gradient-boosted trees with Poisson loss 1.06 / 1.30:
trees cannot say more than the largest customers of the quarter before.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from services.scoring.rules.features import (
    Matrix,
    Scaling,
    Vector,
    buyers,
    column,
    learn_scaling,
    scaling,
)

DAYS = 90
PREDICTORS = (
    "recency_days",
    "net_revenue_30",
    "net_revenue_90",
    "net_revenue_365",
    "usual_revenue_90",
    "purchases_90",
)
RIDGE = 0.1  # best of 0.03, 0.1, 0.3 on the splits above
CUSTOMERS_NEEDED = 200
SPENDERS_NEEDED = 50


@dataclass(frozen=True)
class Model:
    """Forecast = exp(intercept + standardised predictors · coefficients), in whole units of the accounting currency;
    ``mean_spent`` is what the customers it was fitted on spent on average."""

    scaling: Scaling
    intercept: float
    coefficients: Vector
    mean_spent: float

    def as_data(self) -> dict[str, Any]:
        """For a JSON column; ``model`` reads it."""
        return {
            "scaling": self.scaling.as_data(),
            "intercept": self.intercept,
            "coefficients": self.coefficients.tolist(),
            "mean_spent": self.mean_spent,
        }


def model(data: Mapping[str, Any]) -> Model:
    """As it was stored."""
    return Model(
        scaling(data["scaling"]),
        data["intercept"],
        np.array(data["coefficients"], dtype=np.float64),
        data["mean_spent"],
    )


def insufficient(matrix: Matrix, spent: Vector) -> list[str]:
    """Why no regression can be fitted on these features and what was spent in the 90 days after them; empty if it can.

    ``history_too_short``: nobody bought 90 days before the features' day, so there are no two windows, one to look at and
    one to forecast; ``too_few_customers``: fewer than 200; ``too_few_spenders``: fewer than 50 of them spent anything.
    """
    known = buyers(matrix)
    tenure = column(matrix, "tenure_days")[known]
    reasons = []
    if not (tenure >= DAYS).any():
        reasons.append("history_too_short")
    if len(tenure) < CUSTOMERS_NEEDED:
        reasons.append("too_few_customers")
    if (spent[known] > 0).sum() < SPENDERS_NEEDED:
        reasons.append("too_few_spenders")
    return reasons


def fit(matrix: Matrix, spent: Vector) -> Model:
    """Fit on the features as of a day and the net spend of the 90 days from that day on (whole units; where more came back
    than was bought, nothing). Raises ValueError with the reasons for a base that is insufficient."""
    from sklearn.linear_model import (
        PoissonRegressor,
    )

    if reasons := insufficient(matrix, spent):
        raise ValueError(", ".join(reasons))
    known = buyers(matrix)
    # Nothing is clipped but what goes beyond the population: the largest customers are the point of the forecast.
    scale = learn_scaling(matrix[known], PREDICTORS, clipped=0)
    outcome = np.maximum(spent[known], 0)
    mean = float(outcome.mean())
    regression = PoissonRegressor(alpha=RIDGE, solver="newton-cholesky")
    regression.fit(scale.standardise(matrix[known]), outcome / mean)
    return Model(
        scale,
        float(regression.intercept_ + np.log(mean)),
        np.array(regression.coef_),
        float(spent[known].mean()),
    )


def forecast(fitted: Model, matrix: Matrix) -> Vector:
    """Expected net spend of the next 90 days per row, in whole units; NaN for one without a purchase that counts."""
    exponent = fitted.intercept + (fitted.scaling.standardise(matrix) * fitted.coefficients).sum(axis=1)
    return np.where(buyers(matrix), np.exp(exponent), np.nan)


def naive(matrix: Matrix, mean_spent: float) -> dict[str, Vector]:
    """What anybody would say without a model: the last 90 days again; the customer's mean rate × 90 days; what customers
    spent on average in the window the model was fitted on."""
    return {
        "last_90_days": column(matrix, "net_revenue_90"),
        "mean_rate": column(matrix, "usual_revenue_90"),
        "population_mean": np.full(len(matrix), mean_spent),
    }


@dataclass(frozen=True)
class Errors:
    """Mean absolute error and root mean squared error in whole units; the share of the variance explained."""

    mae: float
    rmse: float
    r2: float


@dataclass(frozen=True)
class Holdout:
    """How the forecast and the naive ones did on a window that the model has not seen."""

    customers: int
    forecast: Errors
    naive: Mapping[str, Errors]

    @property
    def better(self) -> bool:
        """Whether the forecast beats every naive one, in the mean absolute and in the root mean squared error."""
        return all(
            self.forecast.mae < other.mae and self.forecast.rmse < other.rmse for other in self.naive.values()
        )

    @property
    def best_naive(self) -> str:
        """The naive forecast with the smallest root mean squared error, which the mean of what is to come makes smallest."""
        return min(self.naive, key=lambda name: self.naive[name].rmse)


def hold_out(fitted: Model, matrix: Matrix, spent: Vector) -> Holdout:
    """Compare on features as of a later day and the net spend of the 90 days after it; all of it counts, refunds too."""
    known = buyers(matrix)
    matrix, actual = matrix[known], spent[known]
    return Holdout(
        len(actual),
        _errors(forecast(fitted, matrix), actual),
        {name: _errors(said, actual) for name, said in naive(matrix, fitted.mean_spent).items()},
    )


def _errors(said: Vector, actual: Vector) -> Errors:
    squares = (said - actual) ** 2
    variance = float(actual.var())
    return Errors(
        float(np.abs(said - actual).mean()),
        float(np.sqrt(squares.mean())),
        1 - float(squares.mean()) / variance if variance > 0 else 0.0,
    )
