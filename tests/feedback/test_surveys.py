"""Surveys as marketing staff keep them, and what came of them."""

import pytest


def test_a_name_is_enough_for_a_survey(world):
    survey = world.survey()
    assert survey["measure"] == "nps"
    assert survey["trigger"] == "purchase"
    assert survey["throttle_days"] == 90
    assert survey["state"] == "active"
    reply = world.client.get(f"/v1/surveys/{survey['id']}")
    assert reply.json() == survey
    assert reply.headers["ETag"] == '"1"'


@pytest.mark.parametrize(
    "body",
    [
        {},
        {"name": " "},
        {"name": "x", "throttle_days": -1},
        {"name": "x", "trigger": "moon"},
        {"name": "x", "colour": 1},
    ],
)
def test_a_survey_that_makes_no_sense_is_refused(world, body):
    reply = world.client.post("/v1/surveys", json=body)
    assert reply.status_code == 422
    assert reply.headers["content-type"] == "application/problem+json"


def test_a_change_names_the_version_that_it_is_a_change_of(world):
    url = f"/v1/surveys/{world.survey()['id']}"
    change = {"titles": {"zh": "满意吗？"}, "throttle_days": 30}
    assert world.client.patch(url, json=change).status_code == 428
    changed = world.client.patch(url, json=change, headers={"If-Match": '"1"'})
    assert changed.status_code == 200
    assert changed.headers["ETag"] == '"2"'
    assert changed.json()["titles"] == {"zh": "满意吗？"}
    assert changed.json()["throttle_days"] == 30
    assert changed.json()["name"] == "After a purchase"
    assert world.client.patch(url, json={"name": "Late"}, headers={"If-Match": '"1"'}).status_code == 412


def test_the_same_idempotency_key_makes_one_survey(world):
    key = {"Idempotency-Key": "one"}
    replies = [world.client.post("/v1/surveys", json={"name": "Once"}, headers=key) for _ in range(2)]
    assert [reply.status_code for reply in replies] == [201, 201]
    assert replies[0].json() == replies[1].json()
    assert len(world.client.get("/v1/surveys").json()["items"]) == 1


def test_surveys_are_listed_in_pages(world):
    made = {world.survey(name=f"Survey {n}")["id"] for n in range(5)}
    first = world.client.get("/v1/surveys", params={"limit": 3}).json()
    second = world.client.get("/v1/surveys", params={"limit": 3, "cursor": first["next_cursor"]}).json()
    assert {item["id"] for item in first["items"] + second["items"]} == made
    assert second["next_cursor"] is None


def test_an_unknown_survey_is_not_found(world):
    for path in ("", "/results"):
        reply = world.client.get(f"/v1/surveys/0192b3c4-0000-7000-8000-000000000001{path}")
        assert reply.status_code == 404
        assert reply.json()["code"] == "unknown_survey"


def test_a_survey_that_nobody_answered_has_no_score(world):
    survey = world.survey()
    world.invited()
    results = world.client.get(f"/v1/surveys/{survey['id']}/results").json()
    assert results["nps"] is None
    assert results["interval_95"] is None
    assert results["answers"] == 0
    assert results["invitations"] == 1
    assert results["response_rate"] == 0


def test_the_results_are_the_score_with_its_interval_and_the_response_rate(world):
    survey = world.survey()
    for score in (10, 9, 9, 8, 3):
        _, path = world.invited()
        world.answer(path, score)
    for _ in range(5):
        world.invited()

    results = world.client.get(f"/v1/surveys/{survey['id']}/results").json()
    assert results == {
        "survey_id": survey["id"],
        "measure": "nps",
        "nps": 40.0,
        "answers": 5,
        "promoters": 3,
        "passives": 1,
        "detractors": 1,
        "interval_95": [-29.8, 79.8],
        "invitations": 10,
        "response_rate": 0.5,
    }
