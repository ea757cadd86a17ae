"""Somebody wants to be forgotten: nothing of the person stays readable, what was bought stays, nobody comes back unnoticed."""

import threading
from datetime import UTC, datetime
from uuid import UUID

import pytest
from sqlalchemy import text

from shared import sealing
from shared.events.campaigns import ErasureCompletedInCampaigns
from shared.events.feedback import ErasureCompletedInFeedback
from shared.events.scoring import ErasureCompletedInScoring
from tests.profile.conftest import YESTERDAY, code_of, line, purchase, while_erased

WANG = {
    "name": "王芳",
    "email": "wang.fang@example.com",
    "phone": "+8613812345678",
    "birth_date": "1990-05-01",
    "country": "CN",
    "region": "上海",
    "language": "zh",
    "tags": ["vip"],
    "acquisition_channel": "store",
}


def erase(profile, customer_id):
    reply = profile.client.post(f"/v1/customers/{customer_id}/erasure")
    assert reply.status_code == 202, reply.text
    return reply.json()


@pytest.fixture
def wang(profile):
    customer = profile.customer("17850", **WANG)
    consent = {"state": "granted", "evidence": "said so at the counter"}
    assert (
        profile.client.put(
            f"/v1/customers/{customer['id']}/consents/marketing/email", json=consent
        ).status_code
        == 201
    )
    assert profile.buy("A1", line(), line("22752", 2, "7.65")).status_code == 201
    assert profile.bring_back("R1", "A1", (2, 1)).status_code == 201
    return customer


def test_nothing_personal_stays_and_no_key_that_opens_it(profile, wang):
    [before] = profile.ask("select * from customer")
    erased = erase(profile, wang["id"])
    assert (erased["customer_id"], erased["root_id"], erased["erased_by"]) == (
        wang["id"],
        wang["id"],
        "admin",
    )
    [after] = profile.ask("select * from customer")
    kept = {"customer_id", "kind", "registered_at", "created_at", "updated_at", "completeness", "facets"}
    for name, value in after._mapping.items():
        if name not in kept | {"version", "state"}:
            assert value in (None, [], {}), name
    assert after.state == "erased"
    for table in ("customer_external_id", "customer_token", "customer_tag", "contact", "customer_address"):
        assert profile.ask(f"select count(*) from {table}") == [(0,)], table
    with profile.under_test.sessions() as session:
        place = f"customer.name_sealed:{wang['id']}"
        assert sealing.unseal(session, wang["id"], place, before.name_sealed) is None
    assert profile.ask("select evidence_sealed, state from consent") == [(None, "granted")]


def test_the_id_answers_410_everywhere(profile, wang):
    erase(profile, wang["id"])
    own = f"/v1/customers/{wang['id']}"
    for reply in (
        profile.client.get(own),
        profile.client.get("/v1/customers/by-external-id/shop/17850"),
        profile.client.patch(own, json={"name": "x"}, headers={"If-Match": '"1"'}),
        profile.client.put("/v1/customers/by-external-id/shop/17850", json={"name": "x"}),
        profile.client.post(
            "/v1/customers",
            json={"name": "x", "external_ids": [{"source": "shop", "external_id": "17850"}]},
        ),
        profile.client.put(f"{own}/consents/marketing/email", json={"state": "granted"}),
        profile.buy("A2", line()),
        profile.buy("A3", line(), customer={"id": wang["id"]}, create_customer=False),
    ):
        assert (reply.status_code, code_of(reply)) == (410, "customer_erased"), reply.request.url
    lookup = {"customer_ids": [wang["id"]], "purpose": "service", "channel": "email"}
    [answer] = profile.client.post("/v1/contact-points/lookup", json=lookup).json()["items"]
    assert (answer["reason"], answer["address"], answer["name"]) == ("erased", None, None)
    assert profile.client.get("/v1/customers").json()["items"] == []


