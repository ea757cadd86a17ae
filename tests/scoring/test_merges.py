"""What belongs together is counted together, and apart again after an unmerge; in whatever order keys are heard."""

from collections.abc import Sequence
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sqlalchemy import text

from services.scoring.reactions import CONSUMER
from shared.events.envelope import Event
from shared.events.profile import CustomerErased, CustomersMerged, CustomersUnmerged
from tests.interleaving import (
    SLOW,
    Step,
    deliver,
    histories,
    interleaved,
    merge_events,
    numbered,
    rolled_back,
    stream_of,
)
from tests.scoring.world import NOON, World, days

PEOPLE = ("ann", "bob", "cid", "dan")
PARTS = ("customers", "metrics", "scores", "satisfaction", "tiers", "tier_changes")


def merge(world: World, loser: str, winner: str, kind: Any = CustomersMerged) -> list[Event]:
    both = (world.customer(winner), world.customer(loser))
    return [kind(customer_id=each, winner_id=both[0], loser_id=both[1], effective_at=NOON) for each in both]


def unmerge(world: World, loser: str, winner: str) -> list[Event]:
    return merge(world, loser, winner, CustomersUnmerged)


def erased(world: World, name: str) -> CustomerErased:
    return CustomerErased(customer_id=world.customer(name), erased_at=NOON)


def tier(world: World, name: str) -> str | None:
    return (world.score(name)["tier"] or {}).get("code")


def test_a_merged_customers_facts_count_for_the_winner_who_answers_for_both(world: World) -> None:
    world.happens(
        *(world.registered(name) for name in ("ann", "bob")),
        world.purchase("ann", "P1", 10_000),
        world.purchase("bob", "P2", 5_000, NOON - days(7)),
        world.returned("bob", "P2", 1_000),
    )
    world.happens(*merge(world, "bob", "ann"))
    both = world.score("ann")
    assert both["metrics"]["purchase_count"] == 2
    assert both["metrics"]["net_revenue_minor"] == 14_000
    assert both["metrics"]["mean_gap_days"] == 7.0
    assert world.score("bob") == both, "the alias answers as its winner"
    assert both["customer_id"] == str(world.customer("ann"))
    # What is told under the loser's name is the winner's, whatever the event says.
    world.happens(world.purchase("bob", "P3", 500))
    assert world.score("ann")["metrics"]["net_revenue_minor"] == 14_500
    world.assert_sound()


def test_an_unmerge_gives_each_its_own_back(world: World) -> None:
    world.happens(*(world.registered(name) for name in ("ann", "bob")), world.purchase("ann", "P1", 10_000))
    world.happens(world.purchase("bob", "P2", 5_000), *merge(world, "bob", "ann"))
    world.happens(world.purchase("bob", "P3", 700, recorded_customer_id=world.customer("bob")))
    world.happens(*unmerge(world, "bob", "ann"))
    assert world.score("ann")["metrics"]["net_revenue_minor"] == 10_000
    assert world.score("bob")["metrics"]["net_revenue_minor"] == 5_700
    world.assert_sound()


def test_a_merge_may_raise_the_winner_at_once_and_the_losers_tier_comes_back(world: World) -> None:
    world.happens(*(world.registered(name) for name in ("ann", "bob")))
    world.calibrated()
    world.happens(world.purchase("ann", "P1", 150_000), world.purchase("bob", "P2", 60_000))
    assert (tier(world, "ann"), tier(world, "bob")) == ("silver", "silver")
    world.happens(*merge(world, "bob", "ann"))
    assert tier(world, "ann") == "gold"
    raised = world.announced("tier_changed", "ann")[-1]
    assert (raised["previous_tier"], raised["tier"], raised["reason"]) == ("silver", "gold", "merge")
    assert len(world.announced("tier_changed", "bob")) == 1, "the loser's rests, unannounced"
    world.assert_sound()
    world.happens(*unmerge(world, "bob", "ann"))
    assert (tier(world, "ann"), tier(world, "bob")) == ("silver", "silver")
    back = world.announced("tier_changed", "ann")[-1]
    assert (back["previous_tier"], back["tier"], back["reason"]) == ("gold", "silver", "merge")
    assert len(world.announced("tier_changed", "bob")) == 1, "nothing changed since it was announced"
    world.assert_sound()


