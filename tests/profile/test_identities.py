"""By what customers are recognised, and how the anonymous become known."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.profile.rules.identities import STRONG, UNIQUE, may_merge
from tests.profile.conftest import YESTERDAY, at_once, code_of
from tests.profile.test_merges import merge, undo

UNIONID = {"namespace": "wechat_unionid", "value": "oR5Gjj"}
PHONE = {"namespace": "phone", "value": "+86 138 1234 5678"}
MAIL = {"namespace": "email", "value": "Anna@Example.com"}
TABLET = {"namespace": "device", "value": "tablet-1"}


def add(profile, customer, identity, *, verified=False):
    return profile.client.post(
        f"/v1/customers/{customer['id']}/identities", json=identity | {"verified": verified}
    )


def held(profile, customer):
    items = profile.client.get(f"/v1/customers/{customer['id']}/identities").json()["items"]
    return [(one["namespace"], one["value"], one["verified_at"] is not None) for one in items]


def log_in(profile, *identities, device=None, customer=None, **fields):
    body = {"identities": list(identities), "device": device, "authenticated": True} | fields
    if customer is not None:
        body["customer"] = {"id": customer["id"]}
    return profile.client.post("/v1/identities/log-in", json=body)


def view(profile, number, device="tablet-1"):
    """Something done on a device by nobody known."""
    body = {
        "items": [
            {
                "source": "web",
                "external_id": f"{number}",
                "device_id": device,
                "type": "product_view",
                "sku": "85123A",
                "occurred_at": YESTERDAY,
            }
        ]
    }
    reply = profile.client.post("/v1/activities/batch", json=body)
    assert reply.status_code == 207 and reply.json()["items"][0]["status"] == 201, reply.text


def doers(profile):
    rows = profile.ask("select external_id, customer_id from activity order by external_id")
    return {row.external_id: row.customer_id and str(row.customer_id) for row in rows}


def test_an_identity_is_kept_in_one_form_sealed_and_shown_to_those_who_may_see_it(profile):
    a = profile.customer("a")
    first, again = add(profile, a, PHONE), add(profile, a, {"namespace": "phone", "value": "+8613812345678"})
    assert (first.status_code, again.status_code) == (201, 200)
    assert first.json() == again.json()
    assert held(profile, a) == [("phone", "+8613812345678", False)]
    assert add(profile, a, PHONE, verified=True).status_code == 200
    assert held(profile, a) == [("phone", "+8613812345678", True)]
    [row] = profile.ask("select i::text as text from customer_identity i")
    assert "13812345678" not in row.text and b"13812345678".hex() not in row.text
    path = f"/v1/customers/{a['id']}/identities/{first.json()['id']}"
    assert profile.client.delete(path).status_code == 204
    assert code_of(profile.client.delete(path)) == "identity_not_found"
    assert held(profile, a) == []


def test_what_is_no_address_or_number_is_refused(profile):
    a = profile.customer("a")
    for identity in ({"namespace": "email", "value": "anna"}, {"namespace": "phone", "value": "13812345678"}):
        reply = add(profile, a, identity)
        assert (reply.status_code, code_of(reply)) == (422, "identity_invalid")


def test_a_verified_identity_is_one_persons_and_an_unverified_or_a_device_many_peoples(profile):
    a, b = profile.customer("a"), profile.customer("b")
    assert add(profile, a, MAIL, verified=True).status_code == 201
    reply = add(profile, b, MAIL, verified=True)
    assert (reply.status_code, code_of(reply)) == (409, "identity_taken")
    assert add(profile, b, MAIL).status_code == 201
    assert add(profile, a, TABLET, verified=True).status_code == 201
    assert add(profile, b, TABLET, verified=True).status_code == 201


def test_one_verified_identity_claimed_by_many_at_once_is_one_customers(committing):
    people = [committing.customer(f"{number}") for number in range(6)]
    replies = at_once(lambda number: add(committing, people[number], UNIONID, verified=True), 6)
    assert sorted(reply.status_code for reply in replies) == [201] + [409] * 5


def test_identities_and_names_stay_with_whom_they_were_given_to(profile):
    a, b = profile.customer("a"), profile.customer("b")
    add(profile, b, MAIL, verified=True)
    merged = merge(profile, a, b).json()
    assert held(profile, a) == held(profile, b) == [("email", "anna@example.com", True)]
    assert add(profile, a, MAIL, verified=True).status_code == 200
    path = f"/v1/customers/{b['id']}/external-ids/pos/4711"
    assert [profile.client.put(path).status_code for _ in range(2)] == [201, 200]
    assert profile.client.get("/v1/customers/by-external-id/pos/4711").json()["id"] == a["id"]
    undo(profile, merged)
    assert (held(profile, a), held(profile, b)) == ([], [("email", "anna@example.com", True)])
    assert profile.client.get("/v1/customers/by-external-id/pos/4711").json()["id"] == b["id"]
    assert {"source": "pos", "external_id": "4711"} in profile.announced("customer_updated")[-1][
        "external_ids"
    ]


def test_an_external_id_is_one_customers_and_can_be_taken_away(profile):
    a, b = profile.customer("a"), profile.customer("b")
    reply = profile.client.put(f"/v1/customers/{a['id']}/external-ids/shop/b")
    assert (reply.status_code, code_of(reply)) == (409, "external_id_taken")
    assert profile.client.delete(f"/v1/customers/{b['id']}/external-ids/shop/b").status_code == 204
    gone = profile.client.delete(f"/v1/customers/{b['id']}/external-ids/shop/b")
    assert (gone.status_code, code_of(gone)) == (404, "external_id_not_found")
    assert profile.client.put(f"/v1/customers/{a['id']}/external-ids/shop/b").status_code == 201


def test_what_a_device_did_becomes_the_persons_who_logs_in(profile):
    a, b = profile.customer("a"), profile.customer("b")
    view(profile, 1)
    reply = log_in(profile, device=TABLET, customer=a)
    assert (reply.json()["customer_id"], reply.json()["attached_count"]) == (a["id"], 1)
    left = profile.client.post("/v1/identities/log-out", json={"device": TABLET}).json()
    view(profile, 2, left["anonymous_id"])
    view(profile, 3)
    assert log_in(profile, device=TABLET, customer=b).json()["attached_count"] == 1
    assert doers(profile) == {"1": a["id"], "2": None, "3": b["id"]}
    assert profile.client.get("/v1/merges").json()["items"] == []  # a shared device never merges


def test_the_unauthenticated_get_nothing_and_merge_nothing(profile):
    a, b = profile.customer("a"), profile.customer("b")
    add(profile, b, MAIL, verified=True)
    view(profile, 1)
    reply = log_in(profile, MAIL, device=TABLET, customer=a, authenticated=False)
    assert (reply.json()["customer_id"], reply.json()["attached_count"], reply.json()["merge_ids"]) == (
        a["id"],
        0,
        [],
    )
    assert held(profile, a) == [("email", "anna@example.com", False)]
    assert doers(profile) == {"1": None}
    nobody = log_in(profile, MAIL, authenticated=False, create_customer=True)
    assert (nobody.status_code, code_of(nobody)) == (422, "customer_unknown")


def test_who_proves_to_be_two_customers_is_one(profile):
    a, b = profile.customer("a"), profile.customer("b")
    add(profile, a, UNIONID, verified=True)
    add(profile, b, PHONE, verified=True)
    reply = log_in(profile, UNIONID, PHONE, customer=a).json()
    assert (reply["customer_id"], len(reply["merge_ids"])) == (a["id"], 1)
    made = profile.client.get(f"/v1/merges/{reply['merge_ids'][0]}").json()
    assert (made["winner_id"], made["loser_id"], made["origin"]) == (a["id"], b["id"], "identity")
    profile.holds()


@pytest.mark.parametrize("doubt", ["another id of a strong namespace", "an organisation"])
def test_where_something_speaks_against_it_a_person_decides(profile, doubt):
    a = profile.customer("a")
    b = profile.customer("b", kind="organisation" if doubt == "an organisation" else "person")
    add(profile, a, UNIONID, verified=True)
    add(profile, b, PHONE, verified=True)
    if doubt != "an organisation":
        add(profile, b, UNIONID | {"value": "another"}, verified=True)
    reply = log_in(profile, PHONE, customer=a).json()
    assert (reply["merge_ids"], reply["doubted_customer_ids"]) == ([], [b["id"]])
    [pair] = profile.client.get("/v1/duplicates").json()["items"]
    assert (pair["customer_ids"], pair["evidence"]) == (sorted([a["id"], b["id"]]), ["proved_phone"])
    assert ("phone", "+8613812345678", True) not in held(profile, a)


def test_whoever_nobody_knows_is_made_if_asked(profile):
    reply = log_in(profile, UNIONID)
    assert (reply.status_code, code_of(reply)) == (422, "customer_unknown")
    made = log_in(profile, UNIONID, create_customer=True).json()
    assert made["created"] is True
    again = log_in(profile, UNIONID, create_customer=True).json()
    assert (again["customer_id"], again["created"]) == (made["customer_id"], False)


_HELD = st.dictionaries(st.sampled_from(UNIQUE), st.sets(st.sampled_from([b"1", b"2", b"3"]), min_size=1))


@given(st.sets(st.sampled_from([*UNIQUE, "cookie", "device"])), _HELD, _HELD)
def test_nothing_but_unique_proofs_without_contradiction_merges(proofs, first, second):
    contradicted = any(
        name in first and name in second and not set(first[name]) & set(second[name]) for name in STRONG
    )
    allowed = bool(proofs) and not proofs & {"cookie", "device"} and not contradicted
    assert may_merge(proofs, first, second) is allowed
    assert may_merge(proofs, second, first) is allowed
