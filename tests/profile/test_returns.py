from datetime import timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.profile.rules.returns import share
from tests.profile.conftest import LONG_AGO, NOW, YESTERDAY, at_once, code_of, line


def test_a_return_takes_back_its_part_and_the_purchase_shows_it(profile):
    profile.buy("1", line(quantity=6, unit_price="2.55"), line("22423", 1, "12.75"))
    reply = profile.bring_back("R1", "1", (1, 2))
    assert reply.status_code == 201
    body = reply.json()
    assert (body["amount_minor"], body["net_left_minor"]) == (510, 1530 + 1275 - 510)

    purchase = profile.client.get("/v1/purchases/shop/1").json()
    assert (purchase["total_minor"], purchase["net_minor"]) == (2805, 2295)
    assert [one["id"] for one in purchase["returns"]] == [body["id"]]
    assert [one["returned_quantity"] for one in purchase["lines"]] == [2, 0]
    event = profile.announced("purchase_returned")[0]
    assert event["key"] == purchase["customer_id"]
    assert (event["purchase_id"], event["amount_minor"], event["net_left_minor"]) == (
        purchase["id"],
        510,
        2295,
    )
    assert event["lines"] == [
        {"line": 1, "sku": "85123A", "quantity": 2, "amount_minor": 510, "accounting_amount_minor": 510}
    ]
    profile.holds()


def test_a_return_told_again_changes_nothing_and_told_differently_is_refused(profile):
    profile.buy("1")
    first = profile.bring_back("R1", "1", (1, 2))
    again = profile.bring_back("R1", "1", (1, 2))
    other = profile.bring_back("R1", "1", (1, 3))
    assert (first.status_code, again.status_code, other.status_code) == (201, 200, 409)
    assert first.json() == again.json()
    assert code_of(other) == "return_differs"
    assert len(profile.announced("purchase_returned")) == 1


def test_several_partial_returns_add_up_to_the_lines_amount_exactly(profile):
    profile.buy("1", line(quantity=3, unit_price="0.335", discount_minor=1))
    amounts = [profile.bring_back(f"R{n}", "1", (1, 1)).json()["amount_minor"] for n in range(3)]
    assert amounts == [33, 34, 33]
    assert profile.client.get("/v1/purchases/shop/1").json()["net_minor"] == 0
    profile.holds()


def test_never_more_comes_back_than_was_bought(profile):
    profile.buy("1", line(quantity=3))
    assert profile.bring_back("R1", "1", (1, 2)).status_code == 201
    reply = profile.bring_back("R2", "1", (1, 2))
    assert (reply.status_code, code_of(reply)) == (409, "return_exceeds_purchase")
    assert profile.bring_back("R3", "1", (1, 1)).status_code == 201
    assert profile.ask("select count(*) from purchase_return") == [(2,)]
    profile.holds()


@pytest.mark.parametrize(
    ("order", "lines", "fields", "code"),
    [
        ("unheard of", [(1, 1)], {}, "purchase_unknown"),
        ("1", [(2, 1)], {}, "line_unknown"),
        ("1", [(1, 1), (1, 1)], {}, "line_repeated"),
        ("1", [(1, 1)], {"replacement": {"source": "shop", "external_id": "no"}}, "replacement_unknown"),
        ("1", [(1, 1)], {"occurred_at": (NOW + timedelta(days=3)).isoformat()}, "occurred_in_the_future"),
    ],
)
def test_a_return_that_fits_nothing_is_refused_with_its_reason(profile, order, lines, fields, code):
    profile.buy("1")
    reply = profile.bring_back("R1", order, *lines, **fields)
    assert (reply.status_code, code_of(reply)) == (422, code)
    assert profile.ask("select count(*) from purchase_return") == [(0,)]


def test_an_exchange_names_the_purchase_that_replaces(profile):
    profile.buy("1")
    second = profile.buy("2").json()
    reply = profile.bring_back("R1", "1", (1, 6), replacement={"source": "shop", "external_id": "2"})
    assert reply.json()["replacement_purchase_id"] == second["id"]
    assert profile.announced("purchase_returned")[0]["replacement_purchase_id"] == second["id"]


def test_a_return_in_another_currency_reverses_both_amounts_exactly(profile):
    profile.buy("0", currency="CNY")
    profile.buy("1", line(quantity=3, unit_price="1"), currency="JPY", exchange_rate="0.0465")
    bought = profile.client.get("/v1/purchases/shop/1").json()
    parts = [profile.bring_back(f"R{n}", "1", (1, 1)).json() for n in range(3)]
    assert sum(part["accounting_amount_minor"] for part in parts) == bought["accounting_total_minor"] == 14
    assert parts[-1]["accounting_net_left_minor"] == 0
    profile.holds()


