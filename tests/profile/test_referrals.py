import threading
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st
from sqlalchemy import text

from services.profile.jobs import void_overdue_referrals
from services.profile.reactions import CONSUMERS
from services.profile.rules.referrals import ALPHABET, code_of, normal_code, same_address, shown
from shared.events.catalogue import EVENTS
from shared.jobs.schedule import Context
from tests.profile.conftest import code_of as problem_of
from tests.profile.conftest import line
from tests.profile.test_activities import anonymously, attach, did, tell

# Later than any referral that these tests make, however long they have been waiting for their turn.
SOON = (datetime.now(UTC) + timedelta(hours=12)).isoformat()


def react(profile):
    """Tell the consumer everything that was announced, as ``react`` does; again and again is the same."""
    [consumer] = CONSUMERS
    with profile.under_test.sessions() as session:
        rows = session.execute(text("select type, data from shared.outbox order by id")).all()
    for row in rows:
        kind = EVENTS[row.type]
        if kind in consumer.reactions:
            with profile.under_test.sessions.begin() as session:
                consumer.reactions[kind](session, [kind.model_validate(row.data)])


def code(profile, customer):
    reply = profile.client.put(f"/v1/customers/{customer['id']}/referral-code")
    assert reply.status_code in (200, 201), reply.text
    return reply.json()["code"]


def bring(profile, code_, customer, **fields):
    body = {"code": code_, "customer": {"id": customer["id"]}} | fields
    return profile.client.post("/v1/referrals", json=body)


def state(profile, referral):
    return profile.client.get(f"/v1/referrals/{referral['id']}").json()["state"]


def buy(profile, number, who, quantity=1):
    customer = {"source": "shop", "external_id": who}
    reply = profile.buy(number, line(quantity=quantity), customer=customer, occurred_at=SOON)
    assert reply.status_code == 201, reply.text


@pytest.fixture
def wang(profile):
    return profile.customer("wang")


@pytest.fixture
def li(profile):
    return profile.customer("li")


@given(st.lists(st.integers(0, len(ALPHABET) - 1), min_size=7, max_size=7), st.data())
def test_a_code_is_read_however_it_is_written_and_a_wrong_letter_is_noticed(numbers, data):
    made = code_of(numbers)
    assert normal_code(f" {shown(made).lower()} ") == made
    place = data.draw(st.integers(0, 7))
    wrong = data.draw(st.sampled_from([letter for letter in ALPHABET if letter != made[place]]))
    assert normal_code(made[:place] + wrong + made[place + 1 :]) is None


@pytest.mark.parametrize(
    ("other", "alike"),
    [
        ({"street": "nanjing road 1", "city": "SHANGHAI", "postcode": "200040"}, True),
        ({"street": "Nanjing Road 1"}, True),
        ({"street": "Nanjing Road 1", "city": "Beijing"}, False),
        ({"street": "Nanjing Road 11", "city": "Shanghai"}, False),
        ({"street": None, "city": "Shanghai"}, False),
    ],
)
def test_addresses_are_alike_if_they_lead_to_one_door(other, alike):
    one = {"street": "Nanjing Road, 1", "city": "Shanghai", "country": "CN", "postcode": "200040"}
    assert same_address(one, other) is same_address(other, one) is alike


def test_a_shared_address_is_flagged(profile, wang, li):
    for customer, street in ((wang, "Nanjing Road, 1"), (li, "nanjing road 1")):
        home = {"kind": "shipping", "country": "CN", "city": "Shanghai", "street": street}
        reply = profile.client.post(f"/v1/customers/{customer['id']}/addresses", json=home)
        assert reply.status_code == 201, reply.text
    assert bring(profile, code(profile, wang), li).json()["flags"] == ["same_address"]


