"""Silence moves a customer down, occasions move them up, and neither at once."""

from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.scoring.rules.stages import (
    Limits,
    Rhythm,
    StagePolicy,
    limits,
    stage_after_last_occasion,
    stage_at,
)
from services.scoring.rules.trend import deviation, trend

POLICY = StagePolicy()
USUAL = 30.0

days = st.lists(st.integers(0, 2_000), unique=True, max_size=12).map(sorted)


def rhythm(*occasions: int) -> Rhythm:
    gaps = [after - before for before, after in pairwise(occasions)]
    return Rhythm(
        len(occasions),
        sum(gaps),
        sum(gap * gap for gap in gaps),
        gaps[-1] if gaps else None,
        gaps[-2] if len(gaps) > 1 else None,
    )


def stage(occasions: list[int], today: int) -> str:
    return stage_at(rhythm(*occasions), today - occasions[-1] if occasions else 0, USUAL, POLICY)[0]


@pytest.mark.parametrize(
    ("occasions", "today", "expected"),
    [
        ([], 0, "prospect"),
        ([0], 0, "acquired"),
        ([0], 90, "acquired"),
        ([0], 91, "dormant"),
        ([0], 181, "lost"),
        ([0, 20], 20, "growing"),
        ([0, 20, 40, 60], 60, "mature"),
        ([0, 20, 40, 60], 91, "declining"),
        ([0, 20, 40, 60], 121, "dormant"),
        ([0, 20, 40, 60], 181, "lost"),
        ([0, 20, 40, 60, 200], 200, "won_back"),
    ],
)
def test_a_life_with_the_company(occasions: list[int], today: int, expected: str) -> None:
    assert stage(occasions, today) == expected


def test_one_who_came_back_is_won_back_until_two_gaps_in_a_row_were_as_usual() -> None:
    occasions = [0, 20, 40, 60, 200]
    assert stage([*occasions, 220], 220) == "won_back"
    assert stage([*occasions, 220, 240], 240) == "mature"


def test_one_who_was_late_is_declining_until_one_gap_was_as_usual() -> None:
    occasions = [0, 20, 40, 60, 100]
    assert stage(occasions, 100) == "declining"
    assert stage([*occasions, 120], 120) == "mature"


def test_whoever_is_irregular_is_late_later() -> None:
    regular, irregular = rhythm(0, 20, 40, 60), rhythm(0, 1, 2, 60)
    assert (regular.gap_sum, regular.gaps) == (irregular.gap_sum, irregular.gaps)
    assert limits(regular, USUAL, POLICY) == Limits(30, 60, 120)
    assert limits(irregular, USUAL, POLICY).late == 61  # 20 + 1.5 × 26.9, rounded up


def test_whoever_has_few_gaps_is_lent_some_of_the_populations() -> None:
    assert limits(rhythm(0), USUAL, POLICY) == Limits(75, 90, 180)
    assert limits(rhythm(0, 15), USUAL, POLICY) == Limits(64, 75, 150)
    assert limits(rhythm(0, 15, 30, 45), USUAL, POLICY) == Limits(23, 45, 90)


def test_whoever_comes_daily_is_not_late_on_the_second_day() -> None:
    assert limits(rhythm(0, 1, 2, 3), USUAL, POLICY) == Limits(11, 21, 42)


@given(days, st.integers(0, 3_000))
def test_the_day_named_is_the_first_on_which_time_alone_changes_the_stage(
    occasions: list[int], silence: int
) -> None:
    own = rhythm(*occasions)
    now, changes_after = stage_at(own, silence, USUAL, POLICY)
    if changes_after is None:
        assert now in ("prospect", "lost")
        assert stage_at(own, silence + 100_000, USUAL, POLICY)[0] == now
    else:
        assert changes_after > silence
        assert stage_at(own, changes_after - 1, USUAL, POLICY)[0] == now
        assert stage_at(own, changes_after, USUAL, POLICY)[0] != now


@given(days.filter(lambda each: len(each) > 1))
def test_silence_never_moves_anybody_up(occasions: list[int]) -> None:
    own = rhythm(*occasions)
    seen = [stage_at(own, silence, USUAL, POLICY)[0] for silence in range(0, 4_000, 7)]
    order = {stage_after_last_occasion(own, USUAL, POLICY): 0, "declining": 1, "dormant": 2, "lost": 3}
    assert [order[each] for each in seen] == sorted(order[each] for each in seen)


@given(days)
def test_limits_rise(occasions: list[int]) -> None:
    found = limits(rhythm(*occasions), USUAL, POLICY)
    assert 0 < found.late <= found.dormant <= found.lost


def test_one_large_purchase_is_no_trend_but_many_are() -> None:
    assert trend(deviation(90_000, 0, 90_000**2)) == "steady"
    assert trend(deviation(3 * 500, 0, 3 * 500**2)) == "rising"
    assert trend(deviation(0, 3 * 500, 3 * 500**2)) == "declining"
    assert trend(deviation(0, 0, 0)) == "steady"
    assert deviation(100, 0, 100**2) == 1.0


@given(st.integers(0, 10**9), st.integers(0, 10**9), st.integers(0, 10**18))
def test_a_trend_turned_round_is_its_opposite(recent: int, before: int, squares: int) -> None:
    opposite = {"rising": "declining", "declining": "rising", "steady": "steady"}
    assert trend(-deviation(recent, before, squares)) == opposite[trend(deviation(recent, before, squares))]
    assert deviation(before, recent, squares) == -deviation(recent, before, squares)
