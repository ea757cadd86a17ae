"""Silence moves a customer down, occasions move them up, and neither at once."""

from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.scoring.rules.codes import STAGES, TRENDS
from services.scoring.rules.policy import StagePolicy
from services.scoring.rules.stages import NEVER, NO_GAP, Rhythms, after_last_occasion, limits, stages_at
from services.scoring.rules.trend import deviations, trends

POLICY = StagePolicy()
USUAL = 30.0

days = st.lists(st.integers(0, 2_000), unique=True, max_size=12).map(sorted)


def rhythm(*occasions: int) -> Rhythms:
    gaps = [after - before for before, after in pairwise(occasions)]
    last, before = [NO_GAP, NO_GAP, *gaps][:-3:-1]
    return Rhythms(
        *(
            np.array([each])
            for each in (len(occasions), sum(gaps), sum(gap * gap for gap in gaps), last, before)
        )
    )


def stage_at(own: Rhythms, silence: int) -> tuple[str, int]:
    stages, changes = stages_at(own, np.array([silence]), USUAL, POLICY)
    return STAGES[stages[0]], int(changes[0])


def limits_of(own: Rhythms) -> tuple[int, int, int]:
    late, dormant, lost = limits(own, USUAL, POLICY)
    return int(late[0]), int(dormant[0]), int(lost[0])


def stage(occasions: list[int], today: int) -> str:
    return stage_at(rhythm(*occasions), today - occasions[-1] if occasions else 0)[0]


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
    assert (regular.gap_sum, regular.occasions) == (irregular.gap_sum, irregular.occasions)
    assert limits_of(regular) == (30, 60, 120)
    assert limits_of(irregular)[0] == 61  # 20 + 1.5 × 26.9, rounded up


def test_whoever_has_few_gaps_is_lent_some_of_the_populations() -> None:
    assert limits_of(rhythm(0)) == (75, 90, 180)
    assert limits_of(rhythm(0, 15)) == (64, 75, 150)
    assert limits_of(rhythm(0, 15, 30, 45)) == (23, 45, 90)


def test_whoever_comes_daily_is_not_late_on_the_second_day() -> None:
    assert limits_of(rhythm(0, 1, 2, 3)) == (11, 21, 42)


@given(days, st.integers(0, 3_000))
def test_the_day_named_is_the_first_on_which_time_alone_changes_the_stage(
    occasions: list[int], silence: int
) -> None:
    own = rhythm(*occasions)
    now, changes_after = stage_at(own, silence)
    if changes_after == NEVER:
        assert now in ("prospect", "lost")
        assert stage_at(own, silence + 100_000)[0] == now
    else:
        assert changes_after > silence
        assert stage_at(own, changes_after - 1)[0] == now
        assert stage_at(own, changes_after)[0] != now


@given(days.filter(lambda each: len(each) > 1))
def test_silence_never_moves_anybody_up(occasions: list[int]) -> None:
    own = rhythm(*occasions)
    silences = np.arange(0, 4_000, 7)
    company = Rhythms(*(np.full(silences.shape, column[0]) for column in own))
    seen = [STAGES[each] for each in stages_at(company, silences, USUAL, POLICY)[0]]
    order = {STAGES[after_last_occasion(own, USUAL, POLICY)[0]]: 0, "declining": 1, "dormant": 2, "lost": 3}
    assert [order[each] for each in seen] == sorted(order[each] for each in seen)


@given(days)
def test_limits_rise(occasions: list[int]) -> None:
    late, dormant, lost = limits_of(rhythm(*occasions))
    assert 0 < late <= dormant <= lost


@given(st.lists(st.tuples(days, st.integers(0, 3_000)), min_size=1, max_size=20))
def test_many_customers_at_once_are_each_as_if_alone(company: list[tuple[list[int], int]]) -> None:
    each = [rhythm(*occasions) for occasions, _ in company]
    together = Rhythms(*(np.concatenate(columns) for columns in zip(*each, strict=True)))
    stages, changes = stages_at(together, np.array([silence for _, silence in company]), USUAL, POLICY)
    alone = [stage_at(own, silence) for own, (_, silence) in zip(each, company, strict=True)]
    assert [(STAGES[a], b) for a, b in zip(stages.tolist(), changes.tolist(), strict=True)] == alone


def heading(recent: int, before: int, squares: int) -> str:
    deviation = deviations(np.array([recent]), np.array([before]), np.array([float(squares)]))
    return TRENDS[trends(deviation)[0]]


def test_one_large_purchase_is_no_trend_but_many_are() -> None:
    assert heading(90_000, 0, 90_000**2) == "steady"
    assert heading(3 * 500, 0, 3 * 500**2) == "rising"
    assert heading(0, 3 * 500, 3 * 500**2) == "declining"
    assert heading(0, 0, 0) == "steady"
    assert deviations(np.array([100]), np.array([0]), np.array([100.0**2]))[0] == 1.0


@given(st.integers(0, 10**9), st.integers(0, 10**9), st.integers(0, 10**18))
def test_a_trend_turned_round_is_its_opposite(recent: int, before: int, squares: int) -> None:
    opposite = {"rising": "declining", "declining": "rising", "steady": "steady"}
    assert heading(before, recent, squares) == opposite[heading(recent, before, squares)]
