"""What goes with what in the whole real file, one customer's recommendations, and how many customers they hit after a day
that they know nothing of (tests/recommending.py), against bestsellers: rules alone, without a database."""

import gc
import time

import numpy as np

from services.scoring.rules.recommend import Product, recommend, sources
from services.scoring.rules.related import related_products
from tests import recommending
from tests.benchmarks.report import Figure


def measure() -> list[Figure]:
    return [*related_and_recommended(), *hits()]


def related_and_recommended() -> list[Figure]:
    customers = recommending.bought(recommending.BEGIN, recommending.TEST[1])
    buyers, products, catalogue = recommending.indexed(customers)
    began = time.perf_counter()
    blocks = list(related_products(buyers, products, len(catalogue)))
    seconds = time.perf_counter() - began
    pairs = sum(len(block.product) for block in blocks)
    having = len(np.unique(np.concatenate([block.product for block in blocks])))
    p50, p99 = np.percentile(
        milliseconds(customers, recommending.related_by_sku(blocks, catalogue)), [50, 99]
    )
    return [
        Figure(
            f"what goes with each of {len(catalogue):,} products, from {len(buyers):,} customer–product pairs",
            "< 10 s",
            f"{seconds:.1f} s; {pairs:,} rows for {having:,} products",
            seconds < 10,
        ),
        Figure(
            f"recommendations for each of {len(customers):,} customers, facts in hand, p50 / p99",
            "p99 < 10 ms",
            f"{p50:.1f} / {p99:.1f} ms",
            p99 < 10,
        ),
    ]


def milliseconds(customers: recommending.Bought, related: recommending.Rows) -> list[float]:
    """Each customer with what a service would have read for them: facts of sources, of what goes with them, of bestsellers."""
    bestsellers = recommending.bestsellers(customers)[:100]
    taken = []
    gc.collect()
    gc.disable()  # the file's own millions of objects are in no API process
    try:
        for owned in customers.values():
            rows = {sku: related[sku] for sku in sources(owned) if sku in related}
            others = {other for each in rows.values() for other, _ in each}
            facts = dict.fromkeys([*owned, *others, *bestsellers], Product())
            began = time.perf_counter()
            recommend(owned, rows, facts, bestsellers, "everybody")
            taken.append(1_000 * (time.perf_counter() - began))
    finally:
        gc.enable()
    return taken


def hits() -> list[Figure]:
    figures = []
    for repeats, wanted in ((False, "something new"), (True, "something, repeats included")):
        found = recommending.compared(recommending.TEST, repeats=repeats)
        ours = found.pop("ours")
        best = max(other.hit_rate for other in found.values())
        figures.append(
            Figure(
                f"hit rate@10, bought {wanted} of ten after 2011-09-10: ours over {ours.customers:,} customers",
                f"> {best:.3f}, the best bestsellers",
                f"{ours.hit_rate:.3f} (precision {ours.precision:.3f}, recall {ours.recall:.3f}); "
                + "; ".join(
                    f"{name} {each.hit_rate:.3f} ({each.precision:.3f}, {each.recall:.3f})"
                    for name, each in found.items()
                ),
                ours.hit_rate > best,
            )
        )
    return figures
