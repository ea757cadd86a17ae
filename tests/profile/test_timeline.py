from datetime import UTC, datetime, timedelta

import pytest
from sqlalchemy import text

from tests.profile.conftest import line
from tests.profile.test_activities import did, tell


def at(hours):
    return (datetime.now(UTC) - timedelta(hours=hours)).isoformat()


@pytest.fixture
def busy(profile):
    """A customer with one of each kind, an hour apart: a purchase, its return, an activity, a contact, a consent."""
    customer = profile.customer(name="王芳", country="CN", tags=["vip"])
    profile.buy("1", line("A", 2), line("B", 1), occurred_at=at(5))
    profile.bring_back("R1", "1", (1, 1), occurred_at=at(4))
    tell(profile, did("e1", occurred_at=at(3)))
    contact = {"customer": {"id": customer["id"]}, "kind": "visit", "direction": "inbound", "notes": "cried"}
    due = (datetime.now(UTC) + timedelta(days=1)).isoformat()
    made = profile.client.post(
        "/v1/interactions", json=contact | {"occurred_at": at(2), "next_step": {"due_at": due}}
    )
    assert made.status_code == 201, made.text
    consent = {"state": "granted", "collected_at": at(1)}
    profile.client.put(f"/v1/customers/{customer['id']}/consents/marketing/email", json=consent)
    return customer


def timeline(profile, customer, **query):
    reply = profile.client.get(f"/v1/customers/{customer['id']}/timeline", params=query)
    assert reply.status_code == 200, reply.text
    return reply.json()


def test_everything_that_happened_stands_in_one_order(profile, busy):
    items = timeline(profile, busy)["items"]
    assert [item["kind"] for item in items] == ["consent", "interaction", "activity", "return", "purchase"]
    purchase = items[-1]
    assert (purchase["skus"], purchase["line_count"]) == (["A", "B"], 2)
    assert purchase["net_minor"] == purchase["total_minor"] - items[-2]["amount_minor"]
    assert "cried" not in str(items)


def test_pages_of_any_size_and_kind_leave_nothing_out(profile, busy):
    whole = timeline(profile, busy)["items"]
    for query in ({"limit": 1}, {"limit": 2}, {"limit": 2, "kind": ["purchase", "activity", "consent"]}):
        found, cursor = [], None
        while True:
            page = timeline(profile, busy, **query | ({"cursor": cursor} if cursor else {}))
            found += page["items"]
            cursor = page["next_cursor"]
            if cursor is None:
                break
        assert found == [item for item in whole if item["kind"] in query.get("kind", item["kind"])]


def test_one_call_shows_the_whole_customer(profile, busy):
    shown = profile.client.get(f"/v1/customers/{busy['id']}/overview?limit=2").json()
    assert shown["customer"]["name"] == "王芳"
    assert [(tag["tag"], tag["source"]) for tag in shown["tags"]] == [("vip", "hand")]
    assert [(one["purpose"], one["state"]) for one in shown["consents"]] == [("marketing", "granted")]
    summary = shown["summary"]
    assert (summary["purchase_count"], summary["currency"], summary["open_next_steps"]) == (1, "CNY", 1)
    assert summary["net_revenue_minor"] == 2 * 255
    assert summary["last_activity_at"] is not None
    first = shown["timeline"]
    rest = timeline(profile, busy, cursor=first["next_cursor"])
    assert [*first["items"], *rest["items"]] == timeline(profile, busy)["items"]


def test_nobody_and_the_erased_have_no_timeline(profile, busy):
    stranger = {"id": "019b0000-0000-7000-8000-000000000001"}
    for page in ("timeline", "overview"):
        assert profile.client.get(f"/v1/customers/{stranger['id']}/{page}").status_code == 404
    with profile.under_test.sessions.begin() as session:
        session.execute(text("update customer set state = 'erased'"))
    for page in ("timeline", "overview"):
        assert profile.client.get(f"/v1/customers/{busy['id']}/{page}").status_code == 410
