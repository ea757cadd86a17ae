"""What a purchase brings and what a return takes back."""

from datetime import timedelta
from uuid import uuid4

import pytest

from tests.campaigns.conftest import NOON, bought, cancelled, minutes, registered, returned, tier


def test_a_purchase_earns_a_point_per_whole_unit(programme):
    customer_id = programme.customer()
    programme.hear(bought(customer_id, 19_999))
    assert programme.balance(customer_id) == 199
    (said,) = programme.announced("points_earned")
    assert (said["points"], said["balance"], said["reason"], said["historical"]) == (
        199,
        199,
        "purchase",
        False,
    )
    assert said["source"].startswith("purchase:")
    assert said["causation_id"] is not None


@pytest.mark.parametrize(
    ("name", "points"),
    [("standard", 101), ("silver", 126), ("gold", 151), ("platinum", 202), ("diamond", 101)],
)
def test_the_tier_multiplies_and_the_result_is_rounded_down(programme, name, points):
    customer_id = programme.customer()
    programme.hear(tier(customer_id, name, minutes(-1)), bought(customer_id, 10_150))
    assert programme.balance(customer_id) == points


def test_the_tier_that_the_purchase_itself_brought_does_not_count_for_it(programme):
    customer_id = programme.customer()
    purchase = bought(customer_id, 10_000, minutes(5))
    programme.hear(purchase, tier(customer_id, "gold", minutes(5)))
    assert programme.balance(customer_id) == 100
    programme.hear(bought(customer_id, 10_000, minutes(6)))
    assert programme.balance(customer_id) == 250


def test_a_tier_heard_of_late_books_the_difference_as_an_entry_of_its_own(programme):
    customer_id = programme.customer()
    programme.hear(bought(customer_id, 10_000, minutes(5)), bought(customer_id, 10_000, minutes(15)))
    programme.hear(tier(customer_id, "gold", minutes(2)))
    assert programme.entries(customer_id) == [
        ("earned", 100),
        ("earned", 100),
        ("adjusted", 50),
        ("adjusted", 50),
    ]
    # A change between two that are known touches only the purchases after it.
    programme.hear(tier(customer_id, "platinum", minutes(10), previous="gold"))
    assert programme.entries(customer_id)[4:] == [("adjusted", 50)]
    assert programme.balance(customer_id) == 350
    assert programme.broken_invariants() == []


def test_of_two_tiers_in_force_from_the_same_moment_the_later_announced_counts(programme):
    customer_id = programme.customer()
    programme.hear(
        tier(customer_id, "silver"),
        tier(customer_id, "gold", previous="silver"),
        bought(customer_id, 10_000, minutes(1)),
    )
    assert programme.balance(customer_id) == 150


def test_returns_take_back_exactly_what_their_part_earned(programme):
    customer_id = programme.customer()
    purchase = bought(customer_id, 9_999, minutes(1))
    programme.hear(tier(customer_id, "silver", minutes(0)), purchase)
    assert programme.balance(customer_id) == 123  # 99 × 1.25
    programme.hear(returned(purchase, 6_666, minutes(2)))
    assert programme.balance(customer_id) == 82  # 66 × 1.25
    programme.hear(returned(purchase, 0, minutes(3)))
    assert programme.entries(customer_id) == [("earned", 123), ("reversed", -41), ("reversed", -82)]
    assert [said["points"] for said in programme.announced("points_reversed")] == [41, 82]


def test_a_return_is_reversed_at_the_multiplier_of_its_purchase_not_of_today(programme):
    customer_id = programme.customer()
    purchase = bought(customer_id, 10_000, minutes(1))
    programme.hear(purchase, tier(customer_id, "platinum", minutes(2)), returned(purchase, 0, minutes(3)))
    assert programme.balance(customer_id) == 0


def test_a_return_that_names_no_purchase_reverses_at_one_point_per_unit(programme):
    customer_id = programme.customer()
    programme.hear(tier(customer_id, "gold", minutes(-1)), bought(customer_id, 10_000))
    stray = returned(
        bought(customer_id, 2_550), 0, purchase_id=None, net_left_minor=None, accounting_net_left_minor=None
    )
    programme.hear(stray)
    assert programme.balance(customer_id) == 125
    assert programme.announced("points_reversed")[0]["source"] == f"return:{stray.return_id}"


