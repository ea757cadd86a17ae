"""What a customer is offered: what goes with what they bought, never what they must not be offered, with a true reason."""

import random
from collections import Counter
from datetime import date, timedelta
from math import ceil
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.scoring.rules import recommend as rule
from services.scoring.rules.recommend import Product, Reason, Recommendation, recommend
from tests import real_file, recommending

TODAY = date(2011, 9, 10)
SKUS = [f"P{number:02}" for number in range(12)]
CATEGORIES = ["Bath", "Garden", "Kitchen"]

skus = st.sampled_from(SKUS)
products = st.builds(
    Product,
    category=st.none() | st.sampled_from(CATEGORIES),
    accessory_of=st.none() | skus,
    stock=st.sampled_from([None, 5, 1, 0, -1]),
    replenishable=st.booleans(),
    active=st.sampled_from([True, True, True, False]),
)
cases = st.fixed_dictionaries(
    {
        "owned": st.dictionaries(skus, st.dates(max_value=TODAY), max_size=8),
        "related": st.dictionaries(
            skus, st.lists(st.tuples(skus, st.floats(10.83, 1e6)), max_size=8, unique_by=lambda row: row[0])
        ),
        "products": st.fixed_dictionaries({}, optional=dict.fromkeys(SKUS, products)),
        "bestsellers": st.lists(skus),
        "segment": st.just("loyal"),
        "n": st.integers(0, 12),
    }
)
Case = dict[str, Any]


def offered(case: Case) -> list[str]:
    return [each.sku for each in recommend(**case)]


def may_be_offered(case: Case, sku: str) -> bool:
    product = case["products"].get(sku)
    if product is None or not product.active or (product.stock is not None and product.stock <= 0):
        return False
    return product.replenishable or sku not in case["owned"]


def has_a_cause(case: Case) -> set[str]:
    """What there is any reason to offer: what goes with, or belongs to, what they bought, and bestsellers."""
    going_with = {sku for owned in case["owned"] for sku, _ in case["related"].get(owned, ())}
    accessories = {sku for sku, product in case["products"].items() if product.accessory_of in case["owned"]}
    return going_with | accessories | set(case["bestsellers"])


@given(cases)
def test_only_what_is_sold_and_not_owned_is_offered_and_each_once(case: Case) -> None:
    chosen = offered(case)
    assert len(chosen) == len(set(chosen))
    assert all(may_be_offered(case, sku) for sku in chosen)
    # And no place is left empty that could be filled.
    assert len(chosen) == min(case["n"], sum(may_be_offered(case, sku) for sku in has_a_cause(case)))


@given(cases)
def test_every_reason_is_true(case: Case) -> None:
    for each in recommend(**case):
        because_of, product = each.reason.because_of, case["products"][each.sku]
        match each.reason.kind:
            case "accessory":
                assert product.accessory_of == because_of in case["owned"]
            case "bought_together":
                assert because_of in case["owned"]
                assert each.sku in dict(case["related"][because_of])
            case "category":
                assert product.category == because_of
                assert any(
                    case["products"][sku].category == because_of
                    for sku in case["owned"]
                    if sku in case["products"]
                )
                assert each.sku in case["bestsellers"]
            case "bestseller":
                assert because_of == "loyal"
                assert each.sku in case["bestsellers"]


@given(cases)
def test_no_category_goes_beyond_its_share_while_there_is_another(case: Case) -> None:
    case["n"], owned_categories = 5, Counter[str]()
    for sku in case["owned"]:
        if sku in case["products"] and (category := case["products"][sku].category):
            owned_categories[category] += 1
    chosen = offered(case)
    left_out = {sku for sku in has_a_cause(case) if may_be_offered(case, sku)} - set(chosen)
    taken = Counter(case["products"][sku].category for sku in chosen)
    for category, places in taken.items():
        if category is not None and not owned_categories[category] and places > ceil(5 * rule.CATEGORY_SHARE):
            # Whoever else waits could not have taken the place: of a category that has its share as well.
            for sku in left_out:
                other = case["products"][sku].category
                assert other is not None
                assert taken[other] >= ceil(5 * rule.CATEGORY_SHARE)


@given(cases, st.randoms(use_true_random=False))
def test_the_order_in_which_facts_are_given_does_not_matter(case: Case, shuffle: random.Random) -> None:
    def shuffled(facts: dict[str, Any]) -> dict[str, Any]:
        return dict(shuffle.sample(list(facts.items()), len(facts)))

    related = {sku: shuffle.sample(rows, len(rows)) for sku, rows in shuffled(case["related"]).items()}
    again = case | {name: shuffled(case[name]) for name in ("owned", "products")} | {"related": related}
    assert recommend(**again) == recommend(**case)


@given(cases, st.integers(1, 5_000))
def test_time_passing_alone_changes_nothing(case: Case, days: int) -> None:
    later = {sku: day + timedelta(days) for sku, day in case["owned"].items()}
    assert recommend(**case | {"owned": later}) == recommend(**case)


def known(*names: str, **facts: Any) -> dict[str, Product]:
    return {sku: Product(**facts) for sku in names}


