"""How far a population has moved is told in one figure, and by the calibration that saw it."""

from hypothesis import given
from hypothesis import strategies as st

from services.scoring.rules.drift import drift, stability_index
from tests.scoring.world import MIDNIGHT, NOON, World, days

shares = (
    st.lists(st.integers(0, 50), min_size=4, max_size=4)
    .filter(any)
    .map(lambda each: [n / sum(each) for n in each])
)


@given(shares, shares)
def test_the_index_is_zero_for_the_same_symmetric_and_never_negative(
    one: list[float], other: list[float]
) -> None:
    assert stability_index(one, one) == 0
    assert stability_index(one, other) >= 0
    assert abs(stability_index(one, other) - stability_index(other, one)) < 1e-12


def test_the_words_for_it() -> None:
    # 10 % of 40 % moved over: (0.3 - 0.4) ln(0.3 / 0.4) + (0.7 - 0.6) ln(0.7 / 0.6) = 0.0442
    assert round(stability_index([0.4, 0.6], [0.3, 0.7]), 4) == 0.0442
    assert [drift(each) for each in (0.0442, 0.1, 0.3)] == ["none", "some", "much"]


def test_a_calibration_tells_how_far_everybody_moved_since_the_last_one(world: World) -> None:
    for n in range(120):
        world.happens(world.registered(f"c{n}"), world.purchase(f"c{n}", f"P{n}", 100 + n, NOON - days(n)))
    assert "drift" not in world.calibrated().report
    same = world.calibrated().report["drift"]
    assert same == {measure: {"index": 0.0, "drift": "none"} for measure in ("r", "f", "m", "s")}
    for n in range(0, 120, 2):
        world.happens(world.purchase(f"c{n}", f"Q{n}", 50_000, NOON))
    later = world.calibrated(MIDNIGHT + days(1)).report["drift"]
    assert later["m"]["drift"] == "much" and later["m"]["index"] > 0.25
    assert set(later) == {"r", "f", "m", "s"}