def unmatched(profile, external_id, **fields):
    body = {
        "customer": {"source": "shop", "external_id": "17850"},
        "occurred_at": YESTERDAY,
        "lines": [{"sku": "85123A", "quantity": 2, "unit_price": "2.55"}],
    }
    return profile.client.put(f"/v1/returns/shop/{external_id}", json=body | fields)


def test_a_return_that_names_no_purchase_is_accepted_and_shown_for_review(profile):
    customer = profile.customer()
    profile.buy("1")
    profile.bring_back("R1", "1", (1, 1))
    reply = unmatched(profile, "R2")
    assert reply.status_code == 201
    body = reply.json()
    assert (body["purchase_id"], body["customer_id"], body["amount_minor"]) == (None, customer["id"], 510)
    assert (body["net_left_minor"], body["currency"]) == (None, "CNY")
    event = profile.announced("purchase_returned")[1]
    assert (event["purchase_id"], event["amount_minor"], event["lines"][0]["line"]) == (None, 510, None)
    for_review = profile.client.get("/v1/returns?matched=false").json()["items"]
    assert [one["external_id"] for one in for_review] == ["R2"]
    assert unmatched(profile, "R2").status_code == 200
    assert code_of(unmatched(profile, "R2", occurred_at=LONG_AGO)) == "return_differs"
    profile.holds()


def test_an_unmatched_return_of_a_stranger_makes_the_customer_if_asked(profile):
    profile.buy("1", customer=None)
    assert code_of(unmatched(profile, "R1")) == "customer_unknown"
    assert unmatched(profile, "R1", create_customer=True).status_code == 201
    assert unmatched(profile, "R1").status_code == 200
    assert len(profile.announced("customer_registered")) == 1


def test_an_unmatched_return_before_any_purchase_names_its_currency(profile):
    profile.customer()
    assert code_of(unmatched(profile, "R1")) == "currency_required"
    assert unmatched(profile, "R1", currency="GBP").status_code == 201
    assert unmatched(profile, "R1").status_code == 200


def test_an_anonymous_return_has_a_key_of_its_own(profile):
    profile.buy("1", customer=None)
    returned = unmatched(profile, "R1", customer=None).json()
    assert profile.announced("purchase_returned")[0]["key"] == returned["id"]
    purchase = profile.client.get("/v1/purchases/shop/1").json()
    profile.bring_back("R2", "1", (1, 1))
    assert profile.announced("purchase_returned")[1]["key"] == purchase["id"]


def test_racing_returns_never_take_back_more_than_was_bought(committing):
    for order in range(6):
        committing.buy(f"{order}", line(quantity=5))
        replies = at_once(
            lambda number, order=order: committing.bring_back(f"R{order}-{number}", f"{order}", (1, 1))
        )
        assert sorted(reply.status_code for reply in replies) == [201] * 5 + [409] * 3
        assert committing.client.get(f"/v1/purchases/shop/{order}").json()["net_minor"] == 0
    left = [event["net_left_minor"] for event in committing.announced("purchase_returned")]
    assert sorted(left[:5], reverse=True) == left[:5]
    committing.holds()


def test_one_return_told_by_many_at_once_is_recorded_once(committing):
    committing.buy("1", line(quantity=100))
    for number in range(8):
        replies = at_once(lambda _, number=number: committing.bring_back(f"R{number}", "1", (1, 3)))
        assert sorted(reply.status_code for reply in replies) == [200] * 7 + [201]
    assert committing.client.get("/v1/purchases/shop/1").json()["lines"][0]["returned_quantity"] == 24
    committing.holds()


def test_one_name_for_returns_of_two_purchases_at_once_goes_to_one_of_them(committing):
    committing.buy("a")
    committing.buy("b")
    for number in range(6):
        replies = at_once(
            lambda racer, number=number: committing.bring_back(f"R{number}", "ab"[racer % 2], (1, 1)), 2
        )
        assert sorted(reply.status_code for reply in replies) == [201, 409]
    committing.holds()


@given(
    amount=st.integers(0, 10**15),
    parts=st.lists(st.integers(1, 10_000), min_size=1, max_size=30),
    left=st.integers(0, 10_000),
)
def test_parts_add_up_in_whatever_steps(amount, parts, left):
    bought = sum(parts) + left
    reversed_, before = 0, 0
    for part in parts:
        taken = share(amount, bought, before, part)
        assert 0 <= taken <= amount
        reversed_, before = reversed_ + taken, before + part
        # At no moment further than half a minor unit from the exact part.
        assert abs(2 * (reversed_ * bought - amount * before)) <= bought
    assert reversed_ + share(amount, bought, before, left) == amount
