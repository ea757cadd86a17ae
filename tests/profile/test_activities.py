import threading
from datetime import UTC, datetime, timedelta
from uuid import UUID

import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.profile.app import SERVICE
from services.profile.domain import activities
from services.profile.jobs import forget_activities
from services.profile.rules.activities import coarse_page
from shared.jobs.schedule import Context
from tests.profile.conftest import YESTERDAY, Profile, line

WANG = {"source": "shop", "external_id": "17850"}


def did(external_id="e1", type_="product_view", **fields):
    fields = {"source": "web", "external_id": external_id} | fields
    return {"type": type_, "occurred_at": YESTERDAY, "customer": WANG, "sku": "85123A"} | fields


def anonymously(external_id="e1", device="d-1", **fields):
    return did(external_id, customer=None, device_id=device, **fields)


def tell(profile, *items):
    reply = profile.client.post("/v1/activities/batch", json={"items": list(items)})
    assert reply.status_code == 207, reply.text
    return reply.json()["items"]


def statuses(profile, *items):
    return [item["status"] for item in tell(profile, *items)]


def theirs(profile, customer, **query):
    reply = profile.client.get(f"/v1/customers/{customer['id']}/activities", params=query)
    assert reply.status_code == 200, reply.text
    return reply.json()["items"]


def attach(profile, customer, *devices):
    with profile.under_test.sessions.begin() as session:
        return activities.attach(session, devices, UUID(customer["id"]))


@pytest.fixture
def wang(profile):
    return profile.customer(name="王芳")


def test_an_activity_told_again_changes_nothing_and_told_differently_is_refused(profile, wang):
    own = "019b0000-0000-7000-8000-000000000001"
    by_id = did(source=None, external_id=None, id=own)
    assert statuses(profile, did(), by_id, did()) == [201, 201, 200]
    assert statuses(profile, did(), by_id, did(sku="22423"), by_id | {"quantity": 2}) == [200, 200, 409, 409]
    assert [one["sku"] for one in theirs(profile, wang)] == ["85123A", "85123A"]


def test_each_of_a_batch_stands_or_falls_alone(profile, wang):
    codes = [
        item.get("problem", {}).get("code")
        for item in tell(
            profile,
            did("ok"),
            did("1", customer={"source": "shop", "external_id": "nobody"}),
            did("2", type_="levitation"),
            did("3", occurred_at="2011-12-09T12:50:00Z"),
            did("4", occurred_at=(datetime.now(UTC) + timedelta(days=3)).isoformat()),
            did("5", customer=None),
            did(None, source=None),
            did("6", properties={"mood": "fine"}),
        )
    ]
    assert codes == [
        None,
        "customer_unknown",
        "activity_type_unknown",
        "activity_too_old",
        "occurred_in_the_future",
        "activity_of_nobody",
        "activity_unnamed",
        "property_undefined",
    ]


def test_a_type_of_the_companys_own_carries_what_it_defines(profile, wang):
    definition = {"properties": {"seconds": {"kind": "number"}, "plan": {"kind": "code", "values": ["free"]}}}
    assert profile.client.put("/v1/activity-types/video_watched", json=definition).status_code == 200
    assert profile.client.put("/v1/activity-types/search", json=definition).status_code == 409
    fits = did("1", "video_watched", properties={"seconds": 12.5, "plan": "free"})
    assert statuses(profile, fits, did("2", "video_watched", properties={"plan": "Wang Fang"})) == [201, 422]
    assert theirs(profile, wang)[0]["properties"] == {"plan": "free", "seconds": 12.5}
    [listed] = profile.client.get("/v1/activity-types").json()["items"]
    assert (listed["name"], listed["properties"]["plan"]["values"]) == ("video_watched", ["free"])


def test_known_customers_activities_are_announced_together_and_nobody_elses(profile, wang):
    li = profile.customer("li")
    tell(profile, did("1"), did("2"), did("3", customer={"id": li["id"]}), anonymously("4"))
    first, second = profile.announced("activity_recorded")
    assert {event["key"]: len(event["activities"]) for event in (first, second)} == {
        wang["id"]: 2,
        li["id"]: 1,
    }
    assert profile.ask("select distinct topic from shared.outbox where type like '%activity%'") == [
        ("regulars.profile.activity.v1",)
    ]
    assert "query" not in first["activities"][0]


def test_on_logging_in_what_the_device_did_is_theirs_once(profile, wang):
    li = profile.customer("li")
    tell(profile, anonymously("1"), anonymously("2", query="a gift for Ms Li"), anonymously("3", "d-2"))
    assert theirs(profile, wang) == []
    assert (attach(profile, wang, "d-1"), attach(profile, li, "d-1")) == (2, 0)
    assert len(theirs(profile, wang)) == 2
    [event] = profile.announced("activity_recorded")
    assert (event["attached"], event["key"], len(event["activities"])) == (True, wang["id"], 2)
    assert statuses(profile, anonymously("1")) == [200]


