"""What verify asks: the state speaks in natural keys, and the invariants notice."""

import pytest

from services.profile.app import SERVICE
from tests.profile.conftest import line


def state(profile):
    return {name: sorted(row[0] for row in profile.ask(query)) for name, query in SERVICE.state.items()}


def tell(profile, suffix=""):
    customer = profile.customer(country="CN", language="zh", name="王芳", tags=["vip"])
    behave(profile, customer)
    profile.client.put(f"/v1/customers/{customer['id']}/consents/marketing/email", json={"state": "granted"})
    profile.buy("1", line(quantity=3), line("22423", 1, "12.75"), occurred_at="2026-11-20T10:00:00Z")
    profile.buy("2", customer=None, occurred_at="2026-11-20T11:00:00Z", store=f"S{suffix}")
    profile.bring_back("R1", "1", (1, 2), occurred_at="2026-11-21T10:00:00Z")
    at = {"occurred_at": "2026-11-21T11:00:00Z"}
    assert profile.client.put("/v1/purchases/shop/2/cancellation", json=at).status_code == 201
    on = {"promised_on": "2026-11-23"}
    assert profile.client.put("/v1/purchases/shop/1/fulfilment", json=on).status_code == 201


def behave(profile, customer):
    contact = {
        "customer": {"id": customer["id"]},
        "kind": "call",
        "direction": "inbound",
        "outcome": "reached",
    }
    assert profile.client.post("/v1/interactions", json=contact).status_code == 201
    code = profile.client.put(f"/v1/customers/{customer['id']}/referral-code").json()["code"]
    friend = {"code": code, "customer": {"id": profile.customer("friend")["id"]}}
    assert profile.client.post("/v1/referrals", json=friend).status_code == 201
    areas = [{"name": "east", "places": [{"country": "CN"}]}]
    body = {"kind": "sales_area", "areas": areas}
    assert profile.client.put("/v1/region-sets/sales", json=body).status_code == 201


def test_two_deployments_told_the_same_agree_and_told_otherwise_do_not(committing, service):
    from tests.profile.conftest import Profile

    other, third = Profile(service(SERVICE, committing=True)), Profile(service(SERVICE, committing=True))
    tell(committing)
    tell(other)
    tell(third, suffix="2")
    assert state(committing) == state(other)
    assert all(rows for rows in state(committing).values())
    assert state(committing) != state(third)


@pytest.mark.parametrize(
    ("tampering", "noticed"),
    [
        ("update purchase set total_minor = total_minor + 1", "purchase_totals_are_sums_of_lines"),
        ("update purchase_return set amount_minor = 1", "return_amounts_are_sums_of_lines"),
        ("update purchase set returned_minor = 0", "returned_amounts_are_sums_of_returns_and_cancellations"),
        ("update purchase set cancelled_at = null", "cancelled_purchases_are_worth_nothing"),
        ("update purchase_line set returned_quantity = 0", "nothing_returned_beyond_what_was_bought"),
        ("update purchase set currency = 'GBP'", "amounts_agree_in_the_accounting_currency"),
        ("update customer set tags = '{forged}'", "tags_are_what_their_reasons_add_up_to"),
        ("delete from tag_change", "tags_are_where_their_history_ends"),
        ("delete from referral_party where role = 'referee'", "referrals_have_two_sides"),
    ],
)
def test_an_invariant_that_does_not_hold_is_noticed(profile, tampering, noticed):
    tell(profile)
    profile.holds()
    with profile.under_test.sessions.begin() as session:
        session.connection().exec_driver_sql(tampering)
    assert profile.ask(SERVICE.invariants[noticed]) == [(False,)]
