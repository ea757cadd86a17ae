import json

import pytest

from services.profile.app import SERVICE
from tests.profile.conftest import LONG_AGO, at_once, code_of

WANG = {
    "kind": "person",
    "name": "王芳",
    "email": "Wang.Fang@Example.com ",
    "phone": "138 1234 5678",
    "country": "CN",
    "language": "zh",
    "birth_date": "1990-04-23",
}


def put(profile, external_id="17850", **fields):
    return profile.client.put(f"/v1/customers/by-external-id/shop/{external_id}", json=WANG | fields)


def test_a_customer_is_made_once_and_the_same_again_changes_nothing(profile):
    first, again = put(profile), put(profile)
    assert (first.status_code, again.status_code) == (201, 200)
    assert first.json() == again.json()
    body = first.json()
    assert body["external_ids"] == [{"source": "shop", "external_id": "17850"}]
    assert (body["email"], body["phone"], body["name"]) == ("wang.fang@example.com", "+8613812345678", "王芳")
    assert [event["type"] for event in profile.announced()] == ["customer_registered"]
    assert profile.client.get(f"/v1/customers/{body['id']}").json() == body
    assert profile.client.get("/v1/customers/by-external-id/shop/17850").json() == body


def test_events_carry_coarse_facts_and_never_who_it_is(profile):
    put(profile, tags=["vip", "early"], region="SH")
    event = profile.announced("customer_registered")[0]
    assert event["birth_month_day"] == "04-23"
    assert (event["country"], event["region"], event["language"]) == ("CN", "SH", "zh")
    assert event["tags"] == ["early", "vip"]
    told = json.dumps(profile.announced(), ensure_ascii=False)
    for secret in ("王芳", "wang", "Wang", "1381234", "1990"):
        assert secret not in told


def test_personal_fields_lie_sealed_in_the_database(profile):
    put(profile)
    [row] = profile.ask("select c::text as text from customer c")
    assert "王芳" not in row.text
    for secret in (b"\xe7\x8e\x8b\xe8\x8a\xb3", b"wang.fang", b"13812345678", b"1990-04-23"):
        assert secret.hex() not in row.text


def test_only_coarse_changes_are_announced(profile):
    put(profile)
    put(profile, name="王小芳", phone="+8613912345678")
    assert len(profile.announced()) == 1
    put(profile, country="SG", phone="+8613912345678")
    updated = profile.announced()[1]
    assert (updated["type"], updated["country"]) == ("customer_updated", "SG")
    assert profile.customer()["name"] == "王芳"


def test_fields_that_are_absent_stay_and_null_removes(profile):
    put(profile)
    assert profile.customer(region="SH")["email"] == "wang.fang@example.com"
    removed = profile.customer(email=None, birth_date=None)
    assert (removed["email"], removed["birth_date"], removed["region"]) == (None, None, "SH")
    assert profile.announced()[-1]["birth_month_day"] is None


def test_a_change_needs_the_version_it_changes(profile):
    body = put(profile).json()
    url = f"/v1/customers/{body['id']}"
    etag = profile.client.get(url).headers["etag"]
    assert profile.client.patch(url, json={"region": "SH"}).status_code == 428
    changed = profile.client.patch(url, json={"region": "SH"}, headers={"If-Match": etag})
    assert (changed.status_code, changed.json()["region"], changed.json()["version"]) == (200, "SH", 2)
    stale = profile.client.patch(url, json={"region": "BJ"}, headers={"If-Match": etag})
    assert (stale.status_code, code_of(stale)) == (412, "version_mismatch")
    assert stale.headers["etag"] == changed.headers["etag"]


def test_fifty_changes_with_one_etag_are_one_change(committing):
    body = put(committing).json()
    replies = at_once(
        lambda number: committing.client.patch(
            f"/v1/customers/{body['id']}", json={"region": f"R{number}"}, headers={"If-Match": '"1"'}
        ),
        50,
    )
    assert sorted(reply.status_code for reply in replies) == [200] + [412] * 49


def test_one_new_customer_told_by_many_at_once_is_made_once(committing):
    for number in range(6):
        replies = at_once(lambda _, number=number: put(committing, f"{number}"))
        assert sorted(reply.status_code for reply in replies) == [200] * 7 + [201]
    assert committing.ask("select count(*) from customer") == [(6,)]
    assert len(committing.announced("customer_registered")) == 6