def test_purchases_stay_as_facts_that_are_nobodys(profile, wang):
    before = profile.ask("select sum(total_minor), sum(returned_minor) from purchase")
    erase(profile, wang["id"])
    assert profile.ask("select sum(total_minor), sum(returned_minor) from purchase") == before
    assert profile.client.get("/v1/purchases/shop/A1").status_code == 200
    profile.holds()
    # What was sold can still come back.
    assert profile.bring_back("R2", "A1", (1, 1)).status_code in (201, 410)


def test_it_is_announced_once_and_asked_twice_answers_the_same(profile, wang):
    first = erase(profile, wang["id"])
    assert erase(profile, wang["id"]) == first
    [event] = profile.announced("customer_erased")
    assert (event["customer_id"], event["key"]) == (wang["id"], wang["id"])
    assert profile.client.post(f"/v1/customers/{UUID(int=1)}/erasure").status_code == 404
    entries = profile.client.get("/v1/audit", params={"action": "customer_erased"}).json()["items"]
    assert [entry["subject"] for entry in entries] == [wang["id"]]


def test_an_import_or_a_purchase_does_not_bring_the_person_back(profile, wang):
    erase(profile, wang["id"])
    batch = {"items": [purchase(line()) | {"source": "shop", "external_id": "B1"}]}
    reply = profile.client.post("/v1/purchases/batch", json=batch)
    assert reply.status_code == 207
    assert [item["status"] for item in reply.json()["items"]] == [410]
    assert profile.ask("select count(*) from customer where state = 'active'") == [(0,)]
    # The same number in another system is somebody else.
    other = profile.client.put("/v1/customers/by-external-id/till/17850", json={"name": "李雷"})
    assert other.status_code == 201


def test_whoever_has_the_address_now_is_seen_and_not_written_to(profile, wang):
    erase(profile, wang["id"])
    new = profile.customer("99", name="李雷", email="Wang.Fang@example.com", phone="+8613812345678")
    listed = profile.client.get("/v1/erasures/returned").json()["items"]
    assert {(one["customer_id"], one["field"], one["erased_customer_id"]) for one in listed} == {
        (new["id"], "email", wang["id"]),
        (new["id"], "phone", wang["id"]),
    }
    lookup = {"customer_ids": [new["id"]], "purpose": "service", "channel": "email"}
    [answer] = profile.client.post("/v1/contact-points/lookup", json=lookup).json()["items"]
    assert (answer["address"], answer["reason"]) == (None, "suppressed")
    # An identity shows as well as an address does.
    other = profile.customer("98", name="韩梅梅")
    mailbox = {"namespace": "email", "value": "wang.fang@example.com"}
    assert profile.client.post(f"/v1/customers/{other['id']}/identities", json=mailbox).status_code < 300
    listed = profile.client.get("/v1/erasures/returned").json()["items"]
    assert {one["customer_id"] for one in listed} == {new["id"], other["id"]}


def test_who_comes_back_by_own_will_is_welcome(profile, wang):
    erase(profile, wang["id"])
    for name in (
        {"source": "shop", "external_id": "17850"},
        {"email": "WANG.fang@example.com", "phone": "+86 138 1234 5678"},
    ):
        reply = profile.client.post("/v1/erasures/welcome", json=name)
        assert (reply.status_code, reply.json()["lifted"]) == (200, len(name) - ("source" in name))
    assert profile.client.post("/v1/erasures/welcome", json=name).json() == {"lifted": 0}
    back = profile.customer("17850", **WANG)
    assert back["id"] != wang["id"]
    assert profile.client.get("/v1/erasures/returned").json()["items"] == []
    lookup = {"customer_ids": [back["id"]], "purpose": "service", "channel": "email"}
    [answer] = profile.client.post("/v1/contact-points/lookup", json=lookup).json()["items"]
    assert answer["address"] == "wang.fang@example.com"
    assert profile.client.get(f"/v1/customers/{wang['id']}").status_code == 410


