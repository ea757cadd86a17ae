"""Everything that can be known of a customer: what is kept how, from whom, and how fresh it is."""

import json
from datetime import UTC, datetime, timedelta

import pytest
from sqlalchemy import text

from services.profile.jobs import assess_customers
from shared.jobs.schedule import Context
from tests.profile.conftest import LONG_AGO, code_of

LI = {
    "name": "Li Lei",
    "postcode": "sw1a  1aa",
    "country": "GB",
    "region": "England",
    "city": "London",
    "gender": "male",
    "education": "master",
    "income_band": "50-75K",
    "interests": ["tea", "hiking", "tea"],
    "lifestyle": "family",
    "personal_values": ["sustainability"],
    "language": "en",
    "time_zone": "Europe/London",
    "acquisition_channel": "web",
}


def patch(profile, customer, **fields):
    headers = {"If-Match": f'"{customer["version"]}"'}
    return profile.client.patch(f"/v1/customers/{customer['id']}", json=fields, headers=headers)


def freshness(profile, customer):
    reply = profile.client.get(f"/v1/customers/{customer['id']}/freshness")
    assert reply.status_code == 200, reply.text
    return reply.json()


def due(profile, query=""):
    reply = profile.client.get(f"/v1/customers/due{query}")
    assert reply.status_code == 200, reply.text
    return reply.json()["items"]


def policy(profile, kind="person", **fields):
    url = f"/v1/upkeep-policies/{kind}"
    known = profile.client.get(url)
    body = {"expected": [], "stale_after_days": 365} | fields
    return profile.client.put(url, json=body, headers={"If-Match": known.headers["etag"]})


def test_every_side_of_a_customer_is_kept(profile):
    body = profile.customer(**LI)
    assert (body["postcode"], body["interests"]) == ("SW1A 1AA", ["hiking", "tea"])
    for field in LI.keys() - {"postcode", "interests"}:
        assert body[field] == LI[field]
    removed = profile.customer(city=None, interests=[], postcode=None)
    assert (removed["city"], removed["interests"], removed["postcode"]) == (None, [], None)
    assert removed["gender"] == "male"


def test_an_organisation_has_an_industry_and_a_size(profile):
    body = profile.customer("firm", kind="organisation", industry="retail", organisation_size="50-249")
    assert (body["kind"], body["industry"], body["organisation_size"]) == (
        "organisation",
        "retail",
        "50-249",
    )
    refused = profile.client.put("/v1/customers/by-external-id/shop/firm", json={"organisation_size": "big"})
    assert refused.status_code == 422


def test_a_postcode_lies_sealed_and_no_side_of_a_person_is_announced(profile):
    profile.customer(**LI)
    [row] = profile.ask("select c::text as text from customer c")
    assert "SW1A" not in row.text and b"SW1A 1AA".hex() not in row.text
    told = json.dumps(profile.announced())
    for secret in ("SW1A", "London", "master", "50-75K", "hiking", "family", "sustainability", "male"):
        assert secret not in told.replace("Europe/London", "")
    profile.customer(city="Leeds", gender="diverse")
    assert len(profile.announced()) == 1


def test_each_field_knows_when_and_from_whom_it_came(profile):
    body = profile.customer(name="Li Lei", country="GB", told={"source": "crm", "at": "2024-05-01T08:00:00Z"})
    changed = patch(profile, body, country="SG", city="Singapore").json()
    fields = freshness(profile, changed)["fields"]
    assert fields["name"] == {"at": "2024-05-01T08:00:00Z", "source": "crm"}
    assert fields["country"]["source"] == "test" or fields["country"]["source"] == "admin"
    assert fields["country"]["at"] > "2026"
    assert profile.customer(city=None)["city"] is None
    assert "city" not in freshness(profile, changed)["fields"]


def test_a_value_told_again_later_is_confirmed_without_a_new_version(profile):
    told = {"source": "crm", "at": "2024-05-01T08:00:00Z"}
    first = profile.customer(name="Li Lei", phone="+447911123456", told=told)
    again = profile.customer(name="Li Lei")
    assert (again["version"], again["updated_at"]) == (first["version"], first["updated_at"])
    fields = freshness(profile, first)["fields"]
    assert fields["name"]["source"] == "shop" and fields["name"]["at"] > "2026"
    assert fields["phone"] == told
    assert len(profile.announced()) == 1


