"""Why a score is what it is can be added up by hand, and what is missing to the next tier, once there, is enough."""

from typing import Any

import pytest
from sqlalchemy import text

from services.scoring.domain import calibrations, scores
from services.scoring.domain.causes import Cause
from tests.scoring.world import MIDNIGHT, NOON, World, days


def explanation(world: World, name: str) -> dict[str, Any]:
    reply = world.scoring.client.get(f"/v1/customers/{world.customer(name)}/explanation")
    assert reply.status_code == 200, reply.text
    return reply.json()


def changes(world: World, name: str, **query: str) -> dict[str, Any]:
    reply = world.scoring.client.get(
        f"/v1/customers/{world.customer(name)}/explanation/changes", params=query
    )
    assert reply.status_code == 200, reply.text
    return reply.json()


@pytest.fixture
def company(world: World) -> World:
    for n in range(200):
        name = f"c{n}"
        bought = [
            world.purchase(name, f"{name}-{k}", 1_000 + 10 * n, NOON - days(n % 50 + 20 * k))
            for k in range(1 + n % 4)
        ]
        world.happens(world.registered(name), *bought)
    world.calibrated(MIDNIGHT)
    return world


def test_before_a_calibration_there_is_nothing_to_explain(world: World) -> None:
    world.happens(world.registered("ann"), world.purchase("ann", "P1", 100))
    told = explanation(world, "ann")
    assert [told[part] for part in ("score", "segment", "tier", "stage")] == [None] * 4
    assert told["words"]["en"] == ["Nothing has been calibrated yet: there is no score."]
    assert told["words"]["zh"] == ["尚未进行过校准：没有评分。"]


def test_the_points_of_the_inputs_add_up_to_the_score(company: World) -> None:
    for n in (0, 17, 99, 199):
        told, score = explanation(company, f"c{n}"), company.score(f"c{n}")
        assert told["score"]["value"] == score["value"]["score"]
        assert sum(each["points"] for each in told["score"]["inputs"]) == pytest.approx(
            told["score"]["value"], abs=1e-3
        )
        assert told["segment"]["code"] == score["rfm"]["segment"]
        assert told["stage"]["stage"] == score["lifecycle"]["stage"]
        assert told["tier"]["code"] == score["tier"]["code"] == told["tier"]["deserved"]
        assert told["policy_version"] == 1
        assert len(told["words"]["en"]) == len(told["words"]["zh"]) >= 3


def test_the_revenue_that_is_said_to_be_missing_is_enough_and_one_unit_less_is_not(company: World) -> None:
    tried = 0
    for n in range(0, 200, 9):
        name = f"c{n}"
        told = explanation(company, name)["tier"]["next"]
        if told is None or not told["missing_minor"]:
            continue
        tried += 1
        last = f"{name}-{n % 4}"  # its oldest purchase: more of it changes neither recency nor frequency
        with company.scoring.sessions() as session:
            for missing, reached in ((told["missing_minor"] - 1, False), (told["missing_minor"], True)):
                session.execute(text("savepoint before"))
                grown(company, name, last, missing)
                assert (company.score(name)["tier"]["code"] == told["code"]) is reached
                session.execute(text("rollback to savepoint before"))
    assert tried > 5


def grown(world: World, name: str, purchase: str, by_minor: int) -> None:
    """The purchase had been worth more: the metrics are told, and the score is made anew."""
    with world.scoring.sessions.begin() as session:
        session.execute(
            text("update purchase set amount_minor = amount_minor + :by where purchase_id = :id"),
            {"by": by_minor, "id": world.purchases[purchase]},
        )
        session.execute(
            text(
                "update metrics set gross_minor = gross_minor + :by, counted_minor = counted_minor + :by where customer_id = :id"
            ),
            {"by": by_minor, "id": world.customer(name)},
        )
        calibration = calibrations.current(session)
        assert calibration is not None
        scores.score_customers(
            session, calibration, [world.customer(name)], lambda _: Cause("purchase", NOON, historical=False)
        )


def test_in_a_small_base_the_missing_revenue_is_the_distance_to_the_threshold(world: World) -> None:
    world.happens(world.registered("ann"), world.purchase("ann", "P1", 60_000))
    world.calibrated()
    tier = explanation(world, "ann")["tier"]
    assert (tier["code"], tier["rule"]["net_revenue_minor"]) == ("silver", 50_000)
    assert (tier["next"]["code"], tier["next"]["missing_minor"], tier["next"]["missing_points"]) == (
        "gold",
        140_000,
        None,
    )


def test_the_highest_tier_has_no_next(world: World) -> None:
    world.happens(world.registered("ann"), world.purchase("ann", "P1", 2_000_000))
    world.calibrated()
    assert explanation(world, "ann")["tier"]["next"] is None


def test_one_who_never_bought_has_no_score_and_is_a_prospect(company: World) -> None:
    company.happens(company.registered("zoe"))
    told = explanation(company, "zoe")
    assert (told["score"], told["tier"], told["stage"]["stage"]) == (None, None, "prospect")
    assert told["words"]["en"][0] == "No purchase counts: there is no score."


def test_what_changed_between_two_moments_adds_up(company: World) -> None:
    before = company.score("c8")
    company.happens(company.purchase("c8", "new", 90_000, NOON))
    told = changes(company, "c8", since="2026-03-10T00:00:00Z", until="2026-03-11T00:00:00Z")
    assert told["before"]["frequency"] == before["metrics"]["purchase_count"]
    assert told["after"]["frequency"] == before["metrics"]["purchase_count"] + 1
    moved = {each["measure"]: each["points"] for each in told["changes"]}
    assert sum(moved.values()) == pytest.approx(told["after"]["score"] - told["before"]["score"], abs=1e-3)
    assert told["after"]["score"] == company.score("c8")["value"]["score"]
    assert told["changes"][0]["points"] == max(moved.values())
    assert len(told["words"]["en"]) == len(told["words"]["zh"]) > 1


def test_returns_after_the_moment_do_not_count_before_it(company: World) -> None:
    company.happens(company.returned("c8", "c8-0", 1_080, NOON + days(20)))
    told = changes(company, "c8", since="2026-03-20T00:00:00Z", until="2026-04-20T00:00:00Z")
    assert told["after"]["frequency"] == told["before"]["frequency"] - 1


def test_moments_in_the_wrong_order_are_refused(company: World) -> None:
    reply = company.scoring.client.get(
        f"/v1/customers/{company.customer('c1')}/explanation/changes",
        params={"since": "2026-03-12T00:00:00Z", "until": "2026-03-11T00:00:00Z"},
    )
    assert (reply.status_code, reply.json()["code"]) == (409, "since_after_until")
