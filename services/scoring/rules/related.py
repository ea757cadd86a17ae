"""Which products the same customers buy, more often than chance would have it: by significance, not by raw counts."""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

Integers = npt.NDArray[np.int64]
Floats = npt.NDArray[np.float64]

# These four were tried on the real file (tests/recommending.py): any near them are equal within the noise.
NEIGHBOURS = 50
# p < 0.001 of chi-squared with one degree of freedom, which G² follows where two products are independent.
SIGNIFICANT = 10.83
# Two rare products in one basket pass that threshold too: one customer's coincidence is nobody's habit, and would show
# that customer's purchases to others.
FEWEST_BUYERS = 3
# Whoever buys more different products than this stocks a shop: everything goes with everything there.
LARGEST_ASSORTMENT = 500
# How many co-purchases, just as many as chance would have, every lift starts from: a choice, not fitted.
PRIOR = 5.0
# Cells of the products × products table that are held at a time: some 100 MB whatever the catalogue.
CELLS = 1_000_000


@dataclass(frozen=True)
class Related:
    """Rows of "``related`` goes with ``product``" (indices, both of shape (rows,)), products rising, best first within one.

    ``score`` is G² (no unit; larger is surer), ``buyers`` how many bought both, ``lift`` how many times as many as
    chance would have it, shrunk towards 1.
    """

    product: Integers
    related: Integers
    score: Floats
    buyers: Integers
    lift: Floats


def log_likelihood_ratio(
    both: npt.ArrayLike, one: npt.ArrayLike, other: npt.ArrayLike, total: npt.ArrayLike
) -> Floats:
    """G² of the 2 × 2 table of ``total`` buyers, of whom ``one`` bought the first product, ``other`` the second, ``both``
    both: 2 Σ observed × ln(observed / expected). Arrays broadcast; 0 where they are independent.

    Dunning, "Accurate methods for the statistics of surprise and coincidence", Computational Linguistics 19(1), 1993:
    holds for rare products too, where chi-squared overstates.
    """
    k, a, b, n = (np.asarray(each, dtype=np.float64) for each in (both, one, other, total))

    # The two mixed cells are added first, so that G² is the same to the last digit either way round.
    matching = _cell(k, a * b / n) + _cell(n - a - b + k, (n - a) * (n - b) / n)
    mixed = _cell(a - k, a * (n - b) / n) + _cell(b - k, b * (n - a) / n)
    return np.maximum(2 * (matching + mixed), 0)


def _cell(observed: Floats, expected: Floats) -> Floats:
    empty = observed == 0
    return np.asarray(observed * np.log(np.where(empty, 1, observed) / np.where(empty, 1, expected)))


def shrunk_lift(both: npt.ArrayLike, expected: npt.ArrayLike) -> Floats:
    """Observed over expected, both begun at ``PRIOR``: the mean of a Gamma–Poisson model of the ratio around 1.

    DuMouchel, "Bayesian data mining in large frequency tables", The American Statistician 53(3), 1999, with one gamma.
    """
    observed, chance = np.asarray(both, dtype=np.float64), np.asarray(expected, dtype=np.float64)
    return np.asarray((observed + PRIOR) / (chance + PRIOR))


def related_products(
    buyers: Integers, products: Integers, product_count: int, neighbours: int = NEIGHBOURS
) -> Iterator[Related]:
    """The best ``neighbours`` of every product, in blocks of products so that memory stays flat.

    ``buyers`` and ``products`` (both of shape (pairs,), indices from 0) say who bought what; in what order, and how often
    a pair is repeated, changes nothing. A pair of products is related if at least ``FEWEST_BUYERS`` bought both, more
    than chance would have it, with G² above ``SIGNIFICANT``; equal scores are ordered by index. Buyers of more than
    ``LARGEST_ASSORTMENT`` products are left out of every count. Raises ValueError for a product outside of
    ``product_count``.
    """
    from scipy import sparse

    if not len(buyers):
        return
    bought = sparse.csr_array(
        (np.ones(len(buyers), dtype=np.int32), (buyers, products)),
        shape=(int(buyers.max()) + 1, product_count),
    )
    bought.data[:] = 1  # built from pairs, repeated ones come as one with their sum
    assortments = np.diff(bought.indptr)
    bought = bought[(assortments > 0) & (assortments <= LARGEST_ASSORTMENT)]
    total = bought.shape[0]
    by_product = bought.T.tocsr()
    sold = np.diff(by_product.indptr).astype(np.int64)
    rows = max(1, CELLS // product_count)
    for start in range(0, product_count, rows):
        together = (by_product[start : start + rows] @ bought).tocoo()
        found = together.data >= FEWEST_BUYERS
        yield _best(
            together.row[found].astype(np.int64) + start,
            together.col[found].astype(np.int64),
            together.data[found].astype(np.int64),
            sold,
            total,
            neighbours,
        )


def _best(
    product: Integers, related: Integers, both: Integers, sold: Integers, total: int, neighbours: int
) -> Related:
    expected = sold[product] * sold[related] / total
    score = log_likelihood_ratio(both, sold[product], sold[related], total)
    kept = np.flatnonzero((product != related) & (both > expected) & (score > SIGNIFICANT))
    kept = kept[np.lexsort((related[kept], -score[kept], product[kept]))]
    place = np.arange(len(kept)) - np.searchsorted(product[kept], product[kept])
    kept = kept[place < neighbours]
    return Related(
        product[kept], related[kept], score[kept], both[kept], shrunk_lift(both[kept], expected[kept])
    )