def test_a_customer_has_one_code_until_it_is_revoked(profile, wang):
    first = code(profile, wang)
    assert code(profile, wang) == first
    terms = profile.client.get("/v1/referral-programme")
    body = {"link_template": "https://shop.example/?ref={code}"}
    headers = {"If-Match": terms.headers["ETag"]}
    assert profile.client.put("/v1/referral-programme", json=body, headers=headers).status_code == 200
    assert profile.client.put("/v1/referral-programme", json=body, headers=headers).status_code == 412
    shown_ = profile.client.get(f"/v1/customers/{wang['id']}/referral-code").json()
    assert shown_["link"] == f"https://shop.example/?ref={first}"
    assert profile.client.delete(f"/v1/customers/{wang['id']}/referral-code").status_code == 204
    assert code(profile, wang) != first
    refused = bring(profile, first, wang)
    assert (refused.status_code, problem_of(refused)) == (422, "referral_code_unknown")


def test_a_referral_is_pending_qualifies_with_a_purchase_and_is_voided_when_it_comes_back(profile, wang, li):
    referral = bring(profile, code(profile, wang), li).json()
    assert (referral["state"], referral["flags"]) == ("pending", [])
    buy(profile, "1", "li", quantity=2)
    react(profile)
    assert state(profile, referral) == "qualified"
    profile.bring_back("R1", "1", (1, 1), occurred_at=SOON)
    react(profile)
    assert state(profile, referral) == "qualified"
    profile.bring_back("R2", "1", (1, 1), occurred_at=SOON)
    react(profile)
    assert state(profile, referral) == "voided"
    buy(profile, "2", "li")
    react(profile)
    assert state(profile, referral) == "qualified"

    told = profile.announced("referral_recorded")
    for role, customer in (("referrer", wang), ("referee", li)):
        mine = [event for event in told if event["key"] == customer["id"]]
        assert {event["role"] for event in mine} == {role}
        states = [(event["previous_state"], event["state"]) for event in mine]
        assert states == [
            (None, "pending"),
            ("pending", "qualified"),
            ("qualified", "voided"),
            ("voided", "qualified"),
        ]


def test_somebody_is_brought_once(profile, wang, li):
    mine, other = code(profile, wang), code(profile, profile.customer("chen"))
    first, again = bring(profile, mine, li), bring(profile, mine, li)
    assert (first.status_code, again.status_code, first.json()) == (201, 200, again.json())
    refused = bring(profile, other, li)
    assert (refused.status_code, problem_of(refused)) == (409, "already_referred")


def test_oneself_counts_for_nothing_and_flags_wait_for_somebody_to_look(profile, wang):
    old = profile.customer("old", phone="+8613812345678")
    buy(profile, "1", "old")
    profile.customer("wang", phone="+8613812345678")
    oneself = bring(profile, code(profile, wang), wang).json()
    assert (oneself["state"], oneself["flags"]) == ("voided", ["self_referral"])
    later = (datetime.now(UTC) + timedelta(hours=13)).isoformat()
    flagged = bring(profile, code(profile, wang), old, referred_at=later).json()
    assert flagged["flags"] == ["existing_customer", "same_phone"]
    profile.buy("2", line(), customer={"source": "shop", "external_id": "old"}, occurred_at=later)
    react(profile)
    assert state(profile, flagged) == "pending"
    listed = profile.client.get("/v1/referrals").json()["items"]
    assert [one["id"] for one in listed] == [oneself["id"], flagged["id"]]
    for decision, then in (("approved", "qualified"), ("rejected", "voided")):
        reply = profile.client.post(f"/v1/referrals/{flagged['id']}/review", json={"decision": decision})
        assert (reply.json()["state"], reply.json()["review"]) == (then, decision)


def test_a_shared_device_is_flagged(profile, wang, li):
    tell(profile, did("1", customer={"id": wang["id"]}, device_id="tablet"), anonymously("2", "tablet"))
    attach(profile, li, "tablet")
    assert bring(profile, code(profile, wang), li).json()["flags"] == ["same_device"]
    named = bring(profile, code(profile, wang), profile.customer("chen"), device_id="tablet")
    assert named.json()["flags"] == ["same_device"]


