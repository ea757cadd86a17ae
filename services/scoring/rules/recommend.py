"""What to offer a customer next: what goes with what they bought, in stock, varied, each with its reason."""

from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import date
from heapq import nsmallest
from math import ceil
from typing import Literal, NamedTuple

# Chosen on the real file, train before 2011-06-10 and validated to 2011-09-10 (tests/recommending.py): half-lives from
# 60 to 365 days and anything above 50 products are equal within the noise.
HALF_LIFE_DAYS = 120
SOURCES = 100
# No more than this share of the places goes to one category, unless the customer's own share of it is larger.
CATEGORY_SHARE = 0.4

Kind = Literal["bought_together", "accessory", "category", "bestseller"]


class Product(NamedTuple):
    """``category`` is what recommendations are varied by (None: unknown, never counted); ``stock`` None is not kept track of."""

    category: str | None = None
    accessory_of: str | None = None
    stock: int | None = None
    replenishable: bool = False
    active: bool = True


@dataclass(frozen=True)
class Reason:
    """``because_of`` is the sku of a product that the customer bought (bought_together, accessory), a category that they
    buy (category) or their segment (bestseller)."""

    kind: Kind
    because_of: str


@dataclass(frozen=True)
class Recommendation:
    """``score`` orders the recommendations of one customer and compares with nobody else's; 0 for a bestseller."""

    sku: str
    score: float
    reason: Reason


def sources(owned: Mapping[str, date]) -> list[str]:
    """The products that recommendations are made from: the ``SOURCES`` last bought, latest first, ties by sku."""
    return nsmallest(SOURCES, owned, key=lambda sku: (-owned[sku].toordinal(), sku))


def recommend(
    owned: Mapping[str, date],
    related: Mapping[str, Iterable[tuple[str, float]]],
    products: Mapping[str, Product],
    bestsellers: Iterable[str],
    segment: str,
    n: int = 10,
) -> list[Recommendation]:
    """At most ``n`` products for one customer, best first, ties by sku.

    ``owned``: everything they bought with the day they last did; ``related``: (sku, score) of what goes with each of
    their ``sources``; ``products``: what is known of the sources and of all that may be recommended – every accessory
    of a source is, and what is not in here never; ``bestsellers``: of their ``segment``, best first.

    A product's score is the sum of its related scores over the sources, each weighing half as much for every
    ``HALF_LIFE_DAYS`` that it is older than the latest. An accessory counts as going with what it belongs to as much as
    anything goes with anything of theirs. Bestsellers – first of the categories that they buy – fill places that are
    left. A category that has its share waits until there is nothing of another.
    """
    weights = _weights(owned)
    affinity = _affinity(weights, products)
    scores, strongest = _scores(weights, related, products)

    def offered(sku: str) -> bool:
        product = products.get(sku)
        return (
            product is not None
            and product.active
            and (product.stock is None or product.stock > 0)
            and (product.replenishable or sku not in owned)
        )

    def liking(sku: str) -> float:
        return affinity.get(products[sku].category, 0)

    def reason(sku: str) -> Reason:
        product = products[sku]
        if product.accessory_of is not None and product.accessory_of in weights:
            return Reason("accessory", product.accessory_of)
        if sku in strongest:
            return Reason("bought_together", strongest[sku])
        if product.category is not None and product.category in affinity:
            return Reason("category", product.category)
        return Reason("bestseller", segment)

    going_with = sorted(filter(offered, scores), key=lambda sku: (-scores[sku], sku))
    best_selling = sorted(filter(offered, bestsellers), key=liking, reverse=True)
    chosen = _varied(dict.fromkeys([*going_with, *best_selling]), products, affinity, n)
    return [Recommendation(sku, scores.get(sku, 0), reason(sku)) for sku in chosen]


def _weights(owned: Mapping[str, date]) -> dict[str, float]:
    # Against the latest purchase and not against today: the order is the same, and nothing fades to zero.
    latest = max(owned.values(), default=date.min)
    return {sku: 0.5 ** ((latest - owned[sku]).days / HALF_LIFE_DAYS) for sku in sources(owned)}


def _affinity(weights: Mapping[str, float], products: Mapping[str, Product]) -> dict[str | None, float]:
    """The categories' shares of what the customer bought lately; they add up to 1."""
    by_category: dict[str | None, float] = {}
    for sku, weight in weights.items():
        category = products[sku].category if sku in products else None
        if category is not None:
            by_category[category] = by_category.get(category, 0) + weight
    total = sum(by_category.values()) or 1  # 0 where all of it is centuries older than the latest purchase
    return {category: weight / total for category, weight in by_category.items()}


def _scores(
    weights: Mapping[str, float],
    related: Mapping[str, Iterable[tuple[str, float]]],
    products: Mapping[str, Product],
) -> tuple[dict[str, float], dict[str, str]]:
    """Per product its score, and the source that adds most to it."""
    scores: dict[str, float] = {}
    largest: dict[str, float] = {}
    strongest: dict[str, str] = {}
    surest = 0.0
    for source, weight in weights.items():
        for sku, score in related.get(source, ()):
            part = weight * score
            scores[sku] = scores.get(sku, 0) + part
            if part > largest.get(sku, -1):
                largest[sku], strongest[sku] = part, source
            if score > surest:
                surest = score
    for sku, product in products.items():
        if product.accessory_of is not None and product.accessory_of in weights:
            scores[sku] = scores.get(sku, 0) + weights[product.accessory_of] * (surest or 1)
    return scores, strongest


def _varied(
    skus: Iterable[str], products: Mapping[str, Product], affinity: Mapping[str | None, float], n: int
) -> list[str]:
    chosen: list[str] = []
    waiting: list[str] = []
    taken: Counter[str] = Counter()
    for sku in skus:
        if len(chosen) == n:
            return chosen
        category = products[sku].category
        if category is not None:
            if taken[category] >= ceil(n * max(CATEGORY_SHARE, affinity.get(category, 0))):
                waiting.append(sku)
                continue
            taken[category] += 1
        chosen.append(sku)
    return [*chosen, *waiting][:n]