def test_a_cancellation_takes_back_what_is_left(programme):
    customer_id = programme.customer()
    purchase = bought(customer_id, 10_000)
    programme.hear(purchase, returned(purchase, 4_000, minutes(1)), cancelled(purchase, minutes(2)))
    assert programme.entries(customer_id) == [("earned", 100), ("reversed", -60), ("reversed", -40)]


def test_a_reversal_may_leave_the_balance_below_zero(programme):
    customer_id = programme.customer()
    purchase = bought(customer_id, 10_000)
    programme.hear(purchase)
    assert programme.redeem(customer_id, programme.reward(price=80)).status_code == 201
    programme.hear(returned(purchase, 0, minutes(1)))
    assert programme.balance(customer_id) == -80
    refused = programme.redeem(customer_id, programme.reward(price=1))
    assert (refused.status_code, refused.json()["code"]) == (409, "insufficient_points")
    assert programme.broken_invariants() == []


def test_a_return_heard_of_before_its_purchase_ends_in_the_same_books(programme):
    customer_id = programme.customer()
    purchase = bought(customer_id, 10_000)
    programme.hear(returned(purchase, 2_500, minutes(1)))
    assert programme.balance(customer_id) == 0
    programme.hear(purchase)
    assert programme.balance(customer_id) == 25


def test_old_facts_earn_points_too(programme):
    customer_id = programme.customer()
    long_ago = NOON - timedelta(days=3_000)
    programme.hear(bought(customer_id, 10_000, occurred_at=long_ago, historical=True))
    assert programme.balance(customer_id) == 100
    assert programme.announced("points_earned")[0]["historical"] is True


def test_an_anonymous_purchase_earns_nobody_anything(programme):
    programme.hear(bought(None, 10_000))
    assert programme.announced() == []


def test_a_purchase_worth_less_than_a_point_makes_no_entry(programme):
    customer_id = programme.customer()
    purchase = bought(customer_id, 99)
    programme.hear(purchase, returned(purchase, 0))
    assert programme.entries(customer_id) == []
    assert programme.announced() == []


def test_a_foreign_purchase_earns_by_its_worth_in_the_accounting_currency(programme):
    customer_id = programme.customer()
    # 100.00 CNY at 21.3 JPY: the accounting currency has no minor unit.
    programme.hear(bought(customer_id, 10_000, exchange_rate="21.3", accounting_total_minor=2_130))
    assert programme.balance(customer_id) == 2_130
    programme.hear(
        bought(customer_id, 10_000, exchange_rate="0.042", accounting_total_minor=4_200)
    )  # KWD, 3 digits
    assert programme.balance(customer_id) == 2_130 + 4


def test_a_thousand_purchases_are_booked_as_one_run(programme):
    customers = [programme.customer() for _ in range(20)]
    events = [bought(customers[number % 20], 100 * (number % 7), minutes(number)) for number in range(1_000)]
    programme.hear(*events)
    for place, customer_id in enumerate(customers):
        assert programme.balance(customer_id) == sum(number % 7 for number in range(place, 1_000, 20))
    entries = programme.announced("points_earned")
    running = {}
    for said in entries:
        running[said["customer_id"]] = running.get(said["customer_id"], 0) + said["points"]
        assert said["balance"] == running[said["customer_id"]]
    assert programme.broken_invariants() == []


def test_entries_come_in_pages(programme):
    customer_id = programme.customer()
    programme.hear(*(bought(customer_id, 100 * number, minutes(number)) for number in range(1, 8)))
    seen, cursor = [], None
    while True:
        page = programme.service.client.get(
            f"/v1/customers/{customer_id}/points/entries",
            params={"limit": 3} | ({"cursor": cursor} if cursor else {}),
        ).json()
        seen += [item["points"] for item in page["items"]]
        if (cursor := page["next_cursor"]) is None:
            break
    assert seen == [7, 6, 5, 4, 3, 2, 1]


def test_a_customer_nobody_heard_of_is_not_found(programme):
    reply = programme.service.client.get(f"/v1/customers/{uuid4()}/points")
    assert (reply.status_code, reply.json()["code"]) == (404, "customer_not_found")


def test_a_customer_without_purchases_has_no_points(programme):
    customer_id = uuid4()
    programme.hear(registered(customer_id))
    reply = programme.service.client.get(f"/v1/customers/{customer_id}/points").json()
    assert reply == {"customer_id": str(customer_id), "balance": 0, "pending": 0}
