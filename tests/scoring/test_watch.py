"""The watch: what it reports, once; what it keeps quiet about; and that it never looks ahead."""

from dataclasses import replace
from datetime import date, timedelta

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from services.scoring.rules import watch
from services.scoring.rules.watch import Alert, Floats
from tests import real_file
from tests.benchmarks import watch as benchmark

MONDAY = date(2025, 1, 6)
SATURDAY = 5
# One series alone has the whole budget of a month: where none may be false, a small one. And one where many are.
RARE = replace(watch.DEFAULTS, false_alarms_per_month=0.01)
OFTEN = replace(watch.DEFAULTS, false_alarms_per_month=60)

seeds = pytest.mark.parametrize("seed", range(5))


def calendar(weeks: int) -> list[date]:
    return [MONDAY + timedelta(days=day) for day in range(7 * weeks)]


def levels(days: list[date], usual: float = 60) -> Floats:
    """Closed on Saturdays, half of the usual on Sundays, more on Thursdays; one series."""
    weekdays = np.array([1, 1, 1.1, 1.4, 0.9, 0, 0.5])
    return usual * weekdays[[day.weekday() for day in days]][:, None]


def purchases(expected: Floats, seed: int) -> Floats:
    return np.random.default_rng(seed).poisson(expected).astype(np.float64)


def orders(shape: tuple[int, int], seed: int) -> Floats:
    """Amounts of a few orders a day, some of them huge, some days none."""
    random = np.random.default_rng(seed)
    return np.round(random.poisson(1.5, shape) * random.lognormal(3, 1.5, shape))


def said(alerts: list[Alert]) -> list[tuple[date, int, str]]:
    return [(alert.day, alert.series, alert.direction) for alert in alerts]


@seeds
def test_a_drop_is_reported_on_its_day_and_only_once(seed: int) -> None:
    days = calendar(30)
    expected = levels(days)
    expected[140:147] *= 0.1
    (alert,) = watch.replay(days, purchases(expected, seed), ["count"], settings=RARE)
    assert (alert.day, alert.direction, alert.since) == (days[140], "down", days[140])
    assert alert.observed < 20 and 45 < alert.expected < 80
    assert alert.score < -alert.limit < 0


@seeds
def test_a_smaller_rise_is_reported_within_days_and_since_about_when_it_began(seed: int) -> None:
    days = calendar(30)
    expected = levels(days)
    expected[140:147] *= 1.5
    (alert,) = watch.replay(days, purchases(expected, seed), ["count"], settings=RARE)
    assert alert.direction == "up"
    assert days[140] <= alert.day <= days[146]
    assert days[135] <= alert.since <= days[142]


@seeds
def test_a_lasting_shift_is_reported_once_and_is_then_the_usual(seed: int) -> None:
    days = calendar(60)
    expected = levels(days)
    expected[140:280] *= 2
    up, down = watch.replay(days, purchases(expected, seed), ["count"], settings=RARE)
    assert up.direction == "up" and up.day in days[140:142]
    assert (down.day, down.direction) == (days[280], "down")
    assert down.expected > 1.5 * down.observed


@seeds
def test_the_pattern_of_a_week_and_a_steady_trend_are_no_alerts(seed: int) -> None:
    days = calendar(52)
    growing = levels(days) * np.linspace(1, 3, len(days))[:, None]
    assert watch.replay(days, purchases(growing, seed), ["count"], settings=RARE) == []
    assert watch.replay(days, 1_000 * purchases(growing, seed), ["total"], settings=RARE) == []


@seeds
def test_closed_weekdays_and_holidays_are_no_alerts_and_not_remembered(seed: int) -> None:
    days = calendar(40)
    values = purchases(levels(days), seed)
    values[150:162] = 0
    assert watch.replay(days, values, ["count"], settings=RARE) == []
    # As if those days were not in the calendar at all.
    values[200] *= 4
    kept = np.flatnonzero(values[:, 0])
    without = watch.replay([days[at] for at in kept], values[kept], ["count"], settings=RARE)
    assert watch.replay(days, values, ["count"], settings=RARE) == without
    assert said(without) == [(days[200], 0, "up")]


def test_a_day_without_sales_is_an_alert_for_a_company_that_never_closes() -> None:
    days = calendar(40)
    values = purchases(np.full((len(days), 1), 60.0), seed=1)
    values[150] = 0
    always = np.ones(len(days), dtype=np.bool_)
    assert watch.replay(days, values, ["count"], settings=RARE) == []
    assert said(watch.replay(days, values, ["count"], open_days=always, settings=RARE)) == [
        (days[150], 0, "down")
    ]


