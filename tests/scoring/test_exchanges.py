"""An exchange counts as one purchase, and a return whose purchase was found counts as if it had named it."""

from collections.abc import Sequence

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from shared.events.envelope import Event
from shared.events.profile import ReturnMatched
from tests.scoring.world import NOON, World, days


def test_a_purchase_and_what_replaces_it_count_as_one_at_the_first_ones_time(world: World) -> None:
    first, second = world.purchase("ann", "P1", 10_000, NOON - days(9)), world.purchase("ann", "P2", 12_000)
    world.happens(
        world.registered("ann"),
        first,
        second,
        world.returned("ann", "P1", 10_000, replacement_purchase_id=second.purchase_id),
    )
    metrics = world.score("ann")["metrics"]
    assert metrics["purchase_count"] == 1
    assert metrics["first_purchase_at"] == metrics["last_purchase_at"] == "2026-03-01T12:00:00Z"
    assert (metrics["net_revenue_minor"], metrics["average_order_value_minor"]) == (12_000, 12_000)
    world.assert_sound()


def test_what_comes_back_of_a_chain_of_exchanges_comes_back_of_the_one_purchase(world: World) -> None:
    world.happens(world.registered("ann"))
    for name in ("P1", "P2", "P3", "P4"):
        world.happens(world.purchase("ann", name, 1_000))
    # Told from its end: P3 replaces P2 before P2 replaces P1. P1 keeps a part.
    world.happens(world.returned("ann", "P2", 1_000, replacement_purchase_id=world.purchases["P3"]))
    world.happens(world.returned("ann", "P1", 400, replacement_purchase_id=world.purchases["P2"]))
    assert world.score("ann")["metrics"]["purchase_count"] == 2
    world.happens(world.returned("ann", "P3", 700))
    assert world.score("ann")["metrics"]["net_revenue_minor"] == 4_000 - 2_100
    world.happens(world.cancelled("ann", "P3", 300), world.returned("ann", "P1", 600))
    metrics = world.score("ann")["metrics"]
    assert (metrics["purchase_count"], metrics["net_revenue_minor"]) == (1, 1_000)
    world.assert_sound()


def test_an_exchange_of_two_customers_or_of_itself_is_none(world: World) -> None:
    bought = world.purchase("ann", "P1", 1_000)
    foreign = world.purchase("bob", "P2", 1_000)
    world.happens(world.registered("ann"), world.registered("bob"), bought, foreign)
    world.happens(world.returned("ann", "P1", 100, replacement_purchase_id=foreign.purchase_id))
    world.happens(world.returned("ann", "P1", 100, replacement_purchase_id=bought.purchase_id))
    assert [world.score(name)["metrics"]["purchase_count"] for name in ("ann", "bob")] == [1, 1]
    world.assert_sound()


def matched(world: World, name: str, purchase: str, amount_minor: int, **said: object) -> list[Event]:
    """A return that named no purchase, and what is said when that is found."""
    loose = world.returned(name, None, 900)
    told = loose.model_dump() | {
        "purchase_id": world.purchases[purchase],
        "amount_minor": amount_minor,
        "accounting_amount_minor": amount_minor,
        "unmatched_amount_minor": 900,
        "accounting_unmatched_amount_minor": 900,
    }
    return [loose, ReturnMatched(**(told | said))]


def test_a_matched_return_counts_as_if_it_had_named_its_purchase(world: World) -> None:
    world.happens(
        world.registered("ann"), world.purchase("ann", "P1", 1_000), world.purchase("ann", "P2", 500)
    )
    loose, told = matched(world, "ann", "P1", 1_000)
    world.happens(loose)
    assert world.score("ann")["metrics"]["purchase_count"] == 2
    world.happens(told)
    metrics = world.score("ann")["metrics"]
    assert (metrics["purchase_count"], metrics["returned_minor"], metrics["net_revenue_minor"]) == (
        1,
        1_000,
        500,
    )
    world.assert_sound()


def test_an_anonymous_return_that_is_matched_begins_to_count(world: World) -> None:
    world.happens(world.registered("ann"), world.purchase("ann", "P1", 1_000))
    world.happens(*matched(world, "ann", "P1", 400)[1:])
    assert world.score("ann")["metrics"]["net_revenue_minor"] == 600
    world.assert_sound()


STEPS = st.lists(
    st.tuples(st.integers(0, 4), st.integers(1, 400), st.none() | st.integers(0, 4)), max_size=12
)


@settings(max_examples=15, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(steps=STEPS, cuts=st.integers(1, 5))
def test_metrics_after_any_exchanges_are_those_of_the_facts(
    world: World, steps: Sequence[tuple[int, int, int | None]], cuts: int
) -> None:
    world.purchases.clear()
    events: list[Event] = [world.registered("ann")]
    events += [world.purchase("ann", f"P{n}", 1_000, NOON - days(n)) for n in range(5)]
    for number, amount, replacement in steps:
        by = None if replacement is None else world.purchases[f"P{replacement}"]
        events.append(world.returned("ann", f"P{number}", amount, replacement_purchase_id=by))
    for start in range(0, len(events), cuts):
        world.happens(*events[start : start + cuts])
    world.assert_sound()
    world.calibrated()
    world.assert_sound()
