"""What is said of each customer follows from the models, the rhythm and the settings; what no model says is absent."""

from dataclasses import fields, replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from services.scoring.rules import bgnbd, holdout, outlook, sufficiency
from services.scoring.rules.bgnbd import BgNbd
from services.scoring.rules.gamma_gamma import GammaGamma
from services.scoring.rules.outlook import NEVER, Histories, Models, Outlooks, Settings
from tests.scoring.cdnow import FITTED
from tests.scoring.simulated import shoppers

SPEND = GammaGamma(6.25, 3.74, 15.44, 0.0, True)
MODELS = Models(purchases=FITTED, churn=FITTED, spend=SPEND)
NOBODY = Models(purchases=None, churn=None, spend=None)
SETTINGS = Settings(usual_gap_days=30)
FIRST = 730_000


@st.composite
def histories(draw: st.DrawFn) -> Histories:
    rows = []
    for _ in range(draw(st.integers(1, 6))):
        gaps = draw(st.lists(st.integers(1, 200), max_size=8))
        first = FIRST + draw(st.integers(0, 100))
        rows.append(
            (
                len(gaps),
                first,
                first + sum(gaps),
                sum(gap**2 for gap in gaps),
                draw(st.integers(1, 100_000)) / 100,
                draw(st.integers(-1_000, 1_000_000)),
            )
        )
    x, first_day, last_day, squared, mean, historic = zip(*rows, strict=True)
    return Histories(
        *(np.array(each, np.int64) for each in (x, first_day, last_day, squared)),
        np.array(mean),
        np.array(historic, np.int64),
    )


def customer(*gaps: int, mean: float = 20.0) -> Histories:
    """One, who first bought on the day FIRST."""
    row = (len(gaps), FIRST, FIRST + sum(gaps), sum(gap**2 for gap in gaps))
    return Histories(*(np.array([each]) for each in row), np.array([mean]), np.array([5_000]))


def chosen(every: Histories, place: int) -> Histories:
    return Histories(*(getattr(every, field.name)[place : place + 1] for field in fields(Histories)))


either = st.sampled_from([MODELS, NOBODY])


@given(histories(), st.integers(0, 800), either)
def test_a_batch_says_of_each_what_is_said_of_one_alone(
    every: Histories, silence: int, models: Models
) -> None:
    as_of = every.last_day + 1 + silence
    together = outlook.outlooks(every, as_of, models, SETTINGS)
    for place in range(every.x.size):
        alone = outlook.outlooks(chosen(every, place), as_of[place : place + 1], models, SETTINGS)
        for field in fields(Outlooks):
            said = getattr(together, field.name)[place : place + 1]
            assert said == pytest.approx(getattr(alone, field.name), rel=1e-9, nan_ok=True), field.name


@settings(max_examples=200)
@given(histories(), st.integers(0, 800), either)
def test_the_band_moves_on_the_day_foretold_and_not_before(
    every: Histories, silence: int, models: Models
) -> None:
    as_of = every.last_day + 1 + silence
    now = outlook.outlooks(every, as_of, models, SETTINGS)
    assert np.array_equal(now.moves_on == NEVER, now.churn_band == 2)
    moving = now.moves_on != NEVER
    assert np.all(now.moves_on[moving] > as_of[moving])
    then = outlook.outlooks(every, np.where(moving, now.moves_on, as_of), models, SETTINGS)
    assert np.array_equal(then.churn_band > now.churn_band, moving)
    before = outlook.outlooks(every, np.where(moving, now.moves_on - 1, as_of), models, SETTINGS)
    assert np.array_equal(before.churn_band, now.churn_band)