@pytest.mark.parametrize(
    ("fields", "code"),
    [
        ({"email": "nobody"}, "email_invalid"),
        ({"email": "a@b.com\nBcc: everybody@b.com"}, "email_invalid"),
        ({"phone": "abc"}, "phone_invalid"),
        ({"phone": "13812345678", "country": None}, "phone_invalid"),
        ({"country": "XY"}, "validation_failed"),
        ({"country": "China"}, "validation_failed"),
        ({"time_zone": "Mars/Olympus"}, "validation_failed"),
        ({"birth_date": "23.4.1990"}, "validation_failed"),
        ({"kind": "robot"}, "validation_failed"),
    ],
)
def test_what_cannot_be_is_refused_without_repeating_it(profile, fields, code):
    reply = put(profile, **fields)
    assert (reply.status_code, code_of(reply)) == (422, code)
    assert "everybody" not in reply.text and "13812345678" not in reply.text
    assert profile.ask("select count(*) from customer") == [(0,)]


def test_a_customer_can_be_made_without_a_name_elsewhere_and_the_key_makes_it_once(profile):
    headers = {"Idempotency-Key": "k-1"}
    first = profile.client.post("/v1/customers", json={"name": "Ada"}, headers=headers)
    again = profile.client.post("/v1/customers", json={"name": "Ada"}, headers=headers)
    assert (first.status_code, again.status_code) == (201, 201)
    assert first.json() == again.json()
    assert again.headers["idempotent-replayed"] == "true"
    assert first.headers["location"] == f"/profile/v1/customers/{first.json()['id']}"
    assert profile.ask("select count(*) from customer") == [(1,)]


def test_an_external_id_belongs_to_one_customer(profile):
    put(profile)
    names = [{"source": "pos", "external_id": "9"}, {"source": "shop", "external_id": "17850"}]
    reply = profile.client.post("/v1/customers", json={"external_ids": names})
    assert (reply.status_code, code_of(reply)) == (409, "external_id_taken")
    assert profile.ask("select count(*) from customer_external_id") == [(1,)]
    made = profile.client.post("/v1/customers", json={"external_ids": names[:1]})
    assert made.json()["external_ids"] == names[:1]


def test_a_customer_of_long_ago_is_welcomed_by_nobody(profile):
    profile.customer(registered_at=LONG_AGO)
    assert profile.announced("customer_registered")[0]["historical"] is True


def test_unknown_customers_are_not_found(profile):
    assert profile.client.get("/v1/customers/01939d2c-0000-7000-8000-000000000000").status_code == 404
    assert profile.client.get("/v1/customers/by-external-id/shop/none").status_code == 404


def test_the_list_is_paged_filtered_and_names_everybody(profile):
    for number in range(7):
        profile.customer(f"c{number}", country="CN" if number % 2 else "GB", kind="person")
    profile.customer("firm", kind="organisation", country="CN")

    def everybody(query):
        names, cursor = [], ""
        while cursor is not None:
            reply = profile.client.get(
                f"/v1/customers?limit=3{query}" + (f"&cursor={cursor}" if cursor else "")
            )
            assert reply.status_code == 200, reply.text
            names += [one["external_ids"][0]["external_id"] for one in reply.json()["items"]]
            cursor = reply.json()["next_cursor"]
        return names

    assert everybody("") == [*(f"c{number}" for number in range(7)), "firm"]
    assert everybody("&country=CN") == ["c1", "c3", "c5", "firm"]
    assert everybody("&country=CN&country=GB&kind=organisation") == ["firm"]
    assert everybody("&external_id=c4&external_id=c2") == ["c2", "c4"]
    assert everybody("&created_at_lt=2020-01-01T00:00:00Z") == []
    cursor = profile.client.get("/v1/customers?limit=3").json()["next_cursor"]
    assert code_of(profile.client.get(f"/v1/customers?country=CN&cursor={cursor}")) == "cursor_mismatch"


def test_personal_data_is_withheld_without_the_scope(service):
    under_test = service(SERVICE, committing=True)
    issued = under_test.client.post(
        "/v1/api-keys", json={"name": "reports", "scopes": ["profile:read"]}
    ).json()
    customer = under_test.client.put("/v1/customers/by-external-id/shop/1", json=WANG).json()
    reports = {"Authorization": f"Bearer {issued['key']}"}
    seen = under_test.stranger.get(f"/v1/customers/{customer['id']}", headers=reports)
    assert seen.status_code == 200
    assert seen.json()["personal_data"] == "withheld"
    assert (seen.json()["name"], seen.json()["email"], seen.json()["country"]) == (None, None, "CN")
    refused = under_test.stranger.put("/v1/customers/by-external-id/shop/1", json=WANG, headers=reports)
    assert refused.status_code == 403
