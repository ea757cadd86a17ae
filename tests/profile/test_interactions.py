from datetime import UTC, datetime, timedelta

import pytest

from services.profile.app import SERVICE
from tests.profile.conftest import YESTERDAY, code_of

TOMORROW = (datetime.now(UTC) + timedelta(days=1)).replace(microsecond=0)


@pytest.fixture
def wang(profile):
    return profile.customer(name="王芳")


def contact(profile, headers=None, **fields):
    body = {
        "customer": {"source": "shop", "external_id": "17850"},
        "kind": "call",
        "direction": "outbound",
        "occurred_at": YESTERDAY,
        "staff_id": "li.na",
    }
    return profile.client.post("/v1/interactions", json=body | fields, headers=headers or {})


def steps(profile, **query):
    items = profile.client.get("/v1/next-steps", params=query).json()["items"]
    return [item["next_step"]["text"] for item in items]


def test_a_contact_is_kept_announced_without_its_words_and_read_again(profile, wang):
    made = contact(profile, outcome="reached", notes="Her mother is ill", channel="hotline")
    assert made.status_code == 201, made.text
    assert profile.client.get(made.headers["Location"].removeprefix("/profile")).json() == made.json()
    assert made.json()["notes"] == "Her mother is ill"
    [event] = profile.announced("interaction_recorded")
    assert (event["key"], event["outcome"], event["staff_id"]) == (wang["id"], "reached", "li.na")
    assert "mother" not in str(event)
    [row] = profile.ask("select interaction::text as text from interaction")
    assert b"mother".hex() not in row.text


def test_the_same_contact_told_again_is_the_same(profile, wang):
    named = {"source": "crm", "external_id": "42", "notes": "hello"}
    first, again = contact(profile, **named), contact(profile, **named)
    assert (first.status_code, again.status_code) == (201, 200)
    assert first.json() == again.json()
    assert code_of(contact(profile, **named | {"notes": "goodbye"})) == "interaction_differs"
    key = {"Idempotency-Key": "k1"}
    keyed = contact(profile, headers=key)
    assert contact(profile, headers=key).json() == keyed.json()
    assert len(profile.announced("interaction_recorded")) == 2


def test_what_is_due_next_is_listed_until_it_is_done(profile, wang):
    for text, days, staff in (("later", 2, "li.na"), ("sooner", 1, "li.na"), ("his", 3, "chen")):
        due = (TOMORROW + timedelta(days=days)).isoformat()
        made = contact(profile, staff_id=staff, next_step={"text": text, "due_at": due})
    assert steps(profile) == ["sooner", "later", "his"]
    assert steps(profile, staff_id="li.na") == ["sooner", "later"]
    assert steps(profile, due_at_lt=(TOMORROW + timedelta(days=2)).isoformat()) == ["sooner"]
    first = profile.client.get("/v1/next-steps?limit=2").json()
    rest = profile.client.get("/v1/next-steps", params={"limit": 2, "cursor": first["next_cursor"]}).json()
    assert [len(first["items"]), len(rest["items"])] == [2, 1]

    done = profile.client.post(f"/v1/interactions/{made.json()['id']}/complete-next-step").json()
    assert done["next_step"]["done_by"] == "admin"
    again = profile.client.post(f"/v1/interactions/{made.json()['id']}/complete-next-step").json()
    assert (again, steps(profile)) == (done, ["sooner", "later"])
    nothing = contact(profile).json()["id"]
    assert code_of(profile.client.post(f"/v1/interactions/{nothing}/complete-next-step")) == "no_next_step"


def test_contacts_of_a_customer_come_latest_first_and_by_kind(profile, wang):
    for number, kind in enumerate(("call", "visit", "call")):
        at = (datetime.now(UTC) - timedelta(days=number)).isoformat()
        contact(profile, kind=kind, occurred_at=at, external_id=str(number), source="crm")
    listed = profile.client.get(f"/v1/customers/{wang['id']}/interactions").json()["items"]
    assert [one["external_id"] for one in listed] == ["0", "1", "2"]
    calls = profile.client.get(f"/v1/customers/{wang['id']}/interactions?kind=call").json()["items"]
    assert [one["external_id"] for one in calls] == ["0", "2"]


@pytest.mark.parametrize(
    ("fields", "code"),
    [
        ({"customer": {"source": "shop", "external_id": "nobody"}}, "customer_unknown"),
        ({"source": "crm"}, "interaction_half_named"),
        ({"occurred_at": (TOMORROW + timedelta(days=9)).isoformat()}, "occurred_in_the_future"),
        ({"kind": "telepathy"}, "validation_failed"),
    ],
)
def test_what_cannot_be_is_refused(profile, wang, fields, code):
    reply = contact(profile, **fields)
    assert (reply.status_code, code_of(reply)) == (422, code)


def test_members_of_staff_record_and_see_what_is_about_theirs(service, idp):
    under_test = service(SERVICE, **idp.settings)
    theirs = {"Authorization": f"Bearer {idp.token('*', staff_id='ann')}"}
    made = {}
    for name, staff in (("hers", ["ann"]), ("others", ["ben"])):
        under_test.client.put(f"/v1/customers/by-external-id/crm/{name}", json={"staff_ids": staff})
        body = {"kind": "call", "direction": "inbound", "next_step": {"text": name, "due_at": YESTERDAY}}
        body["customer"] = {"source": "crm", "external_id": name}
        made[name] = under_test.client.post("/v1/interactions", json=body).json()["id"]
        reply = under_test.stranger.post("/v1/interactions", json=body, headers=theirs)
        assert reply.status_code == (201 if name == "hers" else 403), reply.text
    stranger = body | {"customer": {"source": "crm", "external_id": "nobody"}}
    refused = under_test.stranger.post("/v1/interactions", json=stranger, headers=theirs)
    assert (refused.status_code, code_of(refused)) == (403, "beyond_reach")
    due = under_test.stranger.get("/v1/next-steps", headers=theirs).json()["items"]
    assert {one["next_step"]["text"] for one in due} == {"hers"}
    for name, status in (("hers", 200), ("others", 403)):
        path = f"/v1/interactions/{made[name]}"
        assert under_test.stranger.get(path, headers=theirs).status_code == status
        done = under_test.stranger.post(f"{path}/complete-next-step", headers=theirs)
        assert done.status_code == status