@given(histories(), st.integers(0, 800))
def test_what_is_said_hangs_together(every: Histories, silence: int) -> None:
    said = outlook.outlooks(every, every.last_day + 1 + silence, MODELS, SETTINGS)
    assert np.all((said.alive >= 0) & (said.alive <= 1))
    assert said.alive + said.churn == pytest.approx(np.ones(every.x.size))
    assert np.array_equal(said.churn_band, (said.churn >= 0.3).astype(int) + (said.churn >= 0.7))
    assert np.all(said.purchases_low <= said.purchases_high)
    assert np.all(said.clv_low_minor <= said.clv_high_minor)
    assert np.all(said.clv_minor <= said.purchases * said.spend * 100 + 1)
    assert np.array_equal(said.clv_total_minor, every.historic_minor + said.clv_minor)
    assert np.all(said.silence == silence)
    assert np.all((said.next_early <= said.next_day) & (said.next_day <= said.next_late))
    assert np.array_equal(said.overdue, every.last_day + silence > said.next_late)
    patient = replace(SETTINGS, horizon_days=730)
    longer = outlook.outlooks(every, every.last_day + 1 + silence, MODELS, patient)
    assert np.all(longer.clv_minor >= said.clv_minor)


def test_the_observation_ends_with_the_last_whole_day_before_as_of() -> None:
    said = outlook.outlooks(customer(213), FIRST + 273, MODELS, SETTINGS)
    at_272 = bgnbd.alive(FITTED, np.array([1]), np.array([213]), np.array([272]))
    assert said.alive == pytest.approx(at_272)
    assert said.silence == 59
    with pytest.raises(ValueError, match="before as_of"):
        outlook.outlooks(customer(213), FIRST + 213, MODELS, SETTINGS)


def test_the_value_is_purchases_times_spend_in_todays_worth() -> None:
    free = outlook.outlooks(customer(20, 30), FIRST + 60, MODELS, replace(SETTINGS, annual_discount=0.0))
    assert free.clv_minor[0] == np.rint(free.purchases * free.spend * 100)[0]
    today = outlook.outlooks(customer(20, 30), FIRST + 60, MODELS, SETTINGS)
    assert free.clv_minor[0] / 1.1 < today.clv_minor[0] < free.clv_minor[0]
    yen = outlook.outlooks(customer(20, 30), FIRST + 60, MODELS, replace(SETTINGS, minor_per_unit=1))
    assert yen.clv_minor[0] == pytest.approx(today.clv_minor[0] / 100, abs=0.51)


def test_what_no_model_says_is_absent_and_never_zero() -> None:
    said = outlook.outlooks(customer(20, 30), FIRST + 60, NOBODY, SETTINGS)
    for name in ("alive", "churn", "purchases", "purchases_low", "purchases_high", "spend"):
        assert np.isnan(getattr(said, name)).all(), name
    for name in ("clv_minor", "clv_low_minor", "clv_high_minor", "clv_total_minor"):
        assert np.isnan(getattr(said, name)).all(), name
    spend_alone = outlook.outlooks(customer(20, 30), FIRST + 60, replace(MODELS, spend=None), SETTINGS)
    assert not np.isnan(spend_alone.purchases).any()
    assert np.isnan(spend_alone.clv_minor).all()


def test_purchases_are_expected_where_churn_cannot_be_told() -> None:
    said = outlook.outlooks(customer(20, 30), FIRST + 60, replace(MODELS, churn=None), SETTINGS)
    assert np.isnan(said.alive).all()
    assert said.purchases > 0
    assert said.churn_band == 0


@pytest.mark.parametrize(("silence", "band"), [(45, 0), (46, 1), (90, 1), (91, 2)])
def test_without_a_model_the_band_is_the_silence_in_usual_gaps(silence: int, band: int) -> None:
    said = outlook.outlooks(customer(30, 30, 30), FIRST + 90 + silence + 1, NOBODY, SETTINGS)
    assert said.churn_band == band
    assert said.silence_ratio == silence / 30


def test_the_rhythm_is_the_customers_own_after_three_gaps() -> None:
    own = outlook.outlooks(customer(10, 20, 30), FIRST + 61, MODELS, SETTINGS)
    assert own.usual_gap == 20
    assert own.gap_spread == pytest.approx(np.std([10, 20, 30]))
    assert own.next_day == FIRST + 80
    assert (own.next_early, own.next_late) == (FIRST + 72, FIRST + 88)