def test_completeness_counts_what_is_expected_of_the_kind(profile):
    bare = profile.customer("bare")
    half = profile.customer("half", name="Ada", email="ada@example.com", country="GB")
    assert freshness(profile, bare)["completeness"] == 0
    found = freshness(profile, half)
    assert (found["completeness"], found["missing"]) == (50, ["phone", "birth_date", "language"])
    everything = {"phone": "+447911123456", "birth_date": "1990-04-23", "language": "en"}
    full = profile.customer("half", **everything)
    found = freshness(profile, full)
    assert (found["completeness"], found["missing"]) == (100, [])
    assert datetime.fromisoformat(found["due_at"]) > datetime.now(UTC) + timedelta(days=700)


def test_whoever_lacks_something_or_has_grown_old_is_due_the_longest_overdue_first(profile):
    assert policy(profile, expected=["email"], stale_after_days=365).status_code == 200
    for number, at in enumerate(("2021-01-01T00:00:00Z", "2019-01-01T00:00:00Z", "2020-01-01T00:00:00Z")):
        profile.customer(f"old{number}", email=f"old{number}@example.com", told={"source": "crm", "at": at})
    profile.customer("fresh", email="fresh@example.com")
    missing = profile.customer("missing", name="Nobody")
    listed = due(profile)
    names = {
        row.customer_id: row.external_id
        for row in profile.ask("select customer_id::text, external_id from customer_external_id")
    }
    assert [names[one["customer_id"]] for one in listed] == ["old1", "old2", "old0", "missing"]
    assert listed[0]["stale"] == ["email"] and listed[0]["due_at"].startswith("2020-01-01")
    assert (listed[3]["missing"], listed[3]["completeness"]) == (["email"], 0)
    assert [one["customer_id"] for one in due(profile, "?completeness_lt=100")] == [missing["id"]]
    assert due(profile, "?kind=organisation") == []
    profile.customer("old1", email="old1@example.com")
    assert names[due(profile, "?limit=1")[0]["customer_id"]] == "old2"


def test_the_list_of_those_due_goes_on_page_by_page(profile):
    for number in range(5):
        profile.customer(f"c{number}", name="Nobody")
    seen, cursor = [], ""
    while cursor is not None:
        page = profile.client.get("/v1/customers/due?limit=2" + (f"&cursor={cursor}" if cursor else ""))
        seen += [one["customer_id"] for one in page.json()["items"]]
        cursor = page.json()["next_cursor"]
    assert len(seen) == len(set(seen)) == 5


def test_a_changed_policy_is_held_against_every_customer(profile):
    body = profile.customer(name="Ada", told={"source": "crm", "at": LONG_AGO})
    before = freshness(profile, body)["due_at"]
    reply = policy(profile, expected=["name"], stale_after_days=100, stale_after_days_of={"name": 50})
    assert (reply.status_code, reply.json()["version"]) == (200, 2)
    run_assessment(profile)
    [one] = due(profile)
    assert (one["completeness"], one["stale"]) == (100, ["name"])
    assert one["due_at"].startswith("2012-01-28") and one["due_at"] != before
    assert policy(profile, expected=["name"], stale_after_days_of={"name": None}).status_code == 200
    run_assessment(profile)
    assert due(profile) == []


def run_assessment(profile):
    under_test = profile.under_test
    assess_customers(Context(under_test.settings, under_test.sessions, under_test.engine))


@pytest.mark.parametrize(
    "fields",
    [
        {"expected": ["shoe_size"]},
        {"expected": ["attributes.unheard_of"]},
        {"stale_after_days_of": {"nose": 3}},
        {"stale_after_days": 0},
        {"expected": ["Name"]},
    ],
)
def test_a_policy_speaks_of_known_fields_and_days_only(profile, fields):
    assert policy(profile, **fields).status_code == 422
    assert profile.client.get("/v1/upkeep-policies/person").json()["version"] == 1


def test_a_policy_is_changed_by_whoever_read_it(profile):
    body = {"expected": ["name"], "stale_after_days": 30}
    reply = profile.client.put("/v1/upkeep-policies/person", json=body)
    assert (reply.status_code, code_of(reply)) == (428, "precondition_required")


def test_the_tier_that_scoring_told_is_shown_and_leaves_the_version_alone(profile):
    body = profile.customer()
    with profile.under_test.sessions.begin() as session:
        session.execute(text("update customer set tier = 'gold'"))
    seen = profile.client.get(f"/v1/customers/{body['id']}").json()
    assert (seen["tier"], seen["version"]) == ("gold", body["version"])


def test_a_customer_made_by_a_purchase_is_due_for_all_that_is_expected(profile):
    assert profile.buy("A-1").status_code == 201
    [one] = due(profile)
    assert (one["completeness"], len(one["missing"])) == (0, 6)
    assert policy(profile, expected=[]).status_code == 200
    run_assessment(profile)
    assert profile.buy("A-2", customer={"source": "shop", "external_id": "other"}).status_code == 201
    assert due(profile) == []