@seeds
def test_too_short_a_history_gives_no_alert(seed: int) -> None:
    days = calendar(20)
    values = purchases(levels(days), seed)
    values[35:42] *= 5
    assert watch.replay(days, values, ["count"], settings=RARE) == []
    # A series that begins late has a history of its own.
    late = np.vstack([np.zeros((70, 1)), purchases(levels(days), seed)[:-70]])
    late[105:112] *= 5
    assert watch.replay(days, np.hstack([values, late]), ["count", "count"], settings=RARE) == []


@settings(max_examples=20, deadline=None)
@given(st.integers(0, 10_000), st.integers(60, 139), st.integers(0, 10_000))
def test_only_the_past_is_used(seed: int, cut: int, other: int) -> None:
    days = calendar(20)
    counts = purchases(np.hstack([levels(days), levels(days, 2)]), seed)
    values = np.hstack([counts, orders((len(days), 2), seed)])
    changed = values.copy()
    changed[cut:] = orders((len(days) - cut, 4), other)
    kinds: list[watch.Kind] = ["count", "count", "amount", "total"]
    families = np.array([0, 1, 1, 0])

    def until_cut(days: list[date], values: Floats) -> list[Alert]:
        alerts = watch.replay(days, values, kinds, families, settings=OFTEN)
        return [alert for alert in alerts if alert.day < MONDAY + timedelta(days=cut)]

    assert until_cut(days[:cut], values[:cut]) == until_cut(days, values) == until_cut(days, changed)


@seeds
def test_what_is_expected_of_a_day_does_not_depend_on_the_day(seed: int) -> None:
    days = calendar(30)
    # No two days alike, so that every day that counted would move a median.
    values = levels(days) * np.random.default_rng(seed).lognormal(0, 0.1, (len(days), 1))
    told = []
    for observed in (1, 200, 900):
        values[140] = observed
        alerts = watch.replay(days, values, ["total"], settings=RARE)
        told.append(next(alert for alert in alerts if alert.day == days[140]))
    assert [alert.observed for alert in told] == [1, 200, 900]
    assert len({alert.expected for alert in told}) == 1
    # Further off is in proportion more unusual: the day does not widen its own spread either.
    off = [np.cbrt(alert.observed) - np.cbrt(alert.expected) for alert in told]
    assert [alert.score / told[0].score for alert in told] == pytest.approx([each / off[0] for each in off])


def test_the_series_that_prove_it_do_raise_alerts() -> None:
    """Else the property above would hold of an empty list."""
    days = calendar(20)
    alerts = watch.replay(days, orders((len(days), 4), seed=1), ["amount"] * 4, settings=OFTEN)
    assert len({alert.series for alert in alerts}) == 4


@settings(max_examples=10, deadline=None)
@given(st.integers(0, 10_000), st.integers(-3, 9))
def test_the_unit_of_an_amount_does_not_matter(seed: int, power: int) -> None:
    days = calendar(25)
    values = orders((len(days), 3), seed)
    kinds: list[watch.Kind] = ["amount", "total", "amount"]
    unit = 8.0**power  # its cube root is exact
    there = watch.replay(days, values, kinds, settings=OFTEN)
    scaled = watch.replay(days, values * unit, kinds, settings=OFTEN)
    assert scaled == [
        replace(alert, observed=alert.observed * unit, expected=alert.expected * unit) for alert in there
    ]


def test_counts_near_zero_do_not_alarm() -> None:
    days = calendar(52)
    rates = np.random.default_rng(0).gamma(0.5, 0.6, 500)
    alerts = watch.replay(days, purchases(np.tile(rates, (len(days), 1)), seed=1), ["count"] * 500)
    assert len(alerts) < 12, "less than one a month of all 500"


@pytest.mark.parametrize("kind", ["count", "amount"])
def test_a_sale_of_what_is_hardly_ever_sold_is_no_alert_but_a_run_on_it_is(kind: watch.Kind) -> None:
    days = calendar(40)
    values = np.zeros((len(days), 2))
    values[:, 0] = 50  # the company trades every day
    values[5::23, 1] = 1
    assert watch.replay(days, values, ["count", kind], settings=RARE) == []
    values[200:204, 1] = 400
    assert said(watch.replay(days, values, ["count", kind], settings=RARE)) == [(days[200], 1, "up")]