def test_missing_gaps_are_lent_by_the_population() -> None:
    once = outlook.outlooks(customer(), FIRST + 1, MODELS, SETTINGS)
    assert (once.usual_gap, once.gap_spread) == (30, 30)
    twice = outlook.outlooks(customer(6), FIRST + 7, MODELS, SETTINGS)
    assert twice.usual_gap == (6 + 2 * 30) / 3
    assert twice.gap_spread == pytest.approx(np.sqrt((36 + 2 * 2 * 900) / 3 - 22**2))


def test_a_customer_is_overdue_the_day_after_the_latest_expected() -> None:
    last_in_time, first_late = (
        outlook.outlooks(customer(10, 20, 30), FIRST + 88 + days, MODELS, SETTINGS) for days in (1, 2)
    )
    assert not last_in_time.overdue
    assert first_late.overdue


def test_a_silence_that_outlasts_all_dates_moves_nobody() -> None:
    faithful = BgNbd(0.05, 50, 0.001, 20, 0, -9, True)
    said = outlook.outlooks(customer(), FIRST + 1, replace(MODELS, churn=faithful), SETTINGS)
    assert said.churn_band == 0
    assert said.moves_on == NEVER


def test_a_base_that_suffices_has_no_reason_against_it() -> None:
    assert sufficiency.of_base(customers=100, history_days=84, repeat_buyers=50) == []
    assert sufficiency.of_base(customers=99, history_days=83, repeat_buyers=49) == [
        "too_few_customers",
        "too_short_a_history",
        "too_few_repeat_buyers",
    ]
    assert sufficiency.of_base(3, 10, 1, sufficiency.Thresholds(3, 10, 1)) == []


def test_a_model_says_why_it_is_not_to_be_used() -> None:
    assert sufficiency.of_churn(FITTED) == sufficiency.of_purchases(FITTED) == []
    lost = replace(FITTED, converged=False)
    assert sufficiency.of_churn(lost) == sufficiency.of_purchases(lost) == ["not_converged"]
    staying = replace(FITTED, log_likelihood_without_dropout=FITTED.log_likelihood - 1)
    assert sufficiency.of_purchases(staying) == []
    assert sufficiency.of_churn(staying) == ["no_dropout_seen"]
    assert sufficiency.of_spend(SPEND) == []
    assert sufficiency.of_spend(replace(SPEND, converged=False)) == ["not_converged"]
    assert sufficiency.of_spend(replace(SPEND, q=0.9)) == ["heavy_tailed_spend"]
    assert sufficiency.of_spend(replace(SPEND, p=1.2e6)) == ["no_spread_of_spend"]


@given(st.integers(1, 1_000), st.floats(0.01, 0.99))
def test_confidence_grows_with_occasions_and_with_accuracy(occasions: int, accuracy: float) -> None:
    fewer, more = sufficiency.confidence(np.array([occasions, occasions + 1]), accuracy)
    assert 0 < fewer < more < 1
    assert sufficiency.confidence(np.array([occasions]), accuracy + 0.01)[0] > fewer


def test_a_third_of_the_history_is_held_out_and_at_most_a_quarter_of_a_year() -> None:
    assert [holdout.days_held_out(days) for days in (84, 270, 3_000)] == [28, 90, 90]


def test_the_true_model_is_accurate_and_a_wrong_one_is_not() -> None:
    true = BgNbd(1.0, 15, 0.5, 3, 0, -9, True)
    people = shoppers(true, 50_000, seed=7, first_counts=True)
    history = (people.x, people.span, people.age, people.after, 90)
    right = holdout.measure(true, *history)
    assert right.accuracy > 0.92
    assert right.predicted == pytest.approx(people.after.sum(), rel=0.08)
    assert right.mean_absolute_error < right.naive_mean_absolute_error
    wrong = holdout.measure(replace(true, alpha=45.0), *history)
    assert wrong.accuracy < right.accuracy - 0.1
    with pytest.raises(ValueError, match="nobody"):
        holdout.measure(true, *(each[:0] for each in history[:4]), 90)
