"""Co-purchase by significance: what goes together is found, what is merely popular is not."""

import itertools
import math
import random

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from services.scoring.rules import related
from services.scoring.rules.related import Related, log_likelihood_ratio, related_products, shrunk_lift
from tests import real_file, recommending

Row = tuple[int, int, float, int, float]


def rows(pairs: list[tuple[int, int]], product_count: int, **settings: int) -> list[Row]:
    buyers, products = np.array(pairs, dtype=np.int64).reshape(-1, 2).T
    blocks = list(related_products(buyers, products, product_count, **settings))
    return [row for block in blocks for row in told(block)]


def told(block: Related) -> list[Row]:
    columns = (block.product, block.related, block.score, block.buyers, block.lift)
    return list(zip(*(column.tolist() for column in columns), strict=True))


# A 2 × 2 table as (both, only the first, only the second, neither).
tables = st.tuples(*[st.integers(0, 2_000)] * 4)


@given(tables)
def test_g2_is_what_scipy_says(table: tuple[int, int, int, int]) -> None:
    both, only_one, only_other, neither = table
    one, other, total = both + only_one, both + only_other, sum(table)
    if 0 in (
        one,
        other,
        total - one,
        total - other,
    ):  # scipy has no answer: nothing can be learned from such a table
        if total:
            assert log_likelihood_ratio(both, one, other, total) == pytest.approx(0, abs=1e-9)
        return
    expected = stats.chi2_contingency(
        [[both, only_one], [only_other, neither]], correction=False, lambda_="log-likelihood"
    ).statistic
    assert log_likelihood_ratio(both, one, other, total) == pytest.approx(expected, rel=1e-9, abs=1e-8)


@given(tables.filter(any))
def test_g2_is_the_same_either_way_round(table: tuple[int, int, int, int]) -> None:
    both, only_one, only_other, _ = table
    one, other, total = both + only_one, both + only_other, sum(table)
    assert log_likelihood_ratio(both, one, other, total) == log_likelihood_ratio(both, other, one, total)


def test_g2_by_hand() -> None:
    # 100 buyers, 20 of each product, 12 of both, where 4 were to be expected.
    expected = 2 * (12 * math.log(12 / 4) + 2 * 8 * math.log(8 / 16) + 72 * math.log(72 / 64))
    assert log_likelihood_ratio(12, 20, 20, 100) == pytest.approx(expected)
    assert log_likelihood_ratio(4, 20, 20, 100) == 0


def test_the_threshold_is_one_chance_in_a_thousand() -> None:
    assert stats.chi2.sf(related.SIGNIFICANT, df=1) == pytest.approx(0.001, rel=0.01)


def test_a_lift_from_few_buyers_is_drawn_towards_one() -> None:
    few, many = shrunk_lift([3, 300], [1, 100])
    assert 1 < few < many < 3
    assert shrunk_lift(7, 7) == 1


def planted(seed: int = 0) -> list[tuple[int, int]]:
    """1,000 buyers: 0 and 1 are popular and independent; 2 and 3 rare and mostly together; 4 and 5 keep apart."""
    chance = random.Random(seed)
    pairs = []
    for buyer in range(1_000):
        basket = {product for product in (0, 1) if chance.random() < 0.6}
        if chance.random() < 0.03:
            basket |= {2, 3} if chance.random() < 0.8 else {chance.choice((2, 3))}
        basket.add(chance.choice((4, 5)))
        pairs += [(buyer, product) for product in sorted(basket)]
    return pairs


@pytest.mark.parametrize("seed", range(5))
def test_a_planted_pair_is_found_and_popular_products_are_not_related_to_each_other(seed: int) -> None:
    pairs = planted(seed)
    together = sum(1 for _, basket in baskets(pairs).items() if {0, 1} <= basket)
    assert together > 300  # raw counts would put these two first
    assert [(product, other) for product, other, *_ in rows(pairs, 6)] == [(2, 3), (3, 2)]


def baskets(pairs: list[tuple[int, int]]) -> dict[int, set[int]]:
    found: dict[int, set[int]] = {}
    for buyer, product in pairs:
        found.setdefault(buyer, set()).add(product)
    return found


@st.composite
def purchases(draw: st.DrawFn) -> list[tuple[int, int]]:
    """Buyers of a few kinds of basket, so that much of it is related, and some odd purchases."""
    kind = st.tuples(st.frozensets(st.integers(0, 7), min_size=1, max_size=4), st.integers(1, 20))
    carts = [cart for cart, buyers in draw(st.lists(kind, max_size=5)) for _ in range(buyers)]
    odd = draw(st.lists(st.tuples(st.integers(0, 99), st.integers(0, 7)), max_size=10))
    return [*((buyer, product) for buyer, cart in enumerate(carts) for product in sorted(cart)), *odd]


