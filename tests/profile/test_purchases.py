import threading
from concurrent.futures import ThreadPoolExecutor
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
    registered, recorded = profile.announced()
    assert (registered["type"], recorded["type"]) == ("customer_registered", "purchase_recorded")
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
    assert [event["historical"] for event in profile.announced()] == [True, True]
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


def test_a_batch_answers_each_item_and_keeps_the_good_ones(profile):
    profile.buy("known")
    items = [
        {"source": "shop", "external_id": "new"} | purchase(),
        {"source": "shop", "external_id": "known"} | purchase(),
        {"source": "shop", "external_id": "known"} | purchase(line(quantity=9)),
        {"source": "shop", "external_id": "stranger"}
        | purchase(customer={"source": "shop", "external_id": "nobody"}, create_customer=False),
        {"source": "shop", "external_id": "new"} | purchase(),
        {"source": "shop", "external_id": "new"} | purchase(line(quantity=2)),
        {"source": "shop", "external_id": "dear"}
        | purchase(line(quantity=2**31 - 1, unit_price="9999999999999")),
        {"source": "shop", "external_id": "made"}
        | purchase(customer={"source": "shop", "external_id": "fresh"}),
    ]
    reply = profile.client.post("/v1/purchases/batch", json={"items": items})
    assert reply.status_code == 207
    answers = reply.json()["items"]
    assert [one["status"] for one in answers] == [201, 200, 409, 422, 200, 409, 422, 201]
    assert answers[0]["id"] == answers[4]["id"]
    assert answers[3]["problem"]["code"] == "customer_unknown"
    assert answers[6]["problem"]["code"] == "amount_too_large"
    assert profile.ask("select external_id from purchase order by 1") == [("known",), ("made",), ("new",)]
    assert profile.ask("select external_id from customer_external_id order by 1") == [("17850",), ("fresh",)]
    assert len(profile.announced("purchase_recorded")) == 3
    profile.holds()


def test_one_item_too_large_for_its_event_does_not_spoil_the_batch(profile):
    lines = [line(sku="S" * 200, brand="B" * 100, category="C" * 200) for _ in range(2_000)]
    items = [
        {"source": "shop", "external_id": "large"} | purchase(*lines),
        {"source": "shop", "external_id": "small"} | purchase(),
    ]
    answers = profile.client.post("/v1/purchases/batch", json={"items": items}).json()["items"]
    assert [one["status"] for one in answers] == [422, 201]
    assert answers[0]["problem"]["code"] == "event_too_large"
    assert profile.ask("select external_id from purchase") == [("small",)]


def test_a_batch_of_one_purchase_many_times_records_it_once(profile):
    items = [{"source": "shop", "external_id": "1"} | purchase() for _ in range(1_000)]
    answers = profile.client.post("/v1/purchases/batch", json={"items": items}).json()["items"]
    assert [one["status"] for one in answers] == [201] + [200] * 999
    assert len(profile.announced("purchase_recorded")) == 1


def test_a_batch_of_many_is_told_as_many_singles_would_be(profile):
    items = [
        {"source": "shop", "external_id": f"{n}"}
        | purchase(customer={"source": "shop", "external_id": f"c{n % 7}"})
        for n in range(300)
    ]
    reply = profile.client.post("/v1/purchases/batch", json={"items": items})
    assert {one["status"] for one in reply.json()["items"]} == {201}
    assert profile.ask("select count(*) from purchase_line") == [(300,)]
    assert {
        one["status"]
        for one in profile.client.post("/v1/purchases/batch", json={"items": items}).json()["items"]
    } == {200}
    assert profile.client.get("/v1/purchases/shop/7").json()["total_minor"] == 1530
    profile.holds()


def at_once(work, count=8):
    """``work(number)`` in as many threads, started together; their results."""
    barrier = threading.Barrier(count)

    def run(number):
        barrier.wait()
        return work(number)

    with ThreadPoolExecutor(count) as pool:
        return list(pool.map(run, range(count)))


def test_one_new_purchase_of_one_new_customer_told_by_many_at_once_is_recorded_once(committing):
    for order in range(12):
        replies = at_once(
            lambda _, order=order: committing.buy(
                f"{order}", customer={"source": "shop", "external_id": f"c{order}"}
            )
        )
        assert sorted(reply.status_code for reply in replies) == [200] * 7 + [201]
        assert len({reply.json()["id"] for reply in replies}) == 1
    assert committing.ask("select count(*) from purchase") == [(12,)]
    assert committing.ask("select count(*) from customer") == [(12,)]
    assert len(committing.announced("purchase_recorded")) == 12
    assert len(committing.announced("customer_registered")) == 12
    committing.holds()


def test_of_two_versions_told_at_once_one_stands_and_the_others_are_refused(committing):
    committing.customer()
    for order in range(8):
        replies = at_once(lambda number, order=order: committing.buy(f"{order}", line(quantity=number + 1)))
        assert sorted(reply.status_code for reply in replies) == [201] + [409] * 7
    assert len(committing.announced("purchase_recorded")) == 8


def test_many_purchases_of_one_new_customer_at_once_make_one_customer(committing):
    replies = at_once(lambda number: committing.buy(f"{number}"))
    assert {reply.status_code for reply in replies} == {201}
    assert len({reply.json()["customer_id"] for reply in replies}) == 1
    assert committing.ask("select count(*) from customer") == [(1,)]


def test_two_first_purchases_in_two_currencies_agree_on_one(committing):
    replies = at_once(lambda number: committing.buy(f"{number}", currency=["CNY", "GBP"][number % 2]))
    assert sorted(reply.status_code for reply in replies) == [201] * 4 + [422] * 4
    assert len({reply.json()["currency"] for reply in replies if reply.status_code == 201}) == 1
    committing.holds()


def test_batches_that_overlap_in_opposite_orders_do_not_deadlock(committing):
    names = [f"{number:03}" for number in range(100)]

    def send(number):
        order = names if number % 2 else names[::-1]
        items = [
            {"source": "shop", "external_id": name}
            | purchase(customer={"source": "shop", "external_id": f"c{name}"})
            for name in order
        ]
        return committing.client.post("/v1/purchases/batch", json={"items": items})

    replies = at_once(send, 4)
    assert {reply.status_code for reply in replies} == {207}
    statuses = [one["status"] for reply in replies for one in reply.json()["items"]]
    assert (statuses.count(201), statuses.count(200)) == (100, 300)
    assert committing.ask("select count(*) from purchase") == [(100,)]
    committing.holds()


def test_a_lost_connection_is_an_unavailable_database_and_the_next_request_finds_another(committing):
    for number in range(3):
        committing.buy(f"before-{number}")
    with committing.under_test.engine.connect() as killer:
        killer.exec_driver_sql(
            "select pg_terminate_backend(pid) from pg_stat_activity"
            " where datname = current_database() and pid <> pg_backend_pid()"
        )
    replies = [committing.buy(f"after-{number}") for number in range(40)]
    assert {reply.status_code for reply in replies} <= {201, 503}
    assert replies[-1].status_code == 201
    recorded = committing.ask("select count(*) from purchase where external_id like 'after-%'")[0][0]
    assert recorded == sum(reply.status_code == 201 for reply in replies)
    assert recorded == len(committing.announced("purchase_recorded")) - 3
