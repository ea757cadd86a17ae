"""The forecast of spend is better than what anybody would say without a model, or it says why there is none."""

import json
from datetime import date, timedelta

import numpy as np
import pytest
from numpy.testing import assert_allclose, assert_array_equal

from services.scoring.rules import spend_forecast as s
from services.scoring.rules.features import POSITION, Matrix, Vector, buyers, column
from tests import real_file
from tests.scoring import shoppers
from tests.scoring.shoppers import Shoppers

FIRST = date(2026, 8, 1)


def window(people: Shoppers, as_of: date) -> tuple[Matrix, Vector]:
    """Features as of a day and what was spent in the 90 days after it."""
    return people.features(as_of), column(people.features(as_of + timedelta(days=s.DAYS)), "net_revenue_90")


def held_out(people: Shoppers, as_of: date) -> s.Holdout:
    """Fitted as of the quarter before ``as_of``, compared in the quarter after it."""
    return s.hold_out(s.fit(*window(people, as_of - timedelta(days=s.DAYS))), *window(people, as_of))


@pytest.mark.parametrize("seed", [1, 2, 3])
def test_it_beats_every_naive_forecast_where_everybody_has_a_rhythm_of_their_own(seed: int) -> None:
    holdout = held_out(shoppers.of_many_rhythms(3_000, seed), FIRST + timedelta(days=90))
    assert holdout.better
    assert holdout.forecast.r2 > max(errors.r2 for errors in holdout.naive.values())


@pytest.mark.skipif(not real_file.FILE.exists(), reason=f"the public retail file is not at {real_file.FILE}")
def test_it_beats_every_naive_forecast_of_the_real_file() -> None:
    people = shoppers.of_the_real_file()
    for day in (date(2011, 7, 1), date(2011, 8, 1), date(2011, 9, 10)):
        assert held_out(people, day).better, day


def test_errors_are_those_of_the_textbook() -> None:
    people = shoppers.of_many_rhythms(1_000, 4)
    matrix, spent = window(people, FIRST)
    fitted = s.fit(matrix, spent)
    holdout = s.hold_out(fitted, matrix, spent)
    known = buyers(matrix)
    actual, said = spent[known], s.forecast(fitted, matrix)[known]
    assert holdout.customers == known.sum()
    assert_allclose(holdout.forecast.mae, np.mean(np.abs(said - actual)))
    assert_allclose(holdout.forecast.rmse, np.mean((said - actual) ** 2) ** 0.5)
    assert_allclose(
        holdout.forecast.r2, 1 - np.sum((said - actual) ** 2) / np.sum((actual - actual.mean()) ** 2)
    )
    again = np.mean(np.abs(column(matrix, "net_revenue_90")[known] - actual))
    assert_allclose(holdout.naive["last_90_days"].mae, again)
    assert abs(holdout.naive["population_mean"].r2) < 1e-9


def test_a_forecast_worse_than_one_naive_forecast_in_one_measure_is_not_better() -> None:
    good, mixed = s.Errors(10, 20, 0.5), s.Errors(9, 30, 0.4)
    assert s.Holdout(1, good, {"a": s.Errors(11, 21, 0)}).better
    assert not s.Holdout(1, good, {"a": s.Errors(11, 21, 0), "b": mixed}).better


def test_the_whole_of_the_fitted_window_is_forecast_right_and_never_below_nothing() -> None:
    matrix, spent = window(shoppers.of_many_rhythms(2_000, 5), FIRST)
    said = s.forecast(s.fit(matrix, spent), matrix)
    assert_allclose(np.nansum(said), np.maximum(spent[buyers(matrix)], 0).sum(), rtol=1e-3)
    assert (said[buyers(matrix)] > 0).all()


def test_more_spent_lately_means_more_to_come() -> None:
    matrix, spent = window(shoppers.of_many_rhythms(2_000, 6), FIRST)
    fitted = s.fit(matrix, spent)
    less, more = matrix[:1].copy(), matrix[:1].copy()
    for name, low, high in [
        ("recency_days", 150, 5),
        ("net_revenue_30", 0, 300),
        ("net_revenue_90", 0, 500),
        ("usual_revenue_90", 50, 500),
        ("purchases_90", 0, 6),
    ]:
        less[0, POSITION[name]], more[0, POSITION[name]] = low, high
    assert s.forecast(fitted, less)[0] < s.forecast(fitted, more)[0]


def test_stored_as_data_it_forecasts_one_customer_as_it_did_all() -> None:
    matrix, spent = window(shoppers.of_many_rhythms(1_000, 7), FIRST)
    fitted = s.fit(matrix, spent)
    stored = s.model(json.loads(json.dumps(fitted.as_data())))
    everyone = s.forecast(fitted, matrix)
    assert_array_equal([s.forecast(stored, matrix[i : i + 1])[0] for i in range(200)], everyone[:200])


def test_one_without_a_purchase_that_counts_is_not_forecast() -> None:
    matrix, spent = window(shoppers.of_many_rhythms(1_000, 8), FIRST)
    nobody = matrix[:1].copy()
    nobody[0, POSITION["recency_days"]] = np.nan
    assert np.isnan(s.forecast(s.fit(matrix, spent), nobody)[0])


def test_too_little_to_learn_from_says_why() -> None:
    people = shoppers.of_many_rhythms(1_000, 9)
    matrix, spent = window(people, FIRST)
    assert s.insufficient(matrix, spent) == []
    assert s.insufficient(matrix, np.zeros(len(spent))) == ["too_few_spenders"]
    assert s.insufficient(matrix[:150], np.ones(150)) == ["too_few_customers"]
    young = window(people, date(2026, 3, 25))
    assert s.insufficient(*young) == ["history_too_short"]
    with pytest.raises(ValueError, match="history_too_short"):
        s.fit(*young)
