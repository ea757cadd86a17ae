"""Suppressions: obeyed by every lookup, whatever was agreed, until somebody lifts them."""

import time
from concurrent.futures import ThreadPoolExecutor
from uuid import UUID, uuid4

import pytest

from services.profile.domain import contact_points
from tests.profile.conftest import code_of
from tests.profile.test_consents import say
from tests.profile.test_contact_points import ask


@pytest.fixture
def wang(profile):
    customer = profile.customer(email="wang@example.com", phone="+8613812345678")
    say(profile, customer, "granted")
    return customer


def suppress(profile, **body):
    return profile.client.post("/v1/suppressions", json={"channel": "email"} | body)


@pytest.mark.parametrize("purpose", ["marketing", "service", "fulfilment"])
def test_whoever_is_suppressed_is_not_reached_whatever_for(profile, wang, purpose):
    made = suppress(profile, reason="do_not_call", customer_id=wang["id"])
    assert made.status_code == 201
    [answer] = ask(profile, wang["id"], purpose=purpose)
    assert (answer["reason"], answer["suppression"], answer["address"]) == ("suppressed", "do_not_call", None)
    assert profile.ask("select outcome from disclosure") == [("suppressed",)]


def test_a_suppression_is_of_its_channel(profile, wang):
    suppress(profile, reason="manual", customer_id=wang["id"], channel="phone")
    assert ask(profile, wang["id"])[0]["address"] == "wang@example.com"
    assert ask(profile, wang["id"], purpose="service", channel="sms")[0]["address"] == "+8613812345678"
    assert ask(profile, wang["id"], purpose="service", channel="phone")[0]["reason"] == "suppressed"


def test_an_address_is_suppressed_for_whoever_has_it_and_is_not_kept(profile, wang):
    assert suppress(profile, reason="complaint", address=" Wang@Example.com").status_code == 201
    assert ask(profile, wang["id"])[0]["suppression"] == "complaint"
    new = profile.customer("new", email="WANG@example.com")
    assert ask(profile, new["id"], purpose="service")[0]["reason"] == "suppressed"
    [row] = profile.ask("select * from suppression")
    assert "wang" not in str(row).lower()


def test_a_bounce_is_about_the_address_so_a_new_one_can_be_written_to(profile, wang):
    made = suppress(profile, reason="bounce", customer_id=wang["id"]).json()
    assert (made["about"], made["customer_id"]) == ("address", None)
    assert ask(profile, wang["id"])[0]["suppression"] == "bounce"
    profile.customer(email="new@example.com")
    assert ask(profile, wang["id"])[0]["address"] == "new@example.com"


def test_whoever_was_given_an_address_says_which_one_is_dead(profile, wang):
    [answer] = ask(profile, wang["id"])
    assert "wang" not in answer["reference"]
    made = suppress(profile, reason="bounce", customer_id=wang["id"], reference=answer["reference"])
    assert made.status_code == 201
    [answer] = ask(profile, wang["id"])
    assert (answer["suppression"], answer["reference"]) == ("bounce", None)


def test_an_address_that_came_since_is_not_suppressed_for_the_one_before(profile, wang):
    [answer] = ask(profile, wang["id"])
    profile.customer(email="new@example.com")
    late = {"reason": "bounce", "customer_id": wang["id"], "reference": answer["reference"]}
    refused = suppress(profile, **late)
    assert (refused.status_code, code_of(refused)) == (409, "contact_point_changed")
    assert ask(profile, wang["id"])[0]["address"] == "new@example.com"


def test_nor_is_that_of_the_customer_who_became_one_with_it(profile, wang):
    winner = profile.customer("winner", email="winner@example.com")
    [before] = ask(profile, wang["id"], purpose="service")
    merge = profile.client.post("/v1/merges", json={"winner_id": winner["id"], "loser_id": wang["id"]}).json()
    late = {"reason": "bounce", "customer_id": wang["id"], "reference": before["reference"]}
    assert code_of(suppress(profile, **late)) == "contact_point_changed"
    [merged] = ask(profile, wang["id"], purpose="service")
    assert merged["address"] == "winner@example.com"
    assert profile.client.post(f"/v1/merges/{merge['id']}/undo").status_code == 200
    late["reference"] = merged["reference"]
    assert code_of(suppress(profile, **late)) == "contact_point_changed"
    assert ask(profile, wang["id"], purpose="service")[0]["address"] == "wang@example.com"
    assert ask(profile, winner["id"], purpose="service")[0]["address"] == "winner@example.com"