def test_more_returns_because_of_more_purchases_are_no_alert_with_their_exposure() -> None:
    days = calendar(40)
    expected = np.full((len(days), 1), 400.0)
    expected[200:205] *= 3
    bought = purchases(expected, seed=1)
    returned = np.random.default_rng(2).binomial(bought.astype(np.int64), 0.1).astype(np.float64)
    assert said(watch.replay(days, returned, ["count"], settings=RARE)) == [(days[200], 0, "up")]
    assert watch.replay(days, returned, ["count"], exposure=bought, settings=RARE) == []
    returned[220] *= 3
    assert said(watch.replay(days, returned, ["count"], exposure=bought, settings=RARE)) == [
        (days[220], 0, "up")
    ]


def test_satisfaction_is_judged_by_its_mean_and_the_more_severely_the_more_answered() -> None:
    days = calendar(40)
    random = np.random.default_rng(3)
    answers = random.poisson(40, (len(days), 1)) + 5.0
    answers[200] = 3
    mean = np.full((len(days), 1), 4.2)
    mean[[200, 220]] = 3.0
    sums = answers * (mean + random.normal(0, 0.8, answers.shape) / np.sqrt(answers))
    alerts = watch.replay(days, sums, ["total"], exposure=answers, settings=RARE)
    assert said(alerts) == [(days[220], 0, "down")]


def test_thousands_of_products_do_not_blunt_the_watch_over_the_company() -> None:
    days = calendar(30)
    company = levels(days)
    company[140] *= 0.1

    def limit(products: int) -> float:
        values = purchases(np.hstack([company, np.ones((len(days), products))]), seed=4)
        families = np.array([0] + [1] * products)
        alerts = watch.replay(days, values, ["count"] * (products + 1), families)
        return next(alert.limit for alert in alerts if alert.series == 0 and alert.day == days[140])

    assert limit(1) == limit(1_000)


def test_the_limit_rises_with_the_number_of_series_watched() -> None:
    days = calendar(30)
    expected = levels(days)
    expected[140] *= 0.1

    def limit(series: int) -> float:
        values = purchases(np.tile(expected, (1, series)), seed=5)
        return min(each.limit for each in watch.replay(days, values, ["count"] * series, settings=RARE))

    assert limit(1) < limit(10) < limit(100)


def test_days_rise_and_values_are_days_by_series() -> None:
    days = calendar(1)
    with pytest.raises(ValueError, match="rise"):
        watch.replay(days[::-1], np.ones((7, 1)), ["count"])
    with pytest.raises(ValueError, match="series"):
        watch.replay(days, np.ones((7, 2)), ["count"])


@pytest.mark.skipif(not real_file.FILE.exists(), reason=f"the public retail file is not at {real_file.FILE}")
def test_the_real_file_is_told_and_its_shuffled_days_give_less_than_one_false_alarm_a_month() -> None:
    real = benchmark.watched()
    told = {(str(each.day), real.names[each.series], each.direction) for each in real.replay(real.values)}
    assert ("2011-12-09", "taken back", "up") in told  # 80,995 pieces, ordered and cancelled
    assert ("2011-09-20", "net revenue", "up") in told
    false = [len(real.replay(real.shuffled(np.random.default_rng(seed)))) for seed in range(101, 107)]
    assert 0 < sum(false) / len(false) / real.months < 1


amounts = st.dictionaries(st.text("abcdef", max_size=3), st.integers(-1_000, 1_000), max_size=12)


@given(amounts, amounts, st.integers(1, 5))
def test_the_shares_of_those_behind_a_change_add_up(
    observed: dict[str, float], usual: dict[str, float], at_most: int
) -> None:
    told = watch.behind(observed, usual, at_most=at_most)
    assert told.change == sum(observed.values()) - sum(usual.values())
    shares = [each.share for each in told.contributors]
    if told.change:
        assert sum(shares) + told.others_share == pytest.approx(1)
        assert all(each.change == pytest.approx(each.share * told.change) for each in told.contributors)
    assert shares == sorted(shares, reverse=True) and all(share > 0 for share in shares)
    assert len(shares) <= at_most and sum(shares[:-1]) < 0.8
    backwards = dict(reversed(observed.items())), dict(reversed(usual.items()))
    assert watch.behind(*backwards, at_most=at_most) == told


def test_those_behind_a_drop_are_they_who_bought_less_the_largest_first_and_equals_by_name() -> None:
    told = watch.behind({"ann": 10, "dan": 90}, {"ann": 100, "bob": 40, "cem": 40, "dan": 70, "eve": 10})
    assert [each.customer for each in told.contributors] == ["ann", "bob"]
    assert [each.change for each in told.contributors] == [-90, -40]
    assert told.change == -160
    assert told.contributors[0].share == pytest.approx(90 / 160)
