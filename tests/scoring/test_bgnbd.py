"""BG/NBD against what the literature publishes, against customers drawn from it, and against its laws."""

import subprocess
import sys

import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from scipy.special import hyp2f1
from scipy.stats import nbinom

from services.scoring.rules import bgnbd, holdout
from services.scoring.rules.bgnbd import BgNbd, Ints
from tests.scoring.cdnow import FITTED, WEEKS_39, cdnow
from tests.scoring.simulated import shoppers

parameters = st.builds(
    BgNbd,
    r=st.floats(0.05, 20),
    alpha=st.floats(2, 100),
    a=st.floats(0.01, 20),
    b=st.floats(0.05, 20),
    log_likelihood=st.just(0.0),
    log_likelihood_without_dropout=st.just(-100.0),
    converged=st.just(True),
)


@st.composite
def customers(draw: st.DrawFn) -> tuple[Ints, Ints, Ints]:
    """(x, span, age) of one customer, arrays of one."""
    x = draw(st.integers(0, 200))
    span = draw(st.integers(x, x + 1_000)) if x else 0
    age = draw(st.integers(span, span + 2_000))
    return np.array([x]), np.array([span]), np.array([age])


def test_the_published_parameters_come_out_to_four_digits() -> None:
    sample = cdnow()
    assert sample.x.size == 2_357
    model = bgnbd.fit(bgnbd.group(sample.x, sample.span, sample.age))
    assert model.converged
    assert model.dropout_seen
    assert [round(each, 4) for each in (model.r, model.alpha, model.a, model.b)] == [
        0.2426,
        4.4136,
        0.7929,
        2.4259,
    ]
    assert round(model.log_likelihood, 1) == -9582.4


def test_the_published_customer_buys_as_often_as_published() -> None:
    x, span, age = np.array([2]), np.array([213]), np.array([272])  # t_x 30.43 and T 38.86 weeks
    assert bgnbd.expected(FITTED, x, span, age, WEEKS_39)[0] == pytest.approx(1.226, abs=0.0005)


def test_whoever_bought_again_is_foretold_on_the_published_sample() -> None:
    sample = cdnow()
    again = sample.x > 0
    measured = holdout.measure(
        FITTED, sample.x[again], sample.span[again], sample.age[again], sample.after[again], WEEKS_39
    )
    # The model expects a seventh too little of these customers.
    assert measured.predicted == pytest.approx(measured.actual, rel=0.15)
    assert measured.mean_absolute_error < measured.naive_mean_absolute_error
    assert measured.accuracy > 0.85


@given(parameters, customers(), st.integers(1, 730))
def test_the_expectation_is_the_papers_closed_form(
    model: BgNbd, customer: tuple[Ints, Ints, Ints], days: int
) -> None:
    x, _, age = customer
    assume(abs(model.a - 1) > 0.01)  # where the closed form loses its digits
    alpha, a, b, r, t = model.alpha, model.a, model.b, model.r, days / 7
    weeks = alpha + age / 7
    series = hyp2f1(r + x, b + x, a + b + x - 1, t / (weeks + t))
    closed = (a + b + x - 1) / (a - 1) * (1 - (weeks / (weeks + t)) ** (r + x) * series)
    # Where the closed form subtracts numbers that are nearly equal it has lost some of its digits.
    assert bgnbd.expected_if_alive(model, x, age, [days])[0] == pytest.approx(closed, rel=1e-4)


def test_nothing_is_special_about_a_dropout_prior_with_a_of_one() -> None:
    x, age = np.array([0, 3, 40]), np.array([20, 200, 300])
    below, at, above = (
        bgnbd.expected_if_alive(BgNbd(0.5, 5, a, 2, 0, -9, True), x, age, [90])[:, 0]
        for a in (1 - 1e-6, 1.0, 1 + 1e-6)
    )
    assert at == pytest.approx((below + above) / 2, rel=1e-9)


@given(parameters, customers(), st.integers(1, 400))
def test_p_alive_is_a_probability_and_falls_with_every_silent_day(
    model: BgNbd, customer: tuple[Ints, Ints, Ints], later: int
) -> None:
    x, span, age = customer
    now, then = bgnbd.alive(model, x, span, age), bgnbd.alive(model, x, span, age + later)
    assert 0 <= then <= now <= 1
    assert then < now or now < 1e-9


@given(parameters, customers(), st.floats(0.01, 0.99))
def test_silence_brings_p_alive_to_the_level_it_was_solved_for(
    model: BgNbd, customer: tuple[Ints, Ints, Ints], level: float
) -> None:
    x, span, _ = customer
    age = bgnbd.silent_until(model, x, span, level)
    if bgnbd.alive(model, x, span, span) <= level:
        assert age == span
    elif age < 1e9:
        assert bgnbd.alive(model, x, span, age) == pytest.approx(level, rel=1e-6)


def test_p_alive_of_those_who_drop_out_after_any_purchase_is_their_share() -> None:
    """With the true parameters, also of those who bought once, if the first purchase is a chance to drop out."""
    model = BgNbd(0.8, 12, 0.6, 1.5, 0, -9, True)
    people = shoppers(model, 100_000, seed=3, first_counts=True)
    once = people.x == 0
    supposed = bgnbd.alive(model, people.x, people.span, people.age)
    assert supposed[once].mean() == pytest.approx(people.alive[once].mean(), abs=0.01)
    # The longer the silence, the fewer are left; the supposed share follows.
    old = once & (people.age > 365)
    assert supposed[old].mean() == pytest.approx(people.alive[old].mean(), abs=0.02)
    assert supposed[old].mean() < supposed[once].mean() - 0.05


