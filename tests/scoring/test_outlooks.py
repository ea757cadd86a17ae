"""Where customers are heading: told from their rhythm and everybody's, current with every event, exact in any order."""

import random
from datetime import date, datetime
from typing import Any
from uuid import UUID

import pytest
from sqlalchemy import text

from services.scoring.jobs.passing_time import move_those_due
from shared.events.envelope import Event
from shared.events.profile import CustomerErased, CustomersMerged, CustomersUnmerged
from tests.scoring.world import MIDNIGHT, NOON, World, days

DAY = MIDNIGHT.date()


def company(world: World, customers: int = 240, seed: int = 7) -> list[Event]:
    """A year of customers who buy at rates of their own and drop out one by one, as the model supposes."""
    chance = random.Random(seed)
    events: list[Event] = []
    for number in range(customers):
        name = f"c{number}"
        events.append(world.registered(name))
        day, rate, leaves = (
            chance.uniform(150, 365),
            chance.gammavariate(1.2, 1 / 40),
            chance.betavariate(0.8, 3),
        )
        spend, times = chance.lognormvariate(8, 0.6), 0
        while day > 0:
            amount = max(1, round(spend * chance.uniform(0.6, 1.6)))
            events.append(world.purchase(name, f"{name}-{times}", amount, NOON - days(int(day))))
            times += 1
            if chance.random() < leaves:
                break
            day -= chance.expovariate(rate) + 0.5
    return events


@pytest.fixture
def calibrated(world: World) -> World:
    world.happens(*company(world))
    world.calibrated(MIDNIGHT)
    return world


def calibrate_again(world: World, as_of: datetime = MIDNIGHT) -> None:
    world.calibrated(as_of)


def outlooks(world: World) -> dict[UUID, Any]:
    with world.scoring.sessions() as session:
        rows = session.execute(text("select * from outlook order by customer_id")).mappings().all()
    return {
        row["customer_id"]: {k: v for k, v in row.items() if k not in ("calibration_id", "stage_since")}
        for row in rows
    }


def models(world: World) -> dict[str, Any]:
    with world.scoring.sessions() as session:
        rows = session.execute(
            text(
                "select kind, reasons, parameters, quality from model join calibration using (calibration_id) where state = 'current'"
            )
        )
        return {row.kind: row for row in rows}


def test_before_a_calibration_nothing_is_said_and_one_who_never_bought_is_a_prospect(world: World) -> None:
    world.happens(world.registered("ann"), world.registered("bob"), world.purchase("bob", "P1", 100))
    assert world.score("ann")["lifecycle"] == {"stage": "prospect", "since": None, "changes_on": None}
    assert world.score("ann")["as_of"] is None
    bob = world.score("bob")
    assert [bob[part] for part in ("lifecycle", "lifetime_value", "churn", "next_purchase", "trend")] == [
        None
    ] * 5


def test_a_calibration_fits_the_models_judges_them_and_says_what_to_expect_of_everybody(
    calibrated: World,
) -> None:
    fitted = models(calibrated)
    assert {kind: row.reasons for kind, row in fitted.items()} == {
        "purchases": [], "churn": [], "spend": [], "rhythm": [],
    }  # fmt: skip
    assert 0 < fitted["purchases"].quality["holdout"]["accuracy"] <= 1
    assert fitted["purchases"].quality["holdout"]["days"] == 90
    for name in ("c0", "c1", "c2"):
        score = calibrated.score(name)
        value = score["lifetime_value"]
        assert value["reasons"] == []
        assert value["low_minor"] <= value["predicted_minor"] <= value["high_minor"] or value["purchases"] < 1
        assert value["total_minor"] == value["historic_minor"] + value["predicted_minor"]
        assert 0 < value["confidence"] < 1
        assert 0 <= score["churn"]["probability"] <= 1
        assert (
            score["next_purchase"]["from"]
            <= score["next_purchase"]["expected_on"]
            <= score["next_purchase"]["until"]
        )
    calibrated.assert_sound()


