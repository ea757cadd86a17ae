"""What the winner of a merge takes over of the loser's fields and consents, and gives back."""

import pytest

from services.profile.rules import merging
from services.profile.rules.merging import Change
from tests.profile.conftest import LONG_AGO, YESTERDAY, code_of
from tests.profile.test_merges import merge, undo

FIELDS = ("name", "email", "phone", "birth_date", "country", "region", "interests", "registered_at")


def told(profile, customer):
    body = profile.client.get(f"/v1/customers/{customer['id']}").json()
    return {field: body[field] for field in FIELDS}


def put_consent(profile, customer, state, purpose="marketing", channel="email", **fields):
    path = f"/v1/customers/{customer['id']}/consents/{purpose}/{channel}"
    reply = profile.client.put(path, json={"state": state} | fields)
    assert reply.status_code in (200, 201), reply.text


def consents(profile, customer):
    items = profile.client.get(f"/v1/customers/{customer['id']}/consents").json()["items"]
    return {(one["purpose"], one["channel"]): one["state"] for one in items}


@pytest.fixture
def pair(profile):
    a = profile.customer(
        "a", name="Anna", country="CN", interests=["tea"], registered_at="2020-01-01T00:00:00Z"
    )
    b = profile.customer(
        "b",
        name="Anna B.",
        email="anna@example.com",
        phone="+8613812345678",
        country="SG",
        region="East",
        interests=["hiking", "tea"],
        registered_at="2015-01-01T00:00:00Z",
    )
    return a, b


def test_the_winner_keeps_its_own_and_takes_what_it_lacks(profile, pair):
    a, b = pair
    before = told(profile, a)
    merged = merge(profile, a, b).json()
    assert told(profile, a) == before | {
        "email": "anna@example.com",
        "phone": "+8613812345678",
        "region": "East",
        "interests": ["hiking", "tea"],
        "registered_at": "2015-01-01T00:00:00Z",
    }
    own = profile.client.get(f"/v1/customers/{b['id']}").json()
    assert own["id"] == a["id"]
    assert profile.announced("customer_updated")[-1]["region"] == "East"
    undo(profile, merged)
    assert told(profile, a) == before
    assert told(profile, b) == {field: b[field] for field in FIELDS}


def test_strategies_choose_per_field(profile, pair):
    a, b = pair
    with profile.under_test.sessions.begin() as session:
        session.connection().exec_driver_sql(
            """update customer set provenance = jsonb_set(provenance, '{name,at}', '"2020-01-01T00:00:00+00:00"')
            where customer_id = %s""",
            (a["id"],),
        )
    merge(profile, a, b, strategies={"name": "newest", "country": "newest", "interests": "oldest"})
    after = told(profile, a)
    assert (after["name"], after["country"], after["interests"]) == ("Anna B.", "CN", ["tea"])
    [row] = profile.ask("select provenance from customer where state = 'active'")
    assert row.provenance["name"]["source"] == "shop"


@pytest.mark.parametrize(
    ("field", "strategy"), [("name", "union"), ("shoe_size", "newest"), ("kind", "newest")]
)
def test_a_strategy_that_does_not_fit_is_refused(profile, pair, field, strategy):
    reply = merge(profile, *pair, strategies={field: strategy})
    assert (reply.status_code, code_of(reply)) == (422, "strategy_unfit")
    assert reply.json()["errors"][0]["pointer"] == f"/strategies/{field}"


def test_a_preview_says_what_a_merge_would_do_and_does_nothing(profile, pair):
    a, b = pair
    profile.buy("1", customer={"id": b["id"]})
    put_consent(profile, a, "denied")
    put_consent(profile, b, "granted")
    reply = profile.client.post("/v1/merges/preview", json={"winner_id": a["id"], "loser_id": b["id"]}).json()
    fields = {one["field"]: one for one in reply["fields"]}
    assert fields["email"] == {
        "field": "email",
        "strategy": "non_empty",
        "personal": True,
        "winner": None,
        "loser": "anna@example.com",
        "outcome": "anna@example.com",
        "changes": True,
    }
    assert (fields["country"]["outcome"], fields["country"]["changes"]) == ("CN", False)
    assert fields["interests"]["outcome"] == ["hiking", "tea"]
    assert reply["moved"]["purchase"] == 1
    assert reply["refusals"] == [{"purpose": "marketing", "channel": "email"}]
    assert profile.client.get(f"/v1/customers/{b['id']}").json()["id"] == b["id"]
    assert profile.client.get("/v1/merges").json()["items"] == []


