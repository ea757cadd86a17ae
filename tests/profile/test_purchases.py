from datetime import UTC, datetime, timedelta

import pytest

from tests.profile.conftest import LONG_AGO, NOW, code_of, line, purchase


def test_a_purchase_is_recorded_once_and_told_again_changes_nothing(profile):
    profile.customer()
    first = profile.buy(
        "1", line(quantity=6, unit_price="2.55"), line("22423", 1, "12.75", discount_minor=75)
    )
    again = profile.buy(
        "1", line(quantity=6, unit_price="2.550"), line("22423", 1, "12.75", discount_minor=75)
    )

    assert (first.status_code, again.status_code) == (201, 200)
    assert first.json() == again.json()
    assert first.json()["total_minor"] == first.json()["net_minor"] == 1530 + 1200
    assert [one["amount_minor"] for one in first.json()["lines"]] == [1530, 1200]
    assert len(profile.announced("purchase_recorded")) == 1
    assert profile.client.get("/v1/purchases/shop/1").json() == first.json()


def test_the_same_moment_in_another_time_zone_is_the_same_fact(profile):
    profile.customer()
    assert profile.buy("1", occurred_at="2026-11-20T10:00:00Z").status_code == 201
    assert profile.buy("1", occurred_at="2026-11-20T18:00:00+08:00").status_code == 200


def test_the_same_customer_by_another_name_is_the_same_fact(profile):
    customer = profile.customer()
    assert profile.buy("1").status_code == 201
    assert profile.buy("1", customer={"id": customer["id"]}).status_code == 200


@pytest.mark.parametrize(
    "changed",
    [
        {"lines": [line(quantity=7)]},
        {"lines": [line(unit_price="2.56")]},
        {"lines": [line(), line()]},
        {"lines": [line(description="white")]},
        {"occurred_at": (NOW - timedelta(hours=3)).isoformat()},
        {"channel": "store"},
        {"coupon_codes": ["WELCOME"]},
        {"customer": {"source": "shop", "external_id": "somebody else"}},
        {"customer": None},
    ],
)
def test_a_purchase_told_differently_is_refused_and_nothing_is_made(profile, changed):
    profile.buy("1")
    reply = profile.buy("1", **changed)
    assert (reply.status_code, code_of(reply)) == (409, "purchase_differs")
    assert profile.ask("select count(*) from purchase") == [(1,)]
    assert profile.ask("select count(*) from customer") == [(1,)]


def test_an_unknown_customer_is_made_if_asked_and_refused_otherwise(profile):
    refused = profile.buy("1", create_customer=False)
    assert (refused.status_code, code_of(refused)) == (422, "customer_unknown")
    assert refused.json()["errors"][0]["pointer"] == "/customer"
    assert profile.ask("select count(*) from purchase") == [(0,)]

    made = profile.buy("1")
    assert made.status_code == 201
    (registered,), (recorded,) = (
        profile.announced(kind) for kind in ("customer_registered", "purchase_recorded")
    )
    assert registered["customer_id"] == recorded["customer_id"] == made.json()["customer_id"]
    assert registered["external_ids"] == [{"source": "shop", "external_id": "17850"}]


def test_what_is_announced_is_what_events_md_promises(profile):
    customer = profile.customer()
    profile.buy(
        "1", line(category="Home", description="secret"), store="S1", staff_id="E7", coupon_codes=["A"]
    )
    event = profile.announced("purchase_recorded")[0]
    assert event["key"] == event["customer_id"] == customer["id"]
    assert event["total_minor"] == event["accounting_total_minor"] == 1530
    assert (event["store"], event["staff_id"], event["coupon_codes"]) == ("S1", "E7", ["A"])
    assert event["historical"] is False
    assert event["recorded_at"] >= event["occurred_at"]
    assert event["lines"] == [
        {
            "line": 1,
            "sku": "85123A",
            "brand": None,
            "category": "Home",
            "quantity": 6,
            "unit_price": "2.55",
            "discount_minor": 0,
            "amount_minor": 1530,
            "accounting_amount_minor": 1530,
            "unit_cost_minor": None,
        }
    ]


def test_an_old_purchase_is_historical_and_so_is_the_customer_it_makes(profile):
    reply = profile.buy("1", occurred_at=LONG_AGO)
    assert reply.json()["historical"] is True
    told = [*profile.announced("customer_registered"), *profile.announced("purchase_recorded")]
    assert [event["historical"] for event in told] == [True, True]
    registered = profile.announced("customer_registered")[0]
    assert registered["registered_at"] == LONG_AGO


def test_an_anonymous_purchase_has_its_own_id_as_key(profile):
    reply = profile.buy("1", customer=None)
    assert reply.status_code == 201
    event = profile.announced("purchase_recorded")[0]
    assert event["customer_id"] is None
    assert event["key"] == reply.json()["id"]
    assert profile.buy("1", customer=None).status_code == 200


def test_prices_with_three_decimals_round_half_away_from_zero_per_line(profile):
    reply = profile.buy("1", line(quantity=1, unit_price="0.125"), line(quantity=3, unit_price="0.165"))
    assert [one["amount_minor"] for one in reply.json()["lines"]] == [13, 50]


@pytest.mark.parametrize(("currency", "amount"), [("JPY", 8), ("CNY", 750), ("KWD", 7500)])
def test_amounts_are_in_the_minor_units_of_their_currency(profile, currency, amount):
    reply = profile.buy("1", line(quantity=3, unit_price="2.5"), currency=currency)
    assert reply.json()["total_minor"] == amount