def test_the_models_of_a_calibration_are_shown_and_those_of_none_are_not_found(calibrated: World) -> None:
    current = calibrated.scoring.client.get("/v1/calibrations").json()["items"][0]
    shown = calibrated.scoring.client.get(f"/v1/calibrations/{current['id']}/models").json()["items"]
    assert [each["kind"] for each in shown] == ["churn", "purchases", "rhythm", "spend"]
    assert set(shown[1]["parameters"]) >= {"r", "alpha", "a", "b", "log_likelihood"}
    assert shown[1]["quality"]["holdout"]["customers"] > 100
    reply = calibrated.scoring.client.get(f"/v1/calibrations/{UUID(int=7)}/models")
    assert (reply.status_code, reply.json()["code"]) == (404, "calibration_not_found")


def test_too_small_a_company_is_told_why_nothing_is_predicted_and_churn_goes_by_the_silence(
    world: World,
) -> None:
    world.happens(
        world.registered("ann"),
        *(world.purchase("ann", f"P{n}", 100, NOON - days(gone)) for n, gone in enumerate((100, 90, 80, 70))),
    )
    world.calibrated()
    ann = world.score("ann")
    assert ann["lifetime_value"]["predicted_minor"] is None
    assert ann["lifetime_value"]["historic_minor"] == 400
    assert ann["lifetime_value"]["reasons"] == ["too_few_customers", "too_few_repeat_buyers"]
    assert (ann["churn"]["band"], ann["churn"]["probability"]) == ("high", None)
    assert (ann["churn"]["silence_days"], ann["churn"]["usual_gap_days"]) == (70, 10.0)
    assert ann["churn"]["silence_ratio"] == 7.0
    assert ann["lifecycle"]["stage"] == "lost"
    assert ann["next_purchase"] == {
        "expected_on": "2026-01-09", "from": "2026-01-09", "until": "2026-01-09", "overdue": True,
    }  # fmt: skip


def test_an_occasion_wins_back_and_is_announced_with_its_cause(world: World) -> None:
    world.happens(
        world.registered("ann"),
        *(
            world.purchase("ann", f"P{n}", 100, NOON - days(gone))
            for n, gone in enumerate((200, 190, 180, 170))
        ),
    )
    world.calibrated()
    first = world.announced("lifecycle_stage_changed", "ann")
    assert [(each["stage"], each["previous_stage"], each["initial"]) for each in first] == [
        ("lost", None, True)
    ]
    world.happens(world.purchase("ann", "P9", 100, NOON))
    last = world.announced("lifecycle_stage_changed", "ann")[-1]
    assert (last["stage"], last["previous_stage"], last["reason"]) == ("won_back", "lost", "purchase")
    assert last["effective_at"] == NOON.isoformat().replace("+00:00", "Z")
    risk = world.announced("churn_risk_changed", "ann")[-1]
    assert (risk["band"], risk["previous_band"], risk["reason"]) == ("low", "high", "purchase")
    assert world.score("ann")["lifecycle"]["stage"] == "won_back"
    world.happens(world.cancelled("ann", "P9", 100))
    assert world.score("ann")["lifecycle"]["stage"] == "lost"
    world.assert_sound()


def test_what_is_seen_is_the_same_in_any_order_and_any_batches(world: World, calibrated: World) -> None:
    """The calibration is there before the facts are heard: all are seen live, and a re-banding changes nothing."""
    seen = outlooks(world)
    later = [
        world.purchase(f"c{n % 60}", f"late-{n}", 100 + n, NOON - days(n % 50 - 10 + (n % 3) * 30))
        for n in range(120)
    ]
    chance = random.Random(3)
    with world.scoring.sessions() as session:
        found = []
        for _ in range(3):
            session.execute(text("savepoint here"))
            chance.shuffle(later)
            at = 0
            while at < len(later):
                size = chance.randint(1, 40)
                world.happens(*later[at : at + size])
                at += size
            found.append(outlooks(world))
            world.assert_sound()
            session.execute(text("rollback to savepoint here"))
    assert found[0] == found[1] == found[2]
    assert found[0] != seen