def test_a_loser_who_bought_while_merged_rises_when_it_stands_alone_again(world: World) -> None:
    world.happens(*(world.registered(name) for name in ("ann", "bob")))
    world.calibrated()
    world.happens(world.purchase("ann", "P1", 1_000), world.purchase("bob", "P2", 1_000))
    world.happens(*merge(world, "bob", "ann"))
    world.happens(world.purchase("bob", "P3", 300_000))
    assert tier(world, "ann") == "gold"
    world.happens(*unmerge(world, "bob", "ann"))
    assert (tier(world, "ann"), tier(world, "bob")) == ("standard", "gold")
    risen = world.announced("tier_changed", "bob")[-1]
    assert (risen["previous_tier"], risen["tier"], risen["reason"]) == ("standard", "gold", "merge")
    world.assert_sound()


def test_of_two_merged_customers_the_latest_word_about_satisfaction_is_shown(world: World) -> None:
    world.happens(*(world.registered(name) for name in ("ann", "bob")))
    world.happens(world.satisfaction("ann", "unknown", "promoter"))
    later = world.satisfaction("bob", "unknown", "detractor")
    world.happens(later.model_copy(update={"effective_at": NOON + days(1)}))
    world.happens(*merge(world, "bob", "ann"))
    assert world.score("ann")["satisfaction"]["state"] == "detractor"
    world.happens(*unmerge(world, "bob", "ann"))
    assert world.score("ann")["satisfaction"]["state"] == "promoter"


def test_of_an_erased_customer_only_anonymous_numbers_stay_and_a_receipt_goes_out(world: World) -> None:
    world.happens(*(world.registered(name) for name in ("ann", "bob")))
    world.calibrated()
    world.happens(world.purchase("ann", "P1", 60_000), world.satisfaction("ann", "unknown", "promoter"))
    world.happens(world.purchase("bob", "P2", 1_000), *merge(world, "bob", "ann"))
    world.happens(erased(world, "ann"), erased(world, "bob"))
    for name in ("ann", "bob"):
        reply = world.scoring.client.get(f"/v1/customers/{world.customer(name)}/score")
        assert (reply.status_code, reply.json()["code"]) == (410, "customer_erased")
        receipt = world.announced("erasure_completed", name)
        assert [each["customer_id"] for each in receipt] == [str(world.customer(name))]
    assert world.state(["scores", "satisfaction"]) == {"scores": [], "satisfaction": []}
    (metrics,) = world.state(["metrics"])["metrics"]
    assert metrics.startswith("-|") and "|61000|" in metrics, "the totals stay true"
    world.happens(erased(world, "ann"))
    assert len(world.announced("erasure_completed", "ann")) == 1
    world.assert_sound()


def test_what_was_told_before_an_erasure_and_is_heard_after_the_winners_still_counts(world: World) -> None:
    world.happens(*(world.registered(name) for name in ("ann", "bob")), *merge(world, "bob", "ann"))
    world.calibrated()
    world.happens(erased(world, "ann"))
    world.happens(world.purchase("bob", "P1", 700))
    world.happens(erased(world, "bob"))
    world.happens(world.purchase("bob", "P2", 900))
    (metrics,) = world.state(["metrics"])["metrics"]
    assert "|700|" in metrics
    assert world.announced("score_updated") == []
    world.assert_sound()


def test_merges_that_lead_round_in_a_circle_for_a_while_open_again(world: World) -> None:
    # bob was merged into ann, unmerged, and then ann into bob; bob's key is heard late.
    world.happens(*(world.registered(name) for name in ("ann", "bob")))
    world.happens(world.purchase("ann", "P1", 100), world.purchase("bob", "P2", 200))
    world.happens(*merge(world, "bob", "ann"))
    world.happens(*merge(world, "ann", "bob"))
    world.happens(*unmerge(world, "bob", "ann"))
    assert world.score("ann")["customer_id"] == str(world.customer("bob"))
    assert world.score("ann")["metrics"]["net_revenue_minor"] == 300
    world.assert_sound()


