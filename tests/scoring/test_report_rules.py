"""Inequality and white space as pure rules."""

from itertools import product

import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.scoring.rules.inequality import gini
from services.scoring.rules.white_space import FEWEST_CUSTOMERS, LARGEST_RATIO, Uptake, white_space

AMOUNTS = st.lists(st.integers(1, 10**9), min_size=1, max_size=40)


def gini_of(amounts: list[int]) -> float:
    ranked = sum(rank * amount for rank, amount in enumerate(sorted(amounts), 1))
    found = gini(len(amounts), sum(amounts), ranked)
    assert found is not None
    return found


@given(AMOUNTS)
def test_gini_is_the_mean_difference_of_all_pairs_over_twice_the_mean(amounts: list[int]) -> None:
    differences = sum(abs(one - other) for one, other in product(amounts, amounts))
    assert gini_of(amounts) == pytest.approx(differences / (2 * len(amounts) * sum(amounts)), abs=1e-9)


@given(AMOUNTS, st.integers(2, 9))
def test_gini_does_not_depend_on_the_currency_nor_on_how_many_are_alike(
    amounts: list[int], times: int
) -> None:
    assert gini_of([amount * times for amount in amounts]) == pytest.approx(gini_of(amounts), abs=1e-9)
    assert gini_of(amounts * times) == pytest.approx(gini_of(amounts), abs=1e-9)


def test_of_nobody_there_is_no_inequality() -> None:
    assert gini(0, 0, 0) is None


UPTAKES = st.builds(
    lambda customers, others, bought, others_bought: Uptake(
        customers, int(customers * bought), others, int(others * others_bought)
    ),
    st.integers(1, 5_000), st.integers(1, 50_000), st.floats(0, 1), st.floats(0, 1),
)  # fmt: skip


@given(st.lists(UPTAKES, max_size=12))
def test_white_space_is_never_where_a_group_buys_as_much_as_others_or_is_too_small(
    uptakes: list[Uptake],
) -> None:
    for each, is_one in zip(uptakes, white_space(uptakes), strict=True):
        if is_one:
            assert each.share <= LARGEST_RATIO * each.other_share
            assert each.customers >= FEWEST_CUSTOMERS
            assert each.missing > 0
            assert each.z < -1.6


@given(UPTAKES, st.integers(1, 200))
def test_the_more_is_compared_the_clearer_a_difference_has_to_be(uptake: Uptake, more: int) -> None:
    alone = white_space([uptake])[0]
    among = white_space([uptake, *[Uptake(1_000, 100, 1_000, 100)] * more])
    assert among[1:] == [False] * more
    assert alone or not among[0]


def test_the_statistic_is_that_of_the_textbook() -> None:
    # Pooled 0.4, standard error sqrt(0.24 × (1/100 + 1/300)) = 0.056569.
    assert Uptake(100, 25, 300, 135).z == pytest.approx(-3.535534, abs=1e-6)
    assert white_space([Uptake(100, 25, 300, 135)]) == [True]
    assert white_space([Uptake(100, 42, 300, 135)]) == [False]
    assert white_space([Uptake(29, 0, 300, 270)]) == [False]
    assert white_space([]) == []
