"""A whole purchase called off: exactly what had not come back is reversed."""

from tests.profile.conftest import LONG_AGO, YESTERDAY, at_once, code_of, line


def cancel(profile, order="1", **fields):
    return profile.client.put(
        f"/v1/purchases/shop/{order}/cancellation", json={"occurred_at": YESTERDAY} | fields
    )


def test_a_cancellation_reverses_what_has_not_come_back_and_is_told_once(profile):
    profile.buy("1", line(quantity=3, unit_price="1"), line("22423", 1, "7"))
    profile.bring_back("R1", "1", (1, 1))
    first = cancel(profile, reason="out_of_stock")
    again = cancel(profile, reason="out_of_stock")
    assert (first.status_code, again.status_code) == (201, 200)
    assert first.json() == again.json() == profile.client.get("/v1/purchases/shop/1/cancellation").json()
    assert (first.json()["amount_minor"], first.json()["accounting_amount_minor"]) == (900, 900)
    shown = profile.client.get("/v1/purchases/shop/1").json()
    assert (shown["net_minor"], shown["total_minor"], len(shown["returns"])) == (0, 1000, 1)
    assert shown["cancelled_at"] == first.json()["occurred_at"]

    (event,) = profile.announced("purchase_cancelled")
    assert event["key"] == event["customer_id"] == shown["customer_id"]
    assert (event["purchase_id"], event["amount_minor"], event["currency"]) == (shown["id"], 900, "CNY")
    profile.holds()


def test_a_cancellation_told_differently_is_refused(profile):
    profile.buy("1")
    assert code_of(profile.client.get("/v1/purchases/shop/1/cancellation")) == "cancellation_not_found"
    cancel(profile)
    assert code_of(cancel(profile, reason="other")) == "cancellation_differs"
    assert code_of(cancel(profile, occurred_at=LONG_AGO)) == "cancellation_differs"
    assert code_of(cancel(profile, "unknown")) == "purchase_not_found"
    assert len(profile.announced("purchase_cancelled")) == 1


def test_nothing_comes_back_of_a_purchase_that_was_called_off(profile):
    profile.buy("1")
    profile.bring_back("R1", "1", (1, 1))
    cancel(profile)
    assert code_of(profile.bring_back("R2", "1", (1, 1))) == "purchase_cancelled"
    assert profile.bring_back("R1", "1", (1, 1)).status_code == 200
    assert profile.buy("1").status_code == 200
    profile.holds()


def test_a_cancellation_in_another_currency_reverses_both_amounts(profile):
    profile.buy("0")
    profile.buy("1", line(quantity=3, unit_price="1"), currency="JPY", exchange_rate="0.0465")
    bought = profile.client.get("/v1/purchases/shop/1").json()
    back = profile.bring_back("R1", "1", (1, 1)).json()
    assert cancel(profile).json()["accounting_amount_minor"] == (
        bought["accounting_total_minor"] - back["accounting_amount_minor"]
    )
    assert profile.announced("purchase_cancelled")[0]["exchange_rate"] == "0.0465"
    profile.holds()


def test_an_anonymous_purchase_is_called_off_under_its_own_key(profile):
    bought = profile.buy("1", customer=None).json()
    cancel(profile)
    (event,) = profile.announced("purchase_cancelled")
    assert (event["key"], event["customer_id"]) == (bought["id"], None)


def test_returns_and_a_cancellation_at_once_reverse_the_purchase_exactly_once(committing):
    for order in range(4):
        committing.buy(f"{order}", line(quantity=8))
        at_once(
            lambda n, order=order: (
                cancel(committing, f"{order}")
                if n == 3
                else committing.bring_back(f"R{order}-{n}", f"{order}", (1, 1))
            )
        )
        assert committing.client.get(f"/v1/purchases/shop/{order}").json()["net_minor"] == 0
    told = [*committing.announced("purchase_returned"), *committing.announced("purchase_cancelled")]
    assert sum(event["amount_minor"] for event in told) == 4 * 8 * 255
    committing.holds()