def test_scores_are_summed_over_what_was_bought_and_halve_with_its_age() -> None:
    half_life_ago = TODAY - timedelta(days=rule.HALF_LIFE_DAYS)
    chosen = recommend(
        {"old": half_life_ago, "new": TODAY},
        {"old": [("a", 100.0), ("b", 30.0)], "new": [("a", 20.0), ("c", 60.0)]},
        known("a", "b", "c"),
        [],
        "loyal",
    )
    assert chosen == [
        Recommendation("a", 70.0, Reason("bought_together", "old")),
        Recommendation("c", 60.0, Reason("bought_together", "new")),
        Recommendation("b", 15.0, Reason("bought_together", "old")),
    ]


def test_ties_go_by_sku() -> None:
    rows = [("c", 20.0), ("a", 20.0), ("b", 20.0)]
    assert [each.sku for each in recommend({"x": TODAY}, {"x": rows}, known("a", "b", "c"), [], "loyal")] == [
        "a", "b", "c",
    ]  # fmt: skip


def test_what_was_bought_long_before_other_things_is_no_source() -> None:
    latest = [f"S{number:03}" for number in range(rule.SOURCES)]
    owned = {"old": TODAY - timedelta(days=1)} | dict.fromkeys(reversed(latest), TODAY)
    assert rule.sources(owned) == latest
    assert recommend(owned, {"old": [("a", 50.0)]}, known("a"), [], "loyal") == []


def test_an_accessory_of_what_was_bought_comes_before_what_merely_goes_with_it() -> None:
    facts = known("cup", "tea") | {"filter": Product(accessory_of="pot"), "lid": Product(accessory_of="jar")}
    chosen = recommend(
        {"pot": TODAY}, {"pot": [("cup", 90.0), ("filter", 12.0), ("lid", 11.0)]}, facts, ["tea"], "loyal"
    )
    assert chosen == [
        Recommendation("filter", 102.0, Reason("accessory", "pot")),
        Recommendation("cup", 90.0, Reason("bought_together", "pot")),
        Recommendation("lid", 11.0, Reason("bought_together", "pot")),
        Recommendation("tea", 0, Reason("bestseller", "loyal")),
    ]
    assert recommend({"pot": TODAY}, {}, facts, ["tea"], "loyal")[0].reason == Reason("accessory", "pot")


def test_bestsellers_fill_up_those_of_the_customers_categories_first() -> None:
    facts = {
        "spade": Product(category="Garden"),
        "soap": Product(category="Bath"),
        "rake": Product(category="Garden"),
        "mug": Product(category="Kitchen"),
        "pan": Product(category="Kitchen"),
        "bag": Product(),
    }
    owned = {"spade": TODAY, "pan": TODAY - timedelta(days=rule.HALF_LIFE_DAYS)}
    chosen = recommend(owned, {}, facts, ["bag", "soap", "mug", "spade", "rake"], "new")
    assert [(each.sku, each.reason.kind, each.reason.because_of) for each in chosen] == [
        ("rake", "category", "Garden"),
        ("mug", "category", "Kitchen"),
        ("bag", "bestseller", "new"),
        ("soap", "bestseller", "new"),
    ]


def test_who_bought_nothing_is_offered_the_bestsellers_of_their_segment() -> None:
    chosen = recommend({}, {"x": [("a", 50.0)]}, known("a", "b", "c"), ["c", "a", "c"], "new", n=2)
    assert chosen == [Recommendation(sku, 0, Reason("bestseller", "new")) for sku in ("c", "a")]


def test_a_category_has_its_share_or_what_the_customer_gives_it() -> None:
    mugs, towels = [f"mug{number}" for number in range(9)], [f"towel{number}" for number in range(9)]
    facts = known(*mugs, category="Kitchen") | known(*towels, category="Bath")
    rows = [(sku, 100.0 - place) for place, sku in enumerate([*mugs[1:], *towels])]

    def taken(owned: dict[str, date]) -> list[str]:
        chosen = recommend(owned | {"x": TODAY}, {"x": rows}, facts, [], "loyal", n=5)
        return [each.sku.rstrip("0123456789") for each in chosen]

    # Two of five places each, and the fifth to the best that waits.
    assert taken({}) == ["mug", "mug", "towel", "towel", "mug"]
    assert taken({"mug0": TODAY}) == ["mug"] * 5
    # Half of what they bought is of the kitchen: half of the places, rounded up.
    assert taken({"mug0": TODAY, "towel8": TODAY}) == ["mug", "mug", "mug", "towel", "towel"]


def test_what_is_bought_again_is_offered_again() -> None:
    owned = {"coffee": TODAY, "mug": TODAY}
    related = {"coffee": [("mug", 50.0)], "mug": [("coffee", 50.0)]}
    facts = {"coffee": Product(replenishable=True), "mug": Product()}
    assert recommend(owned, related, facts, ["mug"], "loyal") == [
        Recommendation("coffee", 50.0, Reason("bought_together", "mug"))
    ]


@pytest.mark.skipif(not real_file.FILE.exists(), reason=f"the public retail file is not at {real_file.FILE}")
@pytest.mark.parametrize(
    ("split", "customers"),
    [(recommending.VALIDATION, 1_345), (recommending.TEST, 1_913)],
    ids=["june", "september"],
)
def test_on_the_real_file_more_customers_buy_one_of_ours_than_one_of_the_bestsellers(
    split: tuple[date, date], customers: int
) -> None:
    found = recommending.compared(split)
    mine = found.pop("ours")
    for other in found.values():
        assert mine.customers == other.customers == customers
        assert mine.hit_rate > other.hit_rate
        assert mine.precision > other.precision
        assert mine.recall > other.recall
