"""Points of a return that named no purchase, once its purchase is found."""

from shared.events.profile import ReturnMatched
from tests.campaigns.conftest import bought, minutes, returned, tier

LOOSE = {"purchase_id": None, "net_left_minor": None, "accounting_net_left_minor": None}


def matched(loose, purchase, left):
    taken = {"amount_minor": purchase.total_minor - left, "net_left_minor": left}
    return ReturnMatched(
        **loose.model_dump()
        | taken
        | {f"accounting_{name}": value for name, value in taken.items()}
        | {
            "customer_id": purchase.customer_id,
            "purchase_id": purchase.purchase_id,
            "recorded_at": minutes(30),
        },
        unmatched_amount_minor=loose.amount_minor,
        accounting_unmatched_amount_minor=loose.accounting_amount_minor,
    )


def test_what_was_taken_at_one_is_given_back_and_taken_at_the_purchases_multiplier(programme):
    customer_id = programme.customer()
    purchase = bought(customer_id, 10_000, minutes(5))
    loose = returned(bought(customer_id, 3_000), 0, minutes(10), **LOOSE)
    programme.hear(tier(customer_id, "platinum", minutes(1)), purchase, loose)
    assert programme.balance(customer_id) == 200 - 30
    programme.hear(matched(loose, purchase, 6_000))
    assert programme.balance(customer_id) == 120
    assert programme.entries(customer_id) == [
        ("earned", 200), ("reversed", -30), ("adjusted", 30), ("reversed", -80),
    ]  # fmt: skip
    assert programme.state()["unmatched_returns"] == []
    programme.hear(returned(purchase, 0, minutes(40)))
    assert programme.balance(customer_id) == 0
    assert programme.broken_invariants() == []


def test_an_anonymous_return_takes_points_only_once_it_is_matched(programme):
    customer_id = programme.customer()
    purchase = bought(customer_id, 10_000)
    loose = returned(bought(None, 3_000), 0, **LOOSE)
    programme.hear(purchase, loose)
    assert programme.balance(customer_id) == 100
    programme.hear(matched(loose, purchase, 7_000))
    assert programme.balance(customer_id) == 70
    assert programme.broken_invariants() == []