def test_tags_follow_and_come_back(profile):
    a, b = profile.customer("a", tags=["early", "vip"]), profile.customer("b", tags=["club", "vip"])
    merged = merge(profile, a, b).json()
    assert profile.client.get(f"/v1/customers/{a['id']}").json()["tags"] == ["club", "early", "vip"]
    undo(profile, merged)
    assert profile.client.get(f"/v1/customers/{a['id']}").json()["tags"] == ["early", "vip"]
    assert profile.client.get(f"/v1/customers/{b['id']}").json()["tags"] == ["club", "vip"]


def test_what_the_winner_was_told_since_stays_after_an_unmerge(profile, pair):
    a, b = pair
    merged = merge(profile, a, b).json()
    profile.customer("a", phone="+8613912345678", interests=["chess", "hiking", "tea"])
    undo(profile, merged)
    after = told(profile, a)
    assert (after["phone"], after["email"], after["interests"]) == ("+8613912345678", None, ["chess", "tea"])


@pytest.mark.parametrize("order", [(0, 1), (1, 0)])
def test_what_went_up_a_chain_of_merges_comes_back_in_any_order(profile, pair, order):
    a, b = pair
    c = profile.customer("c", interests=["chess"])
    before = [told(profile, one) for one in (a, b, c)]
    edges = [merge(profile, a, b).json(), merge(profile, c, a).json()]
    assert told(profile, c)["email"] == "anna@example.com"
    undo(profile, edges[order[0]])
    assert told(profile, c)["email"] is None
    undo(profile, edges[order[1]])
    assert [told(profile, one) for one in (a, b, c)] == before


def test_what_a_merge_gave_lies_sealed_and_goes_with_it(profile, pair):
    merged = merge(profile, *pair).json()
    [row] = profile.ask("select merge::text as text, changes_sealed from merge")
    assert b"anna@example".hex() not in row.text and row.changes_sealed is not None
    undo(profile, merged)
    assert profile.ask("select changes_sealed from merge") == [(None,)]


def test_a_refusal_of_either_side_wins_whatever_was_said_last(profile, pair):
    a, b = pair
    put_consent(profile, b, "denied", collected_at=LONG_AGO)
    put_consent(profile, a, "granted", collected_at=YESTERDAY)
    put_consent(profile, a, "withdrawn", channel="sms", collected_at=LONG_AGO)
    put_consent(profile, b, "granted", channel="sms", collected_at=YESTERDAY)
    put_consent(profile, b, "granted", purpose="survey", collected_at=YESTERDAY)
    merged = merge(profile, a, b).json()
    assert consents(profile, a) == {
        ("marketing", "email"): "denied",
        ("marketing", "sms"): "withdrawn",
        ("survey", "email"): "granted",
    }
    told = [
        (one["customer_id"], one["channel"], one["state"]) for one in profile.announced("consent_changed")
    ]
    assert (a["id"], "email", "denied") in told
    undo(profile, merged)
    assert consents(profile, a) == {("marketing", "email"): "granted", ("marketing", "sms"): "withdrawn"}
    assert consents(profile, b) == {
        ("marketing", "email"): "denied",
        ("marketing", "sms"): "granted",
        ("survey", "email"): "granted",
    }
    profile.holds()


def test_what_was_refused_while_they_were_one_holds_for_both(profile, pair):
    a, b = pair
    put_consent(profile, a, "granted", collected_at=YESTERDAY)
    put_consent(profile, b, "granted", collected_at=YESTERDAY)
    merged = merge(profile, a, b).json()
    put_consent(profile, b, "withdrawn")
    assert consents(profile, a) == {("marketing", "email"): "withdrawn"}
    undo(profile, merged)
    assert consents(profile, a) == consents(profile, b) == {("marketing", "email"): "withdrawn"}


def test_what_was_granted_while_they_were_one_is_the_word_of_whom_it_was_told_of(profile, pair):
    a, b = pair
    merged = merge(profile, a, b).json()
    put_consent(profile, b, "granted")
    put_consent(profile, a, "granted", channel="sms")
    undo(profile, merged)
    assert consents(profile, b) == {("marketing", "email"): "granted"}
    assert consents(profile, a) == {("marketing", "sms"): "granted"}


def test_a_list_that_lost_what_came_through_another_merge():
    assert merging.inherited(Change(["a"], ["a", "b", "c"]), ["b", "c"], ["c"]) == Change(["a"], ["a", "c"])
    assert merging.inherited(Change(None, "x"), "x", None) == Change(None, None)
    assert merging.inherited(Change(None, "x"), "y", None) == Change(None, "x")
