"""What was shipped, promised and delivered, and who still waits."""

from datetime import UTC, datetime, timedelta

import pytest

from tests.profile.conftest import NOW, code_of

TODAY = NOW.date()


def put(profile, order="1", **fields):
    return profile.client.put(f"/v1/purchases/shop/{order}/fulfilment", json=fields)


def day(days):
    return (TODAY + timedelta(days=days)).isoformat()


def at(days, hour=12):
    moment = datetime.combine(TODAY, datetime.min.time(), UTC) + timedelta(days=days, hours=hour)
    return moment.isoformat().replace("+00:00", "Z")


def listed(profile, query):
    return [one["external_id"] for one in profile.client.get(f"/v1/fulfilments?{query}").json()["items"]]


def test_a_purchase_is_shipped_then_delivered_and_the_delivery_is_announced_once(profile):
    bought = profile.buy("1").json()
    first = put(profile, shipped_at=at(-3), promised_on=day(-1), carrier="SF", tracking_number="SF1")
    again = put(profile, shipped_at=at(-3))
    arrived = put(profile, delivered_at=at(-1))
    once_more = put(profile, delivered_at=at(-1), carrier="SF")
    assert [reply.status_code for reply in (first, again, arrived, once_more)] == [201, 200, 200, 200]
    assert again.json() == first.json()
    body = arrived.json()
    assert (body["carrier"], body["tracking_number"], body["late"]) == ("SF", "SF1", False)
    assert profile.client.get("/v1/purchases/shop/1/fulfilment").json() == body

    (event,) = profile.announced("purchase_delivered")
    assert event["key"] == event["customer_id"] == bought["customer_id"]
    assert (event["purchase_id"], event["external_id"], event["late"]) == (bought["id"], "1", False)
    assert (event["occurred_at"], event["shipped_at"], event["promised_on"]) == (at(-1), at(-3), day(-1))
    assert "SF1" not in str(event)


def test_a_delivery_told_otherwise_is_refused(profile):
    profile.buy("1")
    put(profile, delivered_at=at(-1))
    assert code_of(put(profile, delivered_at=at(-2))) == "fulfilment_differs"
    assert code_of(put(profile, delivered_at=None)) == "fulfilment_differs"
    assert put(profile, carrier="DHL").json()["delivered_at"] == at(-1)
    assert len(profile.announced("purchase_delivered")) == 1


@pytest.mark.parametrize(
    ("fields", "status", "code"),
    [
        ({"shipped_at": at(-1), "delivered_at": at(-2)}, 422, "delivered_before_shipped"),
        ({"delivered_at": at(5)}, 422, "occurred_in_the_future"),
        ({"promised_on": "tomorrow"}, 422, "validation_failed"),
    ],
)
def test_what_cannot_have_happened_is_refused(profile, fields, status, code):
    profile.buy("1")
    reply = put(profile, **fields)
    assert (reply.status_code, code_of(reply)) == (status, code)
    assert code_of(profile.client.get("/v1/purchases/shop/1/fulfilment")) == "fulfilment_not_found"


def test_nothing_is_told_of_a_purchase_that_is_unknown_or_called_off(profile):
    assert code_of(put(profile, "unknown", shipped_at=at(-1))) == "purchase_not_found"
    assert code_of(profile.client.get("/v1/purchases/shop/unknown/fulfilment")) == "purchase_not_found"
    profile.buy("1")
    profile.client.put("/v1/purchases/shop/1/cancellation", json={"occurred_at": at(-1)})
    assert code_of(put(profile, shipped_at=at(-1))) == "purchase_cancelled"


def test_late_ones_are_listed_by_the_day_promised(profile):
    for order in ("came late", "came in time", "overdue", "under way", "unpromised", "called off"):
        profile.buy(order)
    put(profile, "came late", promised_on=day(-5), delivered_at=at(-4), carrier="SF")
    put(profile, "came in time", promised_on=day(-4), delivered_at=at(-4))
    put(profile, "overdue", promised_on=day(-3), shipped_at=at(-6))
    put(profile, "under way", promised_on=day(0))
    put(profile, "unpromised", shipped_at=at(-9))
    put(profile, "called off", promised_on=day(-9))
    profile.client.put("/v1/purchases/shop/called off/cancellation", json={"occurred_at": at(-1)})
    assert listed(profile, "late=true") == ["came late", "overdue"]
    assert listed(profile, "late=true&delivered=false") == ["overdue"]
    assert listed(profile, "late=false") == ["came in time", "under way"]
    assert listed(profile, "carrier=SF") == ["came late"]
    page = profile.client.get("/v1/fulfilments?limit=3").json()
    rest = listed(profile, f"limit=3&cursor={page['next_cursor']}")
    assert [one["external_id"] for one in page["items"]] + rest == [
        "came late", "came in time", "overdue", "under way",
    ]  # fmt: skip


def test_a_day_is_the_deployments_own(service):
    from services.profile.app import SERVICE
    from tests.profile.conftest import Profile

    shanghai = Profile(service(SERVICE, time_zone="Asia/Shanghai"))
    shanghai.buy("1")
    # 17:00 UTC is one o'clock of the next day there.
    assert put(shanghai, promised_on=day(-3), delivered_at=at(-3, hour=17)).json()["late"] is True


def test_a_tracking_number_lies_sealed_and_is_shown_to_whoever_may_see_it(committing):
    committing.buy("1")
    committing.buy("2", customer=None)
    for order in "12":
        put(committing, order, tracking_number="SF777")
    (one,), (two,) = committing.ask("select tracking_number_sealed from fulfilment")
    assert b"SF777" not in bytes(one) + bytes(two)
    assert committing.client.get("/v1/purchases/shop/2/fulfilment").json()["tracking_number"] == "SF777"
    key = committing.client.post("/v1/api-keys", json={"name": "shop", "scopes": ["purchases:read"]}).json()[
        "key"
    ]
    seen = committing.under_test.stranger.get(
        "/v1/purchases/shop/1/fulfilment", headers={"Authorization": f"Bearer {key}"}
    ).json()
    assert (seen["personal_data"], seen["tracking_number"]) == ("withheld", None)