def test_told_again_under_its_key_a_bounce_that_was_lifted_stays_lifted(profile, wang):
    def tell():
        return profile.client.post(
            "/v1/suppressions",
            json={"channel": "email", "reason": "bounce", "customer_id": wang["id"]},
            headers={"Idempotency-Key": "bounce:1"},
        )

    made = tell()
    lift = f"/v1/suppressions/{made.json()['id']}/lift"
    assert profile.client.post(lift, json={"because": "it was full"}).status_code == 200
    again = tell()
    assert (again.status_code, again.headers["Idempotent-Replayed"]) == (201, "true")
    assert ask(profile, wang["id"])[0]["address"] == "wang@example.com"


def test_a_suppression_is_lifted_once_and_that_is_audited(profile, wang):
    made = suppress(profile, reason="manual", customer_id=wang["id"]).json()
    lift = f"/v1/suppressions/{made['id']}/lift"
    lifted = profile.client.post(lift, json={"because": "she asked for it"})
    assert (lifted.status_code, lifted.json()["lifted_by"]) == (200, "admin")
    assert ask(profile, wang["id"])[0]["address"] == "wang@example.com"
    again = profile.client.post(lift, json={"because": "twice"})
    assert (again.status_code, code_of(again)) == (409, "suppression_lifted")
    [entry] = profile.ask("select actor, subject from shared.audit_entry where action = 'suppression_lifted'")
    assert (entry.actor, entry.subject) == ("admin", wang["id"])
    assert profile.client.post(f"/v1/suppressions/{uuid4()}/lift", json={"because": "x"}).status_code == 404


def test_the_same_again_is_the_same_suppression(profile, wang):
    first, again = (suppress(profile, reason="manual", customer_id=wang["id"]) for _ in range(2))
    assert (first.status_code, again.status_code) == (201, 200)
    assert first.json() == again.json()


def test_suppressions_are_listed_in_pages_and_by_customer(profile, wang):
    for reason in ("manual", "do_not_call", "bounce"):
        suppress(profile, reason=reason, customer_id=wang["id"])
    suppress(profile, reason="complaint", address="somebody@example.com")
    page = profile.client.get("/v1/suppressions?limit=3").json()
    assert [item["reason"] for item in page["items"]] == ["complaint", "bounce", "do_not_call"]
    rest = profile.client.get(f"/v1/suppressions?limit=3&cursor={page['next_cursor']}").json()
    assert [item["reason"] for item in rest["items"]] == ["manual"]
    assert len(profile.client.get("/v1/suppressions?reason=bounce&lifted=false").json()["items"]) == 1
    mine = profile.client.get(f"/v1/customers/{wang['id']}/suppressions").json()["items"]
    assert [item["reason"] for item in mine] == ["bounce", "do_not_call", "manual"]
    one = profile.client.get(f"/v1/suppressions/{mine[0]['id']}")
    assert one.json() == mine[0]


@pytest.mark.parametrize(
    ("body", "code"),
    [
        ({"reason": "manual"}, "validation_failed"),
        ({"reason": "manual", "address": "a@example.com", "customer_id": str(uuid4())}, "validation_failed"),
        ({"reason": "manual", "address": "a@example.com", "reference": "1"}, "validation_failed"),
        ({"reason": "manual", "address": "no address"}, "address_invalid"),
        ({"reason": "manual", "address": "13812345678", "channel": "phone"}, "address_invalid"),
        ({"reason": "manual", "address": "abc", "channel": "push"}, "address_invalid"),
        ({"reason": "erasure", "address": "a@example.com"}, "validation_failed"),
    ],
)
def test_what_cannot_be_suppressed_is_refused(profile, body, code):
    reply = suppress(profile, **body)
    assert (reply.status_code, code_of(reply)) == (422, code)


def test_a_bounce_needs_an_address(profile):
    nowhere = profile.customer("nowhere")
    reply = suppress(profile, reason="bounce", customer_id=nowhere["id"])
    assert (reply.status_code, code_of(reply)) == (422, "no_contact_point")


def test_a_suppression_waits_for_the_answer_that_is_being_given(committing):
    customer = committing.customer(email="w@example.com")
    with ThreadPoolExecutor(1) as pool, committing.under_test.sessions() as session:
        [answer] = contact_points.look_up(session, [UUID(customer["id"])], "service", "email", "test")
        assert answer.address == "w@example.com"
        setting = pool.submit(suppress, committing, reason="complaint", address="w@example.com")
        time.sleep(0.3)
        assert not setting.done()
        session.commit()
        assert setting.result().status_code == 201
    assert ask(committing, customer["id"], purpose="service")[0]["reason"] == "suppressed"
