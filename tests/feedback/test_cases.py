"""Cases: opened, answered, resolved, opened again."""

from datetime import UTC, datetime, timedelta
from uuid import uuid4

import pytest


@pytest.fixture
def case(world):
    body = {
        "customer_id": str(world.customer(language="en", tier="gold")),
        "subject": "Cup arrived broken",
        "text": "Two of six.",
        "channel": "phone",
        "purchase_id": str(uuid4()),
    }
    reply = world.client.post("/v1/cases", json=body)
    assert reply.status_code == 201, reply.text
    return reply.json()


def shown(world, case):
    return world.client.get(f"/v1/cases/{case['id']}").json()


def test_a_case_opened_by_staff_has_a_number_for_people_and_a_deadline(world, case):
    assert case["number"].startswith("C-")
    assert case["state"] == "open"
    assert case["subject"] == "Cup arrived broken"
    assert case["opened_by"] == "admin"
    due_in = datetime.fromisoformat(case["first_response_due_at"]) - datetime.fromisoformat(case["opened_at"])
    assert due_in == timedelta(hours=8)
    (event,) = world.announced("case_opened")
    assert event.key == case["customer_id"]
    assert event.data["purchase_id"] == case["purchase_id"]
    assert "Cup" not in str(event.data)
    assert shown(world, case) == case


def test_a_reply_stops_the_clock_and_is_announced_without_its_text(world, case):
    reply = world.client.post(
        f"/v1/cases/{case['id']}/messages", json={"text": "Two new ones are on their way."}
    )
    assert reply.status_code == 201
    assert shown(world, case)["first_responded_at"] == reply.json()["written_at"]
    (event,) = world.announced("case_replied")
    assert event.data["message_id"] == reply.json()["id"]
    assert event.data["channel"] == "email"
    assert "new ones" not in str(event.data)

    texts = world.client.post("/v1/case-messages/lookup", json={"message_ids": [reply.json()["id"]]}).json()
    assert texts["items"] == [
        {
            "message_id": reply.json()["id"],
            "text": "Two new ones are on their way.",
            "case_number": case["number"],
            "language": "en",
        }
    ]


@pytest.mark.parametrize("kind", ["note", "customer"])
def test_a_note_reaches_nobody(world, case, kind):
    message = world.client.post(
        f"/v1/cases/{case['id']}/messages", json={"text": "Wholesaler, be careful.", "kind": kind}
    ).json()
    assert world.announced("case_replied") == []
    assert shown(world, case)["first_responded_at"] is None
    looked_up = world.client.post("/v1/case-messages/lookup", json={"message_ids": [message["id"]]}).json()
    assert looked_up["items"] == []


def test_the_thread_is_told_in_order_and_sealed_in_the_database(world, case):
    for text in ("canary one", "canary two"):
        world.client.post(f"/v1/cases/{case['id']}/messages", json={"text": text})
    thread = world.client.get(f"/v1/cases/{case['id']}/messages").json()["items"]
    assert [(m["kind"], m["text"]) for m in thread] == [
        ("customer", "Two of six."),
        ("reply", "canary one"),
        ("reply", "canary two"),
    ]
    assert all(b"canary" not in bytes(row.body) for row in world.execute("select body from case_message"))
    assert b"Cup" not in bytes(world.execute("select subject from customer_case")[0].subject)


def test_a_case_is_resolved_once_and_can_be_opened_again(world, case):
    url = f"/v1/cases/{case['id']}"
    world.client.post(f"{url}/messages", json={"text": "Sent."})
    first, second = (world.client.post(f"{url}/resolve") for _ in range(2))
    assert first.status_code == second.status_code == 200
    assert first.json() == second.json()
    assert first.json()["state"] == "resolved"
    assert len(world.announced("case_resolved")) == 1

    reopened = world.client.post(f"{url}/reopen")
    assert reopened.status_code == 200
    assert reopened.json()["state"] == "open"
    assert reopened.json()["resolved_at"] is None
    assert reopened.json()["first_responded_at"] is None
    assert reopened.json()["reopened_count"] == 1
    assert len(world.announced("case_reopened")) == 1
    assert world.client.post(f"{url}/reopen").json()["code"] == "case_not_resolved"


def test_resolving_again_with_the_same_key_gives_the_first_answer(world, case):
    url, key = f"/v1/cases/{case['id']}/resolve", {"Idempotency-Key": "once"}
    first, second = (world.client.post(url, headers=key) for _ in range(2))
    assert first.status_code == second.status_code == 200
    assert first.json() == second.json()
    assert second.headers["Idempotent-Replayed"] == "true"