def test_the_first_purchase_fixes_the_accounting_currency(profile):
    assert profile.buy("1", currency="GBP").status_code == 201
    reply = profile.buy("2", currency="CNY")
    assert (reply.status_code, code_of(reply)) == (422, "exchange_rate_required")
    assert profile.buy("3", currency="GBP").status_code == 201


def test_a_refused_first_purchase_fixes_nothing(profile):
    assert profile.buy("1", currency="USD", create_customer=False).status_code == 422
    assert profile.buy("2", currency="GBP").status_code == 201
    assert profile.ask("select currency from accounting") == [("GBP",)]


def test_the_currency_of_the_settings_comes_first(service):
    from services.profile.app import SERVICE

    client = service(SERVICE, currency="EUR").client
    reply = client.put("/v1/purchases/shop/1", json=purchase(currency="GBP"))
    assert (reply.status_code, reply.json()["code"]) == (422, "exchange_rate_required")


def test_an_amount_in_another_currency_has_a_twin_rounded_once(profile):
    profile.buy("1", currency="CNY")
    reply = profile.buy(
        "2",
        line(quantity=1, unit_price="100"),
        line(quantity=1, unit_price="0.5"),
        currency="JPY",
        exchange_rate="0.0465",
    )
    assert reply.status_code == 201
    body = reply.json()
    assert [one["amount_minor"] for one in body["lines"]] == [100, 1]
    assert [one["accounting_amount_minor"] for one in body["lines"]] == [465, 5]
    assert (body["total_minor"], body["accounting_total_minor"]) == (101, 470)
    assert profile.announced("purchase_recorded")[1]["exchange_rate"] == "0.0465"
    again = profile.buy(
        "2",
        line(quantity=1, unit_price="100"),
        line(quantity=1, unit_price="0.5"),
        currency="JPY",
        exchange_rate="0.04650",
    )
    assert again.status_code == 200


def test_a_rate_in_the_accounting_currency_must_be_one(profile):
    profile.buy("1")
    assert profile.buy("2", exchange_rate="1.0").status_code == 201
    assert profile.buy("2").status_code == 200
    assert code_of(profile.buy("3", exchange_rate="1.1")) == "exchange_rate_unexpected"


@pytest.mark.parametrize(
    ("changed", "code"),
    [
        ({"occurred_at": (NOW + timedelta(days=3)).isoformat()}, "occurred_in_the_future"),
        ({"currency": "XXY"}, "currency_unknown"),
        ({"lines": [line(discount_minor=1531)]}, "discount_exceeds_amount"),
        ({"lines": [line(quantity=2**31 - 1, unit_price="9999999999999")]}, "amount_too_large"),
        ({"customer": {"id": "01939d2c-0000-7000-8000-000000000000"}}, "customer_unknown"),
    ],
)
def test_what_cannot_be_is_refused_with_its_reason(profile, changed, code):
    reply = profile.buy("1", **changed)
    assert (reply.status_code, code_of(reply)) == (422, code)
    assert profile.ask("select (select count(*) from purchase), (select count(*) from customer)") == [(0, 0)]
    assert profile.announced() == []


@pytest.mark.parametrize(
    "changed",
    [
        {"occurred_at": "2026-11-20T10:00:00"},
        {"occurred_at": 1_763_632_800},
        {"occurred_at": "1763632800"},
        {"currency": "cny"},
        {"lines": []},
        {"lines": [line(quantity=0)]},
        {"lines": [line(quantity=-1)]},
        {"lines": [line(quantity="6")]},
        {"lines": [line(unit_price=2.55)]},
        {"lines": [line(unit_price="-1")]},
        {"lines": [line(unit_price="1e3")]},
        {"lines": [line(sku="a\u0000b")]},
        {"lines": [line(discount_minor=-1)]},
        {"customer": {"source": "shop"}},
        {"exchange_rate": "0"},
    ],
)
def test_a_body_of_another_form_is_refused(profile, changed):
    assert profile.buy("1", **changed).status_code == 422


def test_a_longest_order_fits_into_its_event(profile):
    reply = profile.buy("1", *(line(sku=f"{number:06}", description="x" * 200) for number in range(1_114)))
    assert reply.status_code == 201
    assert len(profile.announced("purchase_recorded")[0]["lines"]) == 1_114


def test_an_order_too_large_for_an_event_is_refused_whole(profile):
    reply = profile.buy(
        "1", *(line(sku="S" * 200, brand="B" * 100, category="C" * 200) for _ in range(2_000))
    )
    assert (reply.status_code, code_of(reply)) == (422, "event_too_large")
    assert profile.ask("select count(*) from purchase") == [(0,)]


def test_a_customers_purchases_are_listed_latest_first_in_pages(profile):
    customer = profile.customer()
    for day in range(5):
        profile.buy(
            f"{day}", occurred_at=(datetime(2026, 11, 10, tzinfo=UTC) + timedelta(days=day)).isoformat()
        )
    seen, cursor = [], None
    while True:
        url = f"/v1/customers/{customer['id']}/purchases?limit=2" + (f"&cursor={cursor}" if cursor else "")
        reply = profile.client.get(url).json()
        seen += [one["external_id"] for one in reply["items"]]
        cursor = reply["next_cursor"]
        if cursor is None:
            break
    assert seen == ["4", "3", "2", "1", "0"]