def test_a_rebanding_by_the_same_calibration_sees_what_the_events_saw(calibrated: World) -> None:
    later = [calibrated.purchase(f"c{n}", f"late-{n}", 500, NOON - days(n)) for n in range(60)]
    calibrated.happens(*later)
    live = outlooks(calibrated)
    from services.scoring.domain import calibrations, scores

    with calibrated.scoring.sessions.begin() as session:
        calibration = calibrations.current(session)
        assert calibration is not None
        scores.reband(session, calibration, list(live))
    assert outlooks(calibrated) == live


def test_a_merge_sees_one_customer_and_an_unmerge_two_as_if_nothing_had_been(calibrated: World) -> None:
    before = outlooks(calibrated)
    winner, loser = calibrated.customer("c1"), calibrated.customer("c2")
    sides = {"winner_id": winner, "loser_id": loser, "effective_at": NOON}
    calibrated.happens(*(CustomersMerged(customer_id=each, **sides) for each in (winner, loser)))
    merged = outlooks(calibrated)
    assert loser not in merged
    assert merged[winner] != before[winner]
    calibrated.assert_sound()
    calibrated.happens(*(CustomersUnmerged(customer_id=each, **sides) for each in (winner, loser)))
    assert outlooks(calibrated) == before
    calibrated.assert_sound()


def test_of_an_erased_customer_nothing_is_seen(calibrated: World) -> None:
    erased = calibrated.customer("c1")
    calibrated.happens(CustomerErased(customer_id=erased, erased_at=NOON))
    assert erased not in outlooks(calibrated)
    with calibrated.scoring.sessions() as session:
        assert not session.scalar(
            text("select count(*) from stage_change where customer_id = :id"), {"id": erased}
        )
    calibrated.assert_sound()


def test_time_alone_moves_those_who_are_due_and_nobody_else(world: World) -> None:
    world.happens(
        world.registered("ann"),
        world.registered("bob"),
        *(world.purchase("ann", f"P{n}", 100, NOON - days(gone)) for n, gone in enumerate((30, 20, 10, 0))),
        *(world.purchase("bob", f"Q{n}", 100, NOON - days(gone)) for n, gone in enumerate((150, 100, 50, 0))),
    )
    world.calibrated()
    ann = world.score("ann")["lifecycle"]
    assert (ann["stage"], ann["changes_on"]) == ("mature", "2026-03-27")
    due = datetime.fromisoformat("2026-03-27T00:00:00+00:00")
    with world.scoring.sessions.begin() as session:
        assert move_those_due(session, due - days(1)) == 0
    with world.scoring.sessions.begin() as session:
        assert move_those_due(session, due) == 1
    assert world.score("ann")["lifecycle"]["stage"] == "declining"
    assert world.score("bob")["lifecycle"]["stage"] == "mature"
    told = world.announced("lifecycle_stage_changed", "ann")[-1]
    assert (told["stage"], told["reason"], told["initial"]) == ("declining", "review", False)
    changes_on = world.score("ann")["lifecycle"]["changes_on"]
    with world.scoring.sessions.begin() as session:
        session.execute(text("update outlook set moves_on = '2026-03-01' where as_of >= :due"), {"due": due})
        assert move_those_due(session, due) == 0, (
            "seen as of that moment already: whatever it says, once is enough"
        )
        session.execute(
            text("update outlook set moves_on = :day where as_of >= :due"), {"day": changes_on, "due": due}
        )
    world.assert_sound()
    assert date.fromisoformat(world.score("ann")["lifecycle"]["changes_on"]) > due.date()