@settings(deadline=None)
@given(purchases(), st.randoms(use_true_random=False))
def test_neither_order_nor_repetition_of_what_was_bought_matters(
    pairs: list[tuple[int, int]], shuffle: random.Random
) -> None:
    again = [*pairs, *shuffle.choices(pairs, k=len(pairs) // 2)] if pairs else []
    shuffle.shuffle(again)
    assert rows(again, 8) == rows(pairs, 8)


@settings(deadline=None)
@given(purchases())
def test_every_row_is_what_counting_by_hand_says(pairs: list[tuple[int, int]]) -> None:
    buyers = baskets([(product, buyer) for buyer, product in pairs])
    total = len(baskets(pairs))
    expected = []
    for one, other in itertools.permutations(sorted(buyers), 2):
        both, chance = len(buyers[one] & buyers[other]), len(buyers[one]) * len(buyers[other]) / total
        score = float(log_likelihood_ratio(both, len(buyers[one]), len(buyers[other]), total))
        if both >= related.FEWEST_BUYERS and both > chance and score > related.SIGNIFICANT:
            expected.append((one, other, score, both, (both + related.PRIOR) / (chance + related.PRIOR)))
    expected.sort(key=lambda row: (row[0], -row[2], row[1]))
    assert rows(pairs, 8) == expected


def sets_of_goods(goods: int = 6) -> list[tuple[int, int]]:
    """Sets of three products bought together, each set by buyers of its own, some of whom leave one out."""
    return [
        (buyer, 3 * each + product)
        for each in range(goods)
        for buyer in range(20 * each, 20 * each + 20)
        for product in range(3)
        if (buyer + product) % (3 + each)
    ]


def test_what_is_related_is_related_either_way_round() -> None:
    found = {(product, other): rest for product, other, *rest in rows(sets_of_goods(), 18)}
    assert len(found) == 36
    assert all(found[other, product] == rest for (product, other), rest in found.items())


def test_the_best_neighbours_are_kept() -> None:
    everything = rows(sets_of_goods(), 18)
    best = rows(sets_of_goods(), 18, neighbours=1)
    assert best == [next(row for row in everything if row[0] == product) for product in range(18)]
    assert all(max(row[2] for row in everything if row[0] == each[0]) == each[2] for each in best)


def test_blocks_of_products_are_pieces_of_the_whole(monkeypatch: pytest.MonkeyPatch) -> None:
    whole = rows(sets_of_goods(), 18)
    monkeypatch.setattr(related, "CELLS", 18 * 4)
    buyers, products = np.array(sets_of_goods()).T
    blocks = list(related_products(buyers, products, 18))
    assert len(blocks) == 5
    assert [row for block in blocks for row in told(block)] == whole


def test_the_coincidence_of_a_few_customers_relates_nothing() -> None:
    # A thousand buyers of one thing, and few who bought two others: G² is far above the threshold.
    assert log_likelihood_ratio(1, 1, 1, 1_001) > related.SIGNIFICANT
    pairs = [(buyer, 0) for buyer in range(1_000)]
    for buyer in range(1_000, 1_000 + related.FEWEST_BUYERS):
        assert rows(pairs, 3) == []
        pairs += [(buyer, 1), (buyer, 2)]
    assert [(product, other) for product, other, *_ in rows(pairs, 3)] == [(1, 2), (2, 1)]


def test_who_buys_the_whole_shop_says_nothing_about_it() -> None:
    shop = range(3, related.LARGEST_ASSORTMENT + 4)
    wholesalers = [(1_000 + number, product) for number in range(5) for product in [0, 1, *shop]]
    pairs = planted()
    assert rows([*pairs, *wholesalers], 600) == rows(pairs, 600)


def test_nothing_bought_relates_nothing() -> None:
    assert rows([], 3) == []
    assert rows([(0, product) for product in range(related.LARGEST_ASSORTMENT + 1)], 600) == []


def test_a_product_outside_of_the_catalogue_is_refused() -> None:
    with pytest.raises(ValueError):
        rows([(0, 3)], 3)


@pytest.mark.skipif(not real_file.FILE.exists(), reason=f"the public retail file is not at {real_file.FILE}")
def test_the_real_files_whole_catalogue_is_related() -> None:
    customers = recommending.bought(recommending.BEGIN, recommending.TEST[1])
    buyers, products, catalogue = recommending.indexed(customers)
    blocks = list(related_products(buyers, products, len(catalogue)))
    found = {
        catalogue[row[0]]: catalogue[row[1]] for block in reversed(blocks) for row in reversed(told(block))
    }
    assert len(found) > 0.8 * len(catalogue)
    # Teacups of one set, in green, pink and red: each goes best with another of them.
    teacups = {"22697", "22698", "22699"}
    assert {found[sku] for sku in teacups} <= teacups
    assert max(np.bincount(block.product).max() for block in blocks) == related.NEIGHBOURS
