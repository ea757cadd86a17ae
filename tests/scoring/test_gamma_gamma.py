"""Gamma-Gamma against what the literature publishes, against spending drawn from it, and against its laws."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.scoring.rules import gamma_gamma
from services.scoring.rules.gamma_gamma import GammaGamma
from tests.scoring.cdnow import cdnow
from tests.scoring.simulated import spending

parameters = st.builds(
    GammaGamma,
    p=st.floats(0.2, 50),
    q=st.floats(1.05, 50),
    gamma=st.floats(0.1, 1e4),
    log_likelihood=st.just(0.0),
    converged=st.just(True),
)


def test_the_published_parameters_come_out() -> None:
    sample = cdnow()
    again = sample.x > 0
    assert np.count_nonzero(again) == 946
    model = gamma_gamma.fit(sample.x[again], sample.repeat_cents[again] / 100 / sample.x[again])
    assert model.converged
    assert model.spread
    assert not model.heavy_tailed
    assert (model.p, model.q) == (pytest.approx(6.25, abs=0.005), pytest.approx(3.74, abs=0.005))
    assert model.gamma == pytest.approx(15.45, abs=0.01)


def test_parameters_of_drawn_spending_are_found_again_in_any_unit() -> None:
    model = GammaGamma(4.0, 3.0, 60.0, 0.0, True)
    x = 1 + np.random.default_rng(1).poisson(3, 50_000)
    mean = spending(model, x, seed=2)
    found = gamma_gamma.fit(x, mean)
    assert (found.p, found.q, found.gamma) == pytest.approx((4, 3, 60), rel=0.1)
    assert found.p * found.gamma / (found.q - 1) == pytest.approx(120, rel=0.01)
    in_cents = gamma_gamma.fit(x, mean * 100)
    assert in_cents.gamma == pytest.approx(found.gamma * 100, rel=1e-3)
    assert (in_cents.p, in_cents.q) == pytest.approx((found.p, found.q), rel=1e-3)


@given(parameters, st.integers(1, 500), st.floats(0.01, 1e5))
def test_the_expectation_lies_between_the_customers_mean_and_everybodys(
    model: GammaGamma, x: int, mean: float
) -> None:
    everybody, own = gamma_gamma.expected_spend(model, np.array([0, x]), np.array([np.nan, mean]))
    assert everybody == pytest.approx(model.p * model.gamma / (model.q - 1))
    least, most = sorted((everybody, mean))
    assert least * (1 - 1e-9) <= own <= most * (1 + 1e-9)
    more = gamma_gamma.expected_spend(model, np.array([x + 1]), np.array([mean]))[0]
    assert abs(more - mean) <= abs(own - mean) * (1 + 1e-9) + 1e-9


def test_the_expectation_is_what_drawn_customers_go_on_to_spend() -> None:
    model = GammaGamma(4.0, 3.0, 60.0, 0.0, True)
    rng = np.random.default_rng(4)
    x = np.full(200_000, 2)
    rate = rng.gamma(model.q, 1 / model.gamma, x.size)
    before, after = rng.gamma(model.p * x) / rate / x, rng.gamma(model.p, size=x.size) / rate
    expected = gamma_gamma.expected_spend(model, x, before)
    for some in (before < np.median(before), before >= np.median(before)):
        assert expected[some].mean() == pytest.approx(after[some].mean(), rel=0.02)


def test_equal_values_have_no_spread() -> None:
    assert not gamma_gamma.fit(np.full(500, 3), np.full(500, 20.0)).spread


def test_spending_without_a_mean_is_flagged_and_expects_nothing() -> None:
    heavy = GammaGamma(4.0, 0.6, 20.0, 0.0, True)
    x = np.full(20_000, 3)
    found = gamma_gamma.fit(x, spending(heavy, x, seed=3))
    assert found.converged
    assert found.heavy_tailed
    with pytest.raises(ValueError, match="no expectation"):
        gamma_gamma.expected_spend(found, x, x.astype(float))


@pytest.mark.parametrize(("x", "mean"), [([], []), ([0, 2], [1.0, 1.0]), ([2, 2], [1.0, 0.0])])
def test_customers_without_repeated_spending_are_refused(x: list[int], mean: list[float]) -> None:
    with pytest.raises(ValueError, match="repeat occasion"):
        gamma_gamma.fit(np.array(x, np.int64), np.array(mean))