@pytest.mark.parametrize(
    "body", [{}, {"source": "shop"}, {"external_id": "1"}, {"email": "no address"}, {"phone": "123"}]
)
def test_a_welcome_says_who_is_meant(profile, body):
    assert profile.client.post("/v1/erasures/welcome", json=body).status_code == 422


def test_receipts_tell_what_is_done_and_what_is_overdue(profile, wang):
    from services.profile.domain.erasure import note_receipts

    erase(profile, wang["id"])
    path = f"/v1/customers/{wang['id']}/erasure"
    told = profile.client.get(path).json()
    assert [one["service"] for one in told["receipts"]] == ["campaigns", "feedback", "scoring"]
    assert told["completed_at"] is None and not any(one["overdue"] for one in told["receipts"])
    now = datetime.now(UTC)
    with profile.under_test.sessions.begin() as session:
        session.execute(text("update erasure set erased_at = erased_at - interval '6 minutes'"))
        note_receipts(session, "scoring", {UUID(wang["id"]): now})
    told = profile.client.get(path).json()
    assert [one["overdue"] for one in told["receipts"]] == [True, True, False]
    assert len(profile.client.get("/v1/erasures", params={"outstanding": True}).json()["items"]) == 1
    with profile.under_test.sessions.begin() as session:
        for service in ("campaigns", "feedback", "scoring"):
            note_receipts(session, service, {UUID(wang["id"]): now})
    told = profile.client.get(path).json()
    assert datetime.fromisoformat(told["completed_at"]) == now
    assert profile.client.get("/v1/erasures", params={"outstanding": True}).json()["items"] == []
    assert profile.client.get("/v1/erasures", params={"outstanding": False}).json()["items"] == [told]


def test_who_was_not_erased_has_no_erasure(profile, wang):
    reply = profile.client.get(f"/v1/customers/{wang['id']}/erasure")
    assert (reply.status_code, code_of(reply)) == (404, "erasure_not_found")


def test_the_receipts_of_all_services_are_understood():
    from services.profile.reactions import CONSUMERS

    events = {event for consumer in CONSUMERS for event in consumer.reactions}
    assert {ErasureCompletedInScoring, ErasureCompletedInCampaigns, ErasureCompletedInFeedback} <= events


def test_nothing_lands_on_a_customer_who_is_erased_meanwhile(committing):
    customer = committing.customer("17850", **WANG)
    barrier, statuses = threading.Barrier(9), []

    def buy(racer):
        barrier.wait()
        told = [committing.buy(f"A{racer}-{number}", line(), occurred_at=YESTERDAY) for number in range(4)]
        statuses.extend(reply.status_code for reply in told)

    racers = [threading.Thread(target=buy, args=(number,)) for number in range(8)]
    for racer in racers:
        racer.start()
    barrier.wait()
    erase(committing, customer["id"])
    for racer in racers:
        racer.join()
    assert set(statuses) <= {201, 410}
    events = [event["type"] for event in committing.announced() if event["key"] == customer["id"]]
    assert events[-1] == "customer_erased", "nothing is announced about the person afterwards"
    assert committing.ask("select count(*) from customer") == [(1,)]


def test_a_batch_that_comes_upon_an_erasure_refuses_that_persons_items_alone(committing):
    customer = committing.customer("17850", **WANG)
    items = [
        {"source": "shop", "external_id": f"{number}"}
        | purchase(customer={"source": "shop", "external_id": ("17850", "17851")[number % 2]})
        for number in range(4)
    ]
    reply = while_erased(
        committing.under_test,
        customer["id"],
        lambda: committing.client.post("/v1/purchases/batch", json={"items": items}),
    )
    answers = reply.json()["items"]
    assert [one["status"] for one in answers] == [410, 201, 410, 201]
    assert {one["problem"]["code"] for one in answers if one["status"] == 410} == {"customer_erased"}
    assert committing.ask("select external_id from customer_external_id") == [("17851",)]
    assert committing.ask("select count(*) from purchase") == [(2,)]
    assert not [one for one in committing.announced("customer_registered") if one["key"] == customer["id"]][
        1:
    ]