@given(parameters, customers(), st.integers(1, 700), st.floats(0, 0.5))
def test_a_longer_horizon_expects_more_and_a_discount_less(
    model: BgNbd, customer: tuple[Ints, Ints, Ints], days: int, discount: float
) -> None:
    expected = bgnbd.expected(model, *customer, days)
    assert expected <= bgnbd.expected(model, *customer, days + 30)
    assert bgnbd.discounted(model, *customer, days, 0) == pytest.approx(expected)
    least = expected * (1 + discount) ** -(days / 365)
    assert least * (1 - 1e-9) <= bgnbd.discounted(model, *customer, days, discount) <= expected * (1 + 1e-9)


@given(st.lists(st.tuples(st.integers(0, 3), st.integers(0, 4), st.integers(0, 4)), min_size=1))
def test_groups_are_the_customers(people: list[tuple[int, int, int]]) -> None:
    x, more, silence = np.array(people).T
    span = np.where(x > 0, x + more, 0)
    age = span + silence
    grouped = bgnbd.group(x, span, age)
    again = np.repeat(np.array([grouped.x, grouped.span, grouped.age]), grouped.customers, axis=1)
    assert sorted(zip(*again.tolist(), strict=True)) == sorted(
        zip(x.tolist(), span.tolist(), age.tolist(), strict=True)
    )
    assert len(set(zip(grouped.x, grouped.span, grouped.age, strict=True))) == grouped.x.size


@pytest.mark.parametrize("impossible", [(-1, 0, 0), (2, 1, 5), (1, 6, 5), (0, 1, 5), (1, 1, 1 << 21)])
def test_customers_who_cannot_be_are_refused(impossible: tuple[int, int, int]) -> None:
    with pytest.raises(ValueError, match="0 <= x <= span <= age"):
        bgnbd.group(*(np.array([each]) for each in impossible))


def test_nothing_is_fitted_where_nobody_bought_again() -> None:
    once = np.zeros(200, np.int64)
    with pytest.raises(ValueError, match="nobody has bought again"):
        bgnbd.fit(bgnbd.group(once, once, np.arange(200)))


def test_parameters_of_drawn_customers_are_found_again() -> None:
    """Slow buyers, since a day is the unit in which they are observed."""
    model = BgNbd(1.2, 40, 0.8, 2.5, 0, 0, True)
    people = shoppers(model, 200_000, seed=1, oldest=1_460)
    found = bgnbd.fit(bgnbd.group(people.x, people.span, people.age))
    assert found.converged
    assert (found.r, found.alpha, found.a, found.b) == pytest.approx((1.2, 40, 0.8, 2.5), rel=0.05)


def test_a_base_that_nobody_leaves_is_fitted_and_says_so() -> None:
    staying = BgNbd(0.8, 10, 1e-6, 10, 0, 0, True)
    people = shoppers(staying, 5_000, seed=2)
    found = bgnbd.fit(bgnbd.group(people.x, people.span, people.age))
    assert found.converged
    assert not found.dropout_seen
    assert found.r == pytest.approx(0.8, rel=0.1)
    expected = bgnbd.expected(found, people.x, people.span, people.age, 90)
    assert expected.sum() == pytest.approx(people.after.sum(), rel=0.05)


@settings(max_examples=50)
@given(parameters, customers(), st.integers(1, 365), st.sampled_from([0.5, 0.8, 0.95]))
def test_intervals_are_quantiles_of_nobody_or_a_negative_binomial(
    model: BgNbd, customer: tuple[Ints, Ints, Ints], days: int, level: float
) -> None:
    x, span, age = customer
    alive = bgnbd.alive(model, x, span, age)[0]
    mean, size = bgnbd.expected_if_alive(model, x, age, [days])[0, 0], model.r + x[0]

    def reached(count: int) -> float:
        return float(1 - alive + alive * nbinom.cdf(count, size, size / (size + mean)))

    low, high = bgnbd.interval(model, x, span, age, days, level)
    for count, probability in ((int(low[0]), (1 - level) / 2), (int(high[0]), (1 + level) / 2)):
        assert count <= days
        assert reached(count) > probability - 1e-9 or count == days
        assert count == 0 or reached(count - 1) < probability + 1e-9


def test_intervals_hold_what_they_promise_and_not_everything() -> None:
    model = BgNbd(2.0, 8, 0.4, 3, 0, 0, True)
    people = shoppers(model, 50_000, seed=5, days=180)
    again = people.x > 0
    low, high = bgnbd.interval(model, people.x, people.span, people.age, 180, 0.8)
    inside = (low <= people.after) & (people.after <= high)
    # Counts are whole, so that the interval holds somewhat more than its level.
    assert 0.8 <= inside[again].mean() <= 0.92


ONE_CUSTOMER = """
import sys, numpy as np
from services.scoring.rules import bgnbd, gamma_gamma, holdout, outlook, sufficiency
model = bgnbd.BgNbd(0.24, 4.4, 0.79, 2.4, 0.0, -9.0, True)
spend = gamma_gamma.GammaGamma(6.25, 3.74, 15.44, 0.0, True)
one = np.array([2])
history = outlook.Histories(one, one * 0 + 1, one + 60, one * 900, one * 9.5, one)
outlook.outlooks(history, 90, outlook.Models(model, model, spend), outlook.Settings(usual_gap_days=30))
print(any(name.partition(".")[0] in ("scipy", "pandas", "sklearn") for name in sys.modules))
"""


def test_one_customer_is_evaluated_without_heavy_libraries() -> None:
    said = subprocess.run([sys.executable, "-c", ONE_CUSTOMER], capture_output=True, text=True, check=True)
    assert said.stdout.strip() == "False"