def test_neither_devices_nor_searches_nor_addresses_stand_in_the_clear(profile, wang):
    page = "https://shop.example/users/wang.fang@example.com/orders/12345678?q=secret"
    tell(
        profile,
        did("1", "search", query="王芳的生日礼物", device_id="device-of-wang", page=page),
        anonymously("2", "device-of-wang", query="anonymous wish"),
    )
    rows = str(profile.ask("select activity::text from activity"))
    for secret in (
        "device-of-wang",
        "wish",
        "王芳",
        "wang.fang",
        "12345678",
        "secret",
        b"device-of-wang".hex(),
    ):
        assert secret not in rows
    known = next(one for one in theirs(profile, wang) if one["type"] == "search")
    assert (known["query"], known["page"]) == ("王芳的生日礼物", "/users/:id/orders/:id")
    assert profile.ask("select count(*) from activity where query_sealed is not null") == [(1,)]
    assert profile.ask("select count(distinct device_token) from activity") == [(1,)]


def test_behaviour_is_forgotten_after_its_time(service):
    profile = Profile(service(SERVICE, activity_kept_days=10))
    customer = profile.customer()
    tell(profile, did("old"), did("new", occurred_at=datetime.now(UTC).isoformat()))
    with profile.under_test.sessions.begin() as session:
        session.connection().exec_driver_sql(
            "update activity set occurred_at = now() - interval '11 days' where external_id = 'old'"
        )
    under_test = profile.under_test
    forget_activities(Context(under_test.settings, under_test.sessions, under_test.engine))
    assert len(theirs(profile, customer)) == 1


def browsed(profile, **query):
    reply = profile.client.get("/v1/reports/browsed-not-bought", params=query)
    assert reply.status_code == 200, reply.text
    return reply.json()


def test_who_looked_twice_and_did_not_buy_is_known(profile, wang):
    li = profile.customer("li")
    for number, (who, sku) in enumerate([("17850", "A"), ("17850", "B"), ("li", "A"), ("17850", "C")]):
        customer = {"source": "shop", "external_id": who}
        views = 1 if sku == "C" else 3
        tell(profile, *(did(f"{number}-{n}", sku=sku, customer=customer) for n in range(views)))
    tell(profile, did("cart", "add_to_cart", sku="C"), anonymously("d1", sku="A"), anonymously("d2", sku="A"))
    profile.buy("1", line("B"))
    found = browsed(profile)["items"]
    assert {(one["sku"], one["customer_id"], one["views"]) for one in found} == {
        ("A", wang["id"], 3),
        ("A", li["id"], 3),
    }
    assert {one["sku"] for one in browsed(profile, views=1, sku=["B", "C"])["items"]} == {"C"}
    first = browsed(profile, limit=1)
    second = browsed(profile, limit=1, cursor=first["next_cursor"])
    assert [*first["items"], *second["items"]] == found
    assert second["next_cursor"] is None


def test_activities_come_in_pages_and_by_type(profile, wang):
    times = [(datetime.now(UTC) - timedelta(hours=hours)).isoformat() for hours in range(4)]
    tell(
        profile,
        *(did(str(n), occurred_at=time) for n, time in enumerate(times)),
        did("s", "search", sku=None),
    )
    assert [one["type"] for one in theirs(profile, wang, type="search")] == ["search"]
    reply = profile.client.get(f"/v1/customers/{wang['id']}/activities?limit=3").json()
    rest = profile.client.get(
        f"/v1/customers/{wang['id']}/activities", params={"limit": 3, "cursor": reply["next_cursor"]}
    ).json()
    assert (len(reply["items"]), len(rest["items"]), rest["next_cursor"]) == (3, 2, None)


@given(st.text(min_size=1, max_size=60))
def test_a_page_never_keeps_an_address_a_query_or_a_long_number(page):
    kept = coarse_page(page + "/wang@example.com/1234567?x=1#y")
    assert kept is not None
    assert not {"@", "?", "#"} & set(kept)
    assert "1234567" not in kept


def test_the_same_batch_told_at_once_by_several_is_recorded_once(committing):
    profile = committing
    profile.customer()
    batch = [did(str(number)) for number in range(40)] + [anonymously(f"d{number}") for number in range(10)]
    answers = []
    threads = [threading.Thread(target=lambda: answers.append(statuses(profile, *batch))) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert [sorted(codes) for codes in zip(*answers, strict=True)] == [[200, 200, 200, 201]] * 50
    assert sum(len(event["activities"]) for event in profile.announced("activity_recorded")) == 40
