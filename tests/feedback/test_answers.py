"""What an answer sets off."""

from datetime import datetime, timedelta

import pytest


def again(world, customer_id):
    """The customer buys once more and is asked once more; the path of the new page."""
    world.told(world.purchase(customer_id, after=timedelta(days=100 * len(world.invitations(customer_id)))))
    return world.path(world.invitations(customer_id)[0])


def test_an_answer_is_announced_and_moves_the_customers_satisfaction(world):
    world.survey()
    customer_id, path = world.invited()
    world.answer(path, 10, "非常满意")

    answered, changed = world.announced("survey_answered") + world.announced("satisfaction_changed")
    assert answered.key == changed.key == str(customer_id)
    assert answered.data["score"] == 10
    assert answered.data["measure"] == "nps"
    assert "非常满意" not in str(answered.data)
    assert (changed.data["from"], changed.data["to"]) == ("unknown", "promoter")
    assert changed.causation_id == answered.event_id
    assert world.announced("case_opened") == []


def test_only_a_change_of_group_is_announced(world):
    world.survey()
    customer_id, path = world.invited()
    world.answer(path, 10)
    for score in (9, 7, 8, 2):
        world.answer(again(world, customer_id), score)

    moves = [(e.data["from"], e.data["to"]) for e in world.announced("satisfaction_changed")]
    assert moves == [("unknown", "promoter"), ("promoter", "passive"), ("passive", "detractor")]
    shown = world.client.get(f"/v1/customers/{customer_id}/satisfaction").json()
    assert shown["satisfaction"] == "detractor"
    assert shown["previous"] == "passive"
    assert shown["score"] == 2


def test_a_customer_who_never_answered_is_neither_content_nor_not(world):
    shown = world.client.get(f"/v1/customers/{world.customer()}/satisfaction").json()
    assert shown["satisfaction"] == "unknown"


@pytest.mark.parametrize(
    ("tier", "hours"), [("platinum", 4), ("gold", 8), ("silver", 24), ("standard", 48), (None, 48)]
)
def test_a_detractor_opens_a_case_that_is_due_by_the_promise_of_the_tier(world, tier, hours):
    world.survey()
    customer_id, path = world.invited(tier=tier)
    world.answer(path, 2, "杯子碎了")

    (case,) = world.client.get("/v1/cases", params={"customer_id": str(customer_id), "state": "open"}).json()[
        "items"
    ]
    opened_at, due_at = (
        datetime.fromisoformat(case[name]) for name in ("opened_at", "first_response_due_at")
    )
    assert due_at - opened_at == timedelta(hours=hours)
    assert case["tier"] == tier
    assert case["severity"] == "high"
    assert case["channel"] == "survey"
    assert case["subject"] == "问卷评分：2（满分 10）"
    assert case["purchase_id"] == world.invitations(customer_id)[0]["purchase_id"]
    (message,) = world.client.get(f"/v1/cases/{case['id']}/messages").json()["items"]
    assert (message["kind"], message["text"]) == ("customer", "杯子碎了")

    (opened,) = world.announced("case_opened")
    assert opened.data["case_id"] == case["id"]
    assert opened.data["category"] == "complaint"
    assert opened.causation_id == world.announced("survey_answered")[0].event_id


@pytest.mark.parametrize(("score", "cases"), [(6, 1), (7, 0)])
def test_six_is_a_detractor_and_seven_is_not(world, score, cases):
    world.survey()
    _, path = world.invited()
    world.answer(path, score)
    assert len(world.client.get("/v1/cases").json()["items"]) == cases


def test_the_tier_that_took_effect_last_counts_in_whatever_order_the_changes_come(world):
    customer_id = world.customer(tier="gold")
    world.tier(customer_id, "silver", effective_at=datetime.fromisoformat("2020-01-01T00:00:00Z"))
    case = world.client.post("/v1/cases", json={"customer_id": str(customer_id), "subject": "Late"}).json()
    assert case["tier"] == "gold"
