"""Customers who might be one: listed with the evidence, decided by a person."""

import pytest

from tests.profile.conftest import code_of
from tests.profile.test_merges import merge, undo

ANNA = {"name": "Anna Müller", "birth_date": "1990-04-23", "email": "anna@example.com", "country": "DE"}


def find(profile):
    reply = profile.client.post("/v1/duplicates/find")
    assert reply.status_code == 200, reply.text
    return reply.json()["found_count"]


def listed(profile, **parameters):
    return profile.client.get("/v1/duplicates", params=parameters).json()["items"]


@pytest.fixture
def pair(profile):
    return profile.customer("a", **ANNA), profile.customer("b", **ANNA | {"name": "MÜLLER, Anna"})


def test_pairs_are_listed_with_what_they_have_in_common_and_nothing_of_it(profile, pair):
    a, b = pair
    profile.customer("c", name="Anna Müller", birth_date="1991-05-01")
    assert (find(profile), find(profile)) == (1, 0)
    [found] = listed(profile)
    assert found["customer_ids"] == sorted([a["id"], b["id"]])
    assert (found["evidence"], found["score"]) == (["email", "name_and_birthday"], 100)
    assert "anna" not in str(found).lower()


def test_the_likeliest_come_first_and_pages_go_on(profile, pair):
    profile.customer("d", name="Anna Müller", birth_date="1990-04-23")
    find(profile)
    first = profile.client.get("/v1/duplicates", params={"limit": 1}).json()
    rest = profile.client.get("/v1/duplicates", params={"cursor": first["next_cursor"], "limit": 200})
    items = (
        first["items"]
        + profile.client.get("/v1/duplicates", params={"limit": 1, "cursor": first["next_cursor"]}).json()[
            "items"
        ]
    )
    assert rest.status_code == 200 and len(items) == 2
    scores = [one["score"] for one in first["items"] + rest.json()["items"]]
    assert scores == sorted(scores, reverse=True) and len(scores) == 3


def test_a_pair_that_somebody_called_two_is_not_listed_again(profile, pair):
    find(profile)
    [found] = listed(profile)
    path = f"/v1/duplicates/{found['id']}/dismiss"
    first, again = profile.client.post(path), profile.client.post(path)
    assert (first.status_code, first.json()) == (200, again.json())
    assert find(profile) == 0
    assert listed(profile) == []
    assert [one["id"] for one in listed(profile, state="dismissed")] == [found["id"]]
    unknown = profile.client.post(f"/v1/duplicates/{pair[0]['id']}/dismiss")
    assert (unknown.status_code, code_of(unknown)) == (404, "duplicate_not_found")


def test_merged_customers_are_no_question_and_their_aliases_speak_for_them(profile, pair):
    a, b = pair
    c = profile.customer("c", phone="+4915112345678")
    d = profile.customer("d", phone="+4915112345678")
    find(profile)
    assert len(listed(profile)) == 2
    merged = merge(profile, a, b).json()
    assert [one["customer_ids"] for one in listed(profile)] == [sorted([c["id"], d["id"]])]
    merge(profile, a, c)  # through c, a has the phone number of d
    find(profile)
    assert [one["customer_ids"] for one in listed(profile)] == [sorted([a["id"], d["id"]])]
    undo(profile, merged)
    assert sorted([a["id"], b["id"]]) in [one["customer_ids"] for one in listed(profile, customer_id=b["id"])]


def test_what_very_many_share_is_no_evidence(profile):
    for number in range(21):
        profile.customer(f"{number}", phone="+4915112345678")
    assert find(profile) == 0


def test_a_person_and_an_organisation_are_never_listed(profile):
    profile.customer("a", email="shop@example.com")
    profile.customer("b", email="shop@example.com", kind="organisation")
    assert find(profile) == 0