@pytest.mark.parametrize("moment", ["0.5", "2026-11-20T10:00:00", "tomorrow"])
def test_a_moment_is_told_with_its_offset(world, moment):
    reply = world.client.get("/v1/cases", params={"first_response_due_at_lt": moment})
    assert reply.status_code == 422


def test_who_resolves_may_insist_that_nobody_wrote_meanwhile(world, case):
    url = f"/v1/cases/{case['id']}"
    version = world.client.get(url).headers["ETag"]
    world.client.post(f"{url}/messages", json={"text": "It broke again!", "kind": "customer"})
    assert world.client.post(f"{url}/resolve", headers={"If-Match": version}).status_code == 412
    version = world.client.get(url).headers["ETag"]
    assert world.client.post(f"{url}/resolve", headers={"If-Match": version}).status_code == 200


def test_cases_are_found_by_customer_state_and_deadline(world, case):
    other = world.client.post(
        "/v1/cases", json={"customer_id": str(world.customer()), "subject": "Slow"}
    ).json()
    world.client.post(f"/v1/cases/{other['id']}/resolve")

    def found(**query):
        return {item["id"] for item in world.client.get("/v1/cases", params=query).json()["items"]}

    soon, never = datetime.now(UTC) + timedelta(hours=9), datetime.now(UTC) - timedelta(hours=1)
    assert found() == {case["id"], other["id"]}
    assert found(customer_id=case["customer_id"]) == {case["id"]}
    assert found(state="resolved") == {other["id"]}
    assert found(state=["open", "resolved"]) == {case["id"], other["id"]}
    assert found(first_response_due_at_lt=soon.isoformat()) == {case["id"]}
    assert found(first_response_due_at_lt=never.isoformat()) == set()
    assert world.client.get("/v1/cases", params={"state": "lost"}).status_code == 422


def test_cases_come_in_pages_that_belong_to_their_filter(world):
    customer_id = str(world.customer())
    for n in range(5):
        world.client.post("/v1/cases", json={"customer_id": customer_id, "subject": f"Case {n}"})
    first = world.client.get("/v1/cases", params={"customer_id": customer_id, "limit": 3}).json()
    rest = world.client.get(
        "/v1/cases", params={"customer_id": customer_id, "limit": 3, "cursor": first["next_cursor"]}
    ).json()
    assert len({item["id"] for item in first["items"] + rest["items"]}) == 5
    assert rest["next_cursor"] is None
    other = world.client.get("/v1/cases", params={"state": "open", "cursor": first["next_cursor"]})
    assert other.json()["code"] == "cursor_mismatch"


def test_the_overdue_are_found_by_an_index_and_not_by_scanning(world):
    world.execute(
        "insert into customer_case (case_id, number, customer_id, recorded_customer_id, category, severity, channel,"
        " state, subject, opened_at, first_response_due_at, first_responded_at, updated_at)"
        " select gen_random_uuid(), n, gen_random_uuid(), gen_random_uuid(), 'question', 'normal', 'web', 'open', '',"
        " now() - n * interval '1 hour', now() - (n - 48) * interval '1 hour',"
        " case when n > 60 then now() end, now() from generate_series(1, 5000) as n"
    )
    world.execute("analyze customer_case")
    plan = world.execute(
        "explain select * from customer_case where state = 'open' and first_responded_at is null"
        " and first_response_due_at < now() order by opened_at desc, case_id desc limit 51"
    )
    assert "ix_customer_case_first_response_due_at" in str(plan)


def test_an_erased_customer_gets_no_new_case(world):
    customer_id = world.customer()
    world.erased(customer_id)
    reply = world.client.post("/v1/cases", json={"customer_id": str(customer_id), "subject": "Still here"})
    assert reply.status_code == 410
    assert reply.json()["code"] == "customer_erased"


def test_the_same_idempotency_key_sends_one_reply(world, case):
    for _ in range(3):
        world.client.post(
            f"/v1/cases/{case['id']}/messages", json={"text": "Sorry."}, headers={"Idempotency-Key": "k"}
        )
    assert len(world.announced("case_replied")) == 1


def test_an_unknown_case_is_not_found(world):
    for method, path in (("GET", ""), ("GET", "/messages"), ("POST", "/resolve"), ("POST", "/reopen")):
        reply = world.client.request(method, f"/v1/cases/{uuid4()}{path}")
        assert reply.status_code == 404
        assert reply.json()["code"] == "unknown_case"


def test_a_stranger_sees_no_case(world, case):
    assert world.stranger.get("/v1/cases").status_code == 401
    assert world.stranger.get(f"/v1/customers/{case['customer_id']}/invitations").status_code == 401
