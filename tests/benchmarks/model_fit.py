"""BG/NBD and Gamma-Gamma on a million drawn customers, beside the package lifetimes on the same customers in the same run.

Each fit in a process of its own, in turns, three times; figures are medians, fits without what it takes to load libraries and data.
Drawn with r 0.8, alpha 10 weeks, a 0.5, b 3, first occasions over two years. lifetimes (0.11.3, its last release) needs
older numpy, pandas and scipy than ours, so it gets a virtual environment of its own, made here by pip; it is given the customers
one by one, as it is mostly used, and grouped with weights, which suits it best.
"""

import json
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np

from services.scoring.rules import bgnbd, gamma_gamma
from services.scoring.rules.bgnbd import BgNbd
from services.scoring.rules.gamma_gamma import GammaGamma
from tests.benchmarks.report import Figure
from tests.scoring.simulated import shoppers, spending

CUSTOMERS, TURNS = 1_000_000, 3
DRAWN = BgNbd(0.8, 10, 0.5, 3, 0, 0, True)
SPENT = GammaGamma(6.25, 3.74, 15.45, 0, True)
# setuptools: lifetimes asks pkg_resources for its data.
PACKAGES = ["lifetimes==0.11.3", "numpy<2", "pandas<2", "scipy<1.13", "setuptools<81"]

THEIRS = """
import json, sys, time
import numpy as np
from lifetimes import BetaGeoFitter

customers = np.load(sys.argv[1])
x, span, age = (customers[name] for name in ("x", "span", "age"))
weights = customers["customers"] if "customers" in customers else None
began = time.perf_counter()
model = BetaGeoFitter().fit(x, span / 7, age / 7, weights=weights)
print(json.dumps({"fit": time.perf_counter() - began, "parameters": list(model.params_)}))
"""


def measure() -> list[Figure]:
    with tempfile.TemporaryDirectory(prefix="regulars-") as folder:
        single, grouped, size = drawn(Path(folder))
        python = lifetimes(Path(folder))
        ours, one_by_one, weighted = [], [], []
        for _ in range(TURNS):
            ours.append(run(sys.executable, "-m", "tests.benchmarks.model_fit", single))
            one_by_one.append(run(python, "-c", THEIRS, single))
            weighted.append(run(python, "-c", THEIRS, grouped))

    def median(turns: list[dict[str, Any]], *names: str) -> float:
        return statistics.median(sum(turn[name] for name in names) for turn in turns)

    group, fit = median(ours, "group"), median(ours, "fit")
    peak = max(turn["peak"] for turn in ours)
    spend = median(ours, "spend")
    against_single = median(one_by_one, "fit") / (group + fit)
    against_grouped = median(weighted, "fit") / fit
    difference = max(
        abs(mine / theirs - 1)
        for mine, theirs in zip(ours[0]["parameters"], weighted[0]["parameters"], strict=True)
    )
    return [
        Figure(
            f"BG/NBD on {CUSTOMERS:,} customers: grouping into {size:,} triples",
            "–",
            f"{group:.2f} s",
            True,
        ),
        Figure("BG/NBD: fit of the triples", "≤ 3 s", f"{fit:.2f} s", fit <= 3),
        Figure("Gamma-Gamma: fit of those who bought again", "–", f"{spend:.2f} s", True),
        Figure("peak memory of all three", "< 1 GB", f"{peak / 1e6:.0f} MB", peak < 1e9),
        Figure(
            "grouping and fit against lifetimes, customers one by one",
            "≥ 5 × faster",
            f"{against_single:.1f} × ({median(one_by_one, 'fit'):.1f} s)",
            against_single >= 5,
        ),
        Figure(
            "fit against lifetimes, grouped with weights",
            "≥ 5 × faster",
            f"{against_grouped:.1f} × ({median(weighted, 'fit'):.1f} s)",
            against_grouped >= 5,
        ),
        Figure(
            "largest difference of a parameter from that of lifetimes",
            "< 0.1 %",
            f"{100 * difference:.4f} %",
            difference < 1e-3,
        ),
    ]


def drawn(folder: Path) -> tuple[str, str, int]:
    """Files of the customers, one by one and grouped, and how many groups there are."""
    people = shoppers(DRAWN, CUSTOMERS, seed=1)
    again = people.x > 0
    mean = np.zeros(CUSTOMERS)
    mean[again] = spending(SPENT, people.x[again], seed=2)
    np.savez(folder / "single.npz", x=people.x, span=people.span, age=people.age, mean=mean)
    triples = bgnbd.group(people.x, people.span, people.age)
    np.savez(
        folder / "grouped.npz", x=triples.x, span=triples.span, age=triples.age, customers=triples.customers
    )
    return str(folder / "single.npz"), str(folder / "grouped.npz"), triples.x.size


def lifetimes(folder: Path) -> str:
    """The interpreter of an environment that has the package."""
    subprocess.run([sys.executable, "-m", "venv", folder / "lifetimes"], check=True)
    python = folder / "lifetimes" / "bin" / "python"
    subprocess.run([python, "-m", "pip", "install", "--quiet", *PACKAGES], check=True)
    return str(python)


def run(*command: str) -> dict[str, Any]:
    said = subprocess.run(command, check=True, capture_output=True, text=True).stdout
    result: dict[str, Any] = json.loads(said.splitlines()[-1])
    return result


def fit_ours(file: str) -> None:
    import resource

    import services.scoring.rules.likelihood  # noqa: F401  loads scipy before the clock starts, as for lifetimes

    customers = np.load(file)
    x, span, age, mean = (customers[name] for name in ("x", "span", "age", "mean"))
    began = time.perf_counter()
    triples = bgnbd.group(x, span, age)
    grouped = time.perf_counter()
    model = bgnbd.fit(triples)
    fitted = time.perf_counter()
    spend = gamma_gamma.fit(x[x > 0], mean[x > 0])
    assert model.converged
    assert spend.converged
    told = {
        "group": grouped - began,
        "fit": fitted - grouped,
        "spend": time.perf_counter() - fitted,
        "peak": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024,
        "parameters": [model.r, model.alpha, model.a, model.b],
    }
    print(json.dumps(told))


if __name__ == "__main__":
    fit_ours(sys.argv[1])