# Any interleaving of the keys.


def events_of(world: World, steps: Sequence[Step], amounts: dict[int, int]) -> list[Event]:
    ids = [world.customer(name) for name in PEOPLE]
    events: list[Event] = [world.registered(name) for name in PEOPLE]
    bought: list[tuple[str, str, int]] = []
    for step in steps:
        name = PEOPLE[step.who]
        told = {"recorded_customer_id": ids[step.who], "customer_id": ids[step.owner]}
        mine = [each for each in bought if each[0] == name]
        if step.kind in ("merge", "unmerge"):
            events += merge_events(step, ids)
        elif step.kind == "buy":
            amount = amounts[step.minute]
            bought.append((name, f"P{step.minute}", amount))
            events.append(world.purchase(name, f"P{step.minute}", amount, step.at, **told))
        elif step.kind == "return" and mine:
            _, purchase, amount = mine[0]
            events.append(world.returned(name, purchase, amount // 2, step.at, **told))
        elif step.kind == "cancel" and mine:
            _, purchase, amount = mine[-1]
            events.append(world.cancelled(name, purchase, amount - amount // 2, step.at, **told))
            bought.remove(mine[-1])
        elif step.kind == "felt":
            said = world.satisfaction(name, "unknown", ("promoter", "detractor")[step.minute % 2])
            events.append(
                said.model_copy(update={"effective_at": step.at, "recorded_customer_id": ids[step.who]})
            )
    return events


def told(world: World, data: Any, events: Sequence[Event]) -> dict[str, list[str]]:
    records = numbered(events)
    order = interleaved(data.draw, ((stream_of(event), records[event.id]) for event in events))
    deliver(data.draw, world.scoring.sessions, CONSUMER, order)
    world.assert_sound()
    return world.state(PARTS)


def tiers(world: World) -> list[tuple[str, str]]:
    with world.scoring.sessions() as session:
        rows = session.execute(
            text("select natural_key, tier from tier join customer using (customer_id) order by natural_key")
        )
        return [tuple(row) for row in rows]


@pytest.fixture
def calibrated(world: World) -> World:
    world.calibrated()
    return world


@settings(**SLOW, max_examples=15)
@given(data=st.data())
def test_any_interleaving_of_keys_ends_in_the_same_state_and_a_replay_changes_nothing(
    calibrated: World, data: Any
) -> None:
    steps = data.draw(histories(len(PEOPLE), ("buy", "buy", "return", "cancel", "felt")))
    amounts = {step.minute: data.draw(st.sampled_from((100, 60_000, 250_000))) for step in steps}
    events = events_of(calibrated, steps, amounts)
    ends = []
    for _ in range(2):
        with rolled_back(calibrated.scoring.sessions):
            end = told(calibrated, data, events)
            deliver(data.draw, calibrated.scoring.sessions, CONSUMER, list(numbered(events).values()))
            assert calibrated.state(PARTS) == end, "a replay changes nothing"
            ends.append(end)
    assert ends[0] == ends[1]


@settings(**SLOW, max_examples=15)
@given(data=st.data())
def test_after_all_unmerges_everything_is_as_if_never_merged(calibrated: World, data: Any) -> None:
    steps = data.draw(histories(len(PEOPLE), ("buy", "buy", "felt"), apart=True))
    amounts = {step.minute: data.draw(st.sampled_from((100, 60_000, 250_000))) for step in steps}
    events = events_of(calibrated, steps, amounts)
    with rolled_back(calibrated.scoring.sessions):
        merged = told(calibrated, data, events), tiers(calibrated)
    never = [event for event in events if not isinstance(event, CustomersMerged | CustomersUnmerged)]
    with rolled_back(calibrated.scoring.sessions):
        alone = told(calibrated, data, never), tiers(calibrated)
    for part in ("customers", "metrics", "scores", "satisfaction"):
        assert merged[0][part] == alone[0][part], part
    # Whoever never bought may be left the lowest tier of a time in which another's purchases were theirs.
    bought = {f"shop:{PEOPLE[step.who]}" for step in steps if step.kind == "buy"}
    assert [each for each in merged[1] if each[0] in bought] == alone[1]