def test_what_does_not_qualify_in_time_is_voided(profile, wang, li):
    tag = profile.client.get("/v1/referral-programme").headers["ETag"]
    body = {"qualify_within_days": 1}
    profile.client.put("/v1/referral-programme", json=body, headers={"If-Match": tag})
    long_ago = (datetime.now(UTC) - timedelta(days=3)).isoformat()
    late = bring(profile, code(profile, wang), li, referred_at=long_ago).json()
    fresh = bring(profile, code(profile, wang), profile.customer("chen")).json()
    under_test = profile.under_test
    void_overdue_referrals(Context(under_test.settings, under_test.sessions, under_test.engine))
    assert (state(profile, late), state(profile, fresh)) == ("voided", "pending")


def test_influence_follows_who_brought_whom(profile, wang):
    people = [profile.customer(f"p{number}") for number in range(4)]
    for giver, taker in (
        (wang, people[0]),
        (wang, people[1]),
        (people[0], people[2]),
        (people[2], people[3]),
    ):
        bring(profile, code(profile, giver), taker)
    for number in (0, 1, 2):
        buy(profile, str(number), f"p{number}", quantity=2)
    profile.bring_back("R1", "1", (1, 1), occurred_at=SOON)
    react(profile)
    influence = profile.client.get(f"/v1/customers/{wang['id']}/influence").json()
    assert influence == {
        "customers": 3,
        "net_revenue_minor": 5 * 255,
        "levels": [
            {"level": 1, "customers": 2, "net_revenue_minor": 3 * 255},
            {"level": 2, "customers": 1, "net_revenue_minor": 2 * 255},
        ],
    }
    first = profile.client.get(f"/v1/customers/{wang['id']}/referrals?limit=1").json()
    rest = profile.client.get(
        f"/v1/customers/{wang['id']}/referrals", params={"limit": 1, "cursor": first["next_cursor"]}
    ).json()
    assert [one["referee_id"] for one in (*first["items"], *rest["items"])] == [
        people[1]["id"],
        people[0]["id"],
    ]
    brought = profile.client.get(f"/v1/customers/{people[3]['id']}/referrals?role=referee").json()["items"]
    assert [one["referrer_id"] for one in brought] == [people[2]["id"]]
    kinds = profile.client.get(f"/v1/customers/{people[0]['id']}/timeline?kind=referral").json()["items"]
    assert {(one["role"], one["other_id"]) for one in kinds} == {
        ("referee", wang["id"]),
        ("referrer", people[2]["id"]),
    }


def test_merging_both_sides_voids_a_referral_and_undoing_it_brings_it_back(profile, wang, li):
    referral = bring(profile, code(profile, wang), li).json()
    buy(profile, "1", "li")
    react(profile)
    merged = profile.client.post("/v1/merges", json={"winner_id": wang["id"], "loser_id": li["id"]})
    assert merged.status_code == 201, merged.text
    react(profile)
    assert state(profile, referral) == "voided"
    timeline = profile.client.get(f"/v1/customers/{wang['id']}/timeline?kind=referral").json()["items"]
    assert len(timeline) == 1
    profile.client.post(f"/v1/merges/{merged.json()['id']}/undo")
    react(profile)
    assert state(profile, referral) == "qualified"


def test_a_limit_holds_under_a_rush(committing):
    profile = committing
    wang = profile.customer("wang")
    tag = profile.client.get("/v1/referral-programme").headers["ETag"]
    terms = {"most_per_period": 3}
    profile.client.put("/v1/referral-programme", json=terms, headers={"If-Match": tag})
    mine = code(profile, wang)
    people = [profile.customer(f"p{number}") for number in range(8)]
    replies = []
    threads = [
        threading.Thread(target=lambda one=one: replies.append(bring(profile, mine, one))) for one in people
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert [reply.status_code for reply in replies] == [201] * 8
    flags = sorted(reply.json()["flags"] for reply in replies)
    assert flags == [[]] * 3 + [["over_limit"]] * 5
