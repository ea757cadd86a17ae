"""The features of a customer are what plain Python counts, known on the day and not later, and brought to one scale."""

import json
import math
from datetime import date, datetime, timedelta
from itertools import pairwise
from statistics import fmean, pstdev

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.testing import assert_allclose, assert_array_equal

from services.scoring.rules import features as f
from services.scoring.rules.features import FEATURES, POSITION, Lines, Matrix, Purchases, Returns

DAY = date(2026, 7, 1)
MIDNIGHT = datetime(2026, 7, 1)  # noqa: DTZ001 – local time of the deployment
NAMES = [feature.name for feature in FEATURES]

# (customer, hours before DAY, amount, discount, channel, part returned in per cent, hours later, categories)
Bought = tuple[int, int, int, int, int, int, int, list[int]]
histories = st.lists(
    st.tuples(
        st.integers(0, 2),
        st.integers(-48, 24 * 420),
        st.integers(0, 500),
        st.integers(0, 100),
        st.integers(0, 2),
        st.sampled_from([0, 0, 40, 100]),
        st.integers(0, 24 * 40),
        st.lists(st.integers(0, 4), max_size=3),
    ),
    max_size=12,
)


def measured(history: list[Bought], customers: int = 3, as_of: date = DAY) -> Matrix:
    at = [MIDNIGHT - timedelta(hours=bought[1]) for bought in history]
    back = [(i, bought) for i, bought in enumerate(history) if bought[2] * bought[5] // 100]
    return f.features(
        customers,
        as_of,
        Purchases(
            whole(bought[0] for bought in history),
            np.array(at, dtype="M8[s]"),
            whole(bought[2] for bought in history),
            whole(bought[3] for bought in history),
            whole(bought[4] for bought in history),
        ),
        Returns(
            whole(bought[0] for _, bought in back),
            np.array([at[i] + timedelta(hours=bought[6]) for i, bought in back], dtype="M8[s]"),
            whole(bought[2] * bought[5] // 100 for _, bought in back),
            whole(i for i, _ in back),
        ),
        Lines(
            whole(bought[0] for bought in history for _ in bought[7]),
            np.array([at[i] for i, bought in enumerate(history) for _ in bought[7]], dtype="M8[s]"),
            whole(category for bought in history for category in bought[7]),
        ),
    )


def whole(values: object) -> np.ndarray:
    return np.array(list(values), dtype=np.int64)  # type: ignore[call-overload]


def one_by_one(history: list[Bought], customer: int) -> dict[str, float]:
    """The same of one customer, a purchase at a time."""
    known, kinds = [], set()
    for who, hours, amount, discount, channel, part, later, categories in history:
        at = MIDNIGHT - timedelta(hours=hours)
        if who != customer or at >= MIDNIGHT:
            continue
        back_at = at + timedelta(hours=later)
        back = amount * part // 100 if back_at < MIDNIGHT else 0
        known.append((at, amount, discount, channel, back, back_at))
        kinds |= set(categories)
    counted = [each for each in known if each[1] - each[4] > 0]

    def age(moment: datetime) -> int:
        return (DAY - moment.date()).days

    def net(days: float) -> float:
        bought = sum(each[1] for each in known if age(each[0]) <= days)
        return (bought - sum(each[4] for each in known if age(each[5]) <= days)) / 100

    gross, nan = sum(each[1] for each in known), math.nan
    discounts = sum(each[2] for each in known)
    days = sorted({age(each[0]) for each in counted})
    gaps = [later - sooner for sooner, later in pairwise(days)]
    return {
        "recency_days": days[0] if days else nan,
        "tenure_days": days[-1] if days else nan,
        "occasions": len(days),
        "mean_gap_days": fmean(gaps) if gaps else nan,
        "gap_variation": pstdev(gaps) / fmean(gaps) if len(gaps) > 1 else nan,
        "net_revenue": net(math.inf),
        **{f"net_revenue_{window}": net(window) for window in (30, 90, 365)},
        "usual_revenue_90": net(math.inf) / max(days[-1], 90) * 90 if days else nan,
        **{
            f"purchases_{window}": sum(age(each[0]) <= window for each in counted) for window in (30, 90, 365)
        },
        "average_order_value": fmean(each[1] - each[4] for each in counted) / 100 if counted else nan,
        "returns_rate": sum(each[4] for each in known) / gross if gross else nan,
        "discount_share": discounts / (gross + discounts) if gross + discounts else nan,
        "categories": len(kinds),
        "weekend_share": fmean(each[0].weekday() >= 5 for each in counted) if counted else nan,
        "usual_hour": fmean((each[0].hour - 4) % 24 + 4 for each in counted) if counted else nan,
        "channels": len({each[3] for each in counted}),
    }


@settings(max_examples=150, deadline=None)
@given(histories)
def test_features_are_what_plain_python_counts(history: list[Bought]) -> None:
    matrix = measured(history)
    for customer in range(3):
        expected = one_by_one(history, customer)
        assert list(expected) == NAMES
        # A spread is a difference of squares, exact to a few digits less.
        assert_allclose(matrix[customer], list(expected.values()), rtol=1e-9, atol=1e-6)


@settings(max_examples=40, deadline=None)
@given(histories, st.integers(1, 48))
def test_what_happens_on_the_day_or_later_is_not_known_yet(history: list[Bought], hours: int) -> None:
    later = (0, -hours, 900, 50, 3, 0, 0, [5])
    assert_array_equal(measured([*history, later]), measured(history))


def test_the_spend_of_a_period_is_the_net_revenue_as_of_its_end() -> None:
    bought = (0, 24 * 3, 1_000, 0, 0, 40, 24 * 80, [])
    matrix = measured([bought], 1, DAY + timedelta(days=90))
    assert f.column(matrix, "net_revenue_90")[0] == -4  # the purchase was before, the return within
    assert f.column(matrix, "net_revenue")[0] == 6


def test_a_customer_whose_only_purchase_came_back_is_no_buyer() -> None:
    kept, back = (0, 30, 500, 0, 0, 0, 0, [1]), (1, 30, 500, 0, 0, 100, 2, [1])
    assert list(f.buyers(measured([kept, back]))) == [True, False, False]


def population() -> Matrix:
    random = np.random.default_rng(5)
    matrix = random.lognormal(3, 1.5, (400, len(FEATURES)))
    matrix[random.random(matrix.shape) < 0.1] = np.nan
    matrix[:, POSITION["net_revenue_90"]] -= 20
    matrix[:, POSITION["channels"]] = 1
    return matrix


def test_standardised_features_have_mean_nought_and_variance_one_and_find_back() -> None:
    matrix = population()
    scale = f.learn_scaling(matrix, NAMES, clipped=0)
    standardised = scale.standardise(matrix)
    known = ~np.isnan(matrix)
    for name, position in POSITION.items():
        values = standardised[known[:, position], position]
        if name == "channels":
            assert not values.any()
        else:
            assert_allclose([values.mean(), values.std()], [0, 1], atol=1e-9)
    assert_allclose(scale.original(standardised)[known], matrix[known])
    assert not standardised[~known].any()


def test_neither_the_order_of_the_customers_nor_the_currency_matters() -> None:
    matrix = population()
    scale = f.learn_scaling(matrix, NAMES, clipped=0.01)
    shuffled = f.learn_scaling(np.random.default_rng(6).permutation(matrix), NAMES, clipped=0.01)
    assert shuffled.as_data() == scale.as_data()
    yen = matrix * np.where([name.startswith(("net_", "average_")) for name in NAMES], 150, 1)
    assert_allclose(
        f.learn_scaling(yen, NAMES, clipped=0.01).standardise(yen), scale.standardise(matrix), atol=1e-9
    )


def test_an_outlier_is_worth_no_more_than_the_outermost_of_the_population() -> None:
    matrix = population()
    scale = f.learn_scaling(matrix, ["net_revenue"], clipped=0.01)
    one = np.full((2, len(FEATURES)), np.nan)
    one[:, POSITION["net_revenue"]] = [1e15, scale.high[0]]
    first, second = scale.standardise(one)
    assert first == second > 0


def test_a_scaling_is_stored_as_data_exactly() -> None:
    scale = f.learn_scaling(population(), NAMES, clipped=0.01)
    stored = json.loads(json.dumps(scale.as_data()))
    assert f.scaling(stored).as_data() == scale.as_data()
    assert_array_equal(f.scaling(stored).standardise(population()), scale.standardise(population()))
    with pytest.raises(KeyError, match="shoe_size"):
        f.scaling(stored | {"names": ["shoe_size", *NAMES[1:]]})
