"""The pure decisions of feedback."""

from datetime import UTC, datetime, timedelta
from itertools import pairwise
from math import comb

import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.feedback.rules import deadlines, detractors, nps, throttle

NOON = datetime(2026, 11, 20, 12, tzinfo=UTC)
counts = st.integers(min_value=0, max_value=5_000)


# NPS


def test_nine_and_ten_promote_seven_and_eight_pass_and_the_rest_detract():
    assert [nps.group(score) for score in nps.SCALE] == ["detractor"] * 7 + ["passive"] * 2 + ["promoter"] * 2


@pytest.mark.parametrize("score", [-1, 11])
def test_a_score_off_the_scale_has_no_group(score):
    with pytest.raises(ValueError):
        nps.group(score)


def test_without_answers_there_is_no_score_and_no_interval():
    assert nps.Results(0, 0, 0).nps is None
    assert nps.Results(0, 0, 0).interval_95 is None
    assert nps.response_rate(0, 0) is None


def test_the_interval_is_the_adjusted_wald_one():
    # By hand: n = 100 + 3, p = 50.75/103, d = 20.75/103, half = 1.96 √((p + d − (p − d)²)/103).
    results = nps.Results(promoters=50, passives=30, detractors=20)
    assert results.nps == 30.0
    assert results.interval_95 == (14.1, 44.2)


@given(counts, counts, counts)
def test_the_interval_holds_the_score_and_stays_on_the_scale(promoters, passives, detractors):
    results = nps.Results(promoters, passives, detractors)
    if results.answers:
        low, high = results.interval_95
        assert -100 <= low <= results.nps <= high <= 100


@given(counts, counts, counts)
def test_the_interval_is_a_mirror_when_promoters_and_detractors_change_places(
    promoters, passives, detractors
):
    if promoters + passives + detractors:
        low, high = nps.Results(promoters, passives, detractors).interval_95
        assert nps.Results(detractors, passives, promoters).interval_95 == pytest.approx((-high, -low))


@given(counts, counts, counts, st.integers(min_value=2, max_value=50))
def test_more_answers_of_the_same_mix_narrow_the_interval(promoters, passives, detractors, times):
    few, many = (nps.Results(promoters * n, passives * n, detractors * n) for n in (1, times))
    if few.answers >= 3:
        assert many.interval_95[1] - many.interval_95[0] <= few.interval_95[1] - few.interval_95[0] + 0.1


@pytest.mark.parametrize("n", [10, 40])
@pytest.mark.parametrize(("p", "d"), [(0.5, 0.2), (0.3, 0.3), (0.7, 0.05), (0.2, 0.6), (0.1, 0.1)])
def test_the_interval_holds_the_true_score_in_at_least_93_of_100_surveys(n, p, d):
    """The exact probability, summed over every outcome of n answers by people of whom p promote and d detract."""
    covered = 0.0
    for promoters in range(n + 1):
        for against in range(n - promoters + 1):
            passives = n - promoters - against
            low, high = nps.Results(promoters, passives, against).interval_95
            if low - 1e-9 <= 100 * (p - d) <= high + 1e-9:
                chance = comb(n, promoters) * comb(n - promoters, against)
                covered += chance * p**promoters * d**against * (1 - p - d) ** passives
    assert covered >= 0.93


# Throttle

moments = st.lists(
    st.integers(min_value=0, max_value=400).map(lambda day: NOON + timedelta(days=day)), max_size=30
).map(sorted)
gaps = st.integers(min_value=0, max_value=120).map(lambda days: timedelta(days=days))


@given(moments, gaps)
def test_two_invitations_are_never_closer_than_the_throttle(moments, gap):
    asked = [m for m, may in zip(moments, throttle.admitted(None, moments, gap), strict=True) if may]
    assert all(later - earlier >= gap for earlier, later in pairwise(asked))


@given(moments, gaps)
def test_everybody_who_may_be_asked_is_asked(moments, gap):
    asked = []
    for moment, may in zip(moments, throttle.admitted(None, moments, gap), strict=True):
        assert may == (not asked or moment - asked[-1] >= gap)
        asked += [moment] if may else []
    assert bool(asked) == bool(moments)


@given(moments, gaps, st.integers(min_value=0, max_value=30))
def test_it_does_not_matter_how_purchases_are_cut_into_batches(moments, gap, cut):
    whole = list(throttle.admitted(None, moments, gap))
    first = list(throttle.admitted(None, moments[:cut], gap))
    last = max((m for m, may in zip(moments[:cut], first, strict=True) if may), default=None)
    assert first + list(throttle.admitted(last, moments[cut:], gap)) == whole


def test_a_purchase_from_before_the_last_invitation_invites_nobody():
    assert list(throttle.admitted(NOON, [NOON - timedelta(days=200)], timedelta(days=90))) == [False]


# Deadlines, detractors


@pytest.mark.parametrize(
    ("tier", "hours"),
    [("platinum", 4), ("gold", 8), ("silver", 24), ("standard", 48), (None, 48), ("diamond", 48)],
)
def test_the_first_response_is_due_by_the_promise_of_the_tier(tier, hours):
    promises = {"platinum": 4, "gold": 8, "silver": 24, "standard": 48, "none": 48}
    assert deadlines.first_response_due_at(NOON, tier, promises) == NOON + timedelta(hours=hours)


def test_the_lowest_scores_are_severe():
    assert [detractors.severity(score) for score in range(7)] == ["high"] * 3 + ["normal"] * 4
