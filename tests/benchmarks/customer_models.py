"""Clusters and the forecast of spend: on the public retail file, and over a million invented customers.

Clusters: fitted as of 9 November and, knowing that model, as of 9 December 2011; of the customers in a cluster both times, how
many kept their label, and how far the two groupings agree beyond chance (adjusted Rand index, Hubert and Arabie 1985). Some
of them did change in that month. Spend: fitted on features as of 12 June 2011 and the 90 days after; compared on features
as of 10 September and the 90 days after. A process of its own measures the million: its peak before (numpy, the features:
160 MB) and after fitting, assigning and describing. CUSTOMERS in the environment makes a smaller company.
"""

import multiprocessing
import os
import resource
import time
from datetime import date

import numpy as np

from services.scoring.rules import clusters, spend_forecast
from services.scoring.rules.features import FEATURES, Vector, column
from tests.benchmarks.report import Figure
from tests.scoring import shoppers
from tests.scoring.shoppers import Shoppers

CUSTOMERS = int(os.environ.get("CUSTOMERS", "1000000"))
AT_ONCE = 50_000  # whose facts are in memory


def measure() -> list[Figure]:
    people = shoppers.of_the_real_file()
    with multiprocessing.get_context("spawn").Pool(1) as pool:
        million = pool.apply(a_million)
    return [*clustered(people), *forecast(people), *million]


def clustered(people: Shoppers) -> list[Figure]:
    from sklearn.metrics import adjusted_rand_score

    first, second = people.features(date(2011, 11, 9)), people.features(date(2011, 12, 9))
    before = clusters.fit(first)
    after = clusters.fit(second, before)
    labels, later = clusters.assign(before, first), clusters.assign(after, second)
    both = (labels > 0) & (later > 0)
    kept = float((labels == later)[both].mean())
    index = adjusted_rand_score(labels[both], later[both])
    found = len(after.labels)
    return [
        Figure(
            f"clusters of {int((later > 0).sum()):,} customers as of 2011-12-09",
            "3 to 8",
            f"{found}, silhouette {after.silhouette:.2f}",
            found in clusters.SIZES,
        ),
        Figure(
            "a month apart: labels found again / customers who keep theirs / adjusted Rand index",
            "all / > 75 % / > 0.5",
            f"{len(set(before.labels) & set(after.labels))} of {found} / {kept:.1%} / {index:.2f}",
            set(before.labels) == set(after.labels) and kept > 0.75 and index > 0.5,
        ),
        *(described(each) for each in clusters.describe(after, second, later)),
    ]


def described(each: clusters.Description) -> Figure:
    if each.rule is None:
        return Figure(f"cluster {each.label}, {each.customers:,} customers", "a rule", "none", False)
    return Figure(
        f"cluster {each.label}, {each.customers:,} customers: {each.words['en']}; {each.words['zh']}",
        "precision > 50 %",
        f"`{each.rule}`: precision {each.rule.precision:.0%}, coverage {each.rule.coverage:.0%}",
        each.rule.precision > 0.5,
    )


def forecast(people: Shoppers) -> list[Figure]:
    days = (date(2011, 6, 12), date(2011, 9, 10), date(2011, 12, 9))
    fitted_on, held_out, end = (people.features(day) for day in days)
    fitted = spend_forecast.fit(fitted_on, spent(held_out))
    holdout = spend_forecast.hold_out(fitted, held_out, spent(end))
    mae = min(errors.mae for errors in holdout.naive.values())
    rmse = min(errors.rmse for errors in holdout.naive.values())
    return [
        Figure(
            f"net spend of {holdout.customers:,} customers in the 90 days from 2011-09-10, MAE / RMSE / R²",
            "better than every naive forecast",
            f"{said(holdout.forecast)}; {1 - holdout.forecast.mae / mae:.0%} and "
            f"{1 - holdout.forecast.rmse / rmse:.0%} less than the best of them",
            holdout.better,
        ),
        *(
            Figure(f"naive: {name.replace('_', ' ')}", "", said(errors), True)
            for name, errors in holdout.naive.items()
        ),
    ]


def spent(matrix: clusters.Matrix) -> Vector:
    return column(matrix, "net_revenue_90")


def said(errors: spend_forecast.Errors) -> str:
    return f"{errors.mae:,.0f} / {errors.rmse:,.0f} GBP / {errors.r2:.2f}"


def a_million() -> list[Figure]:
    matrix = np.empty((CUSTOMERS, len(FEATURES)))
    features_took = 0.0
    for start in range(0, CUSTOMERS, AT_ONCE):
        people = shoppers.of_many_rhythms(min(AT_ONCE, CUSTOMERS - start), seed=start)
        began = time.perf_counter()
        matrix[start : start + people.customers] = people.features(date(2026, 10, 30))
        features_took += time.perf_counter() - began
    before, began = peak(), time.perf_counter()
    fitted = clusters.fit(matrix)
    fit_took, began = time.perf_counter() - began, time.perf_counter()
    labels = clusters.assign(fitted, matrix)
    assign_took, began = time.perf_counter() - began, time.perf_counter()
    clusters.describe(fitted, matrix, labels)
    describe_took = time.perf_counter() - began
    whole = features_took + fit_took + assign_took + describe_took
    return [
        Figure(
            f"{CUSTOMERS:,} customers: features / fit / assign / describe",
            "< 60 s together",
            f"{features_took:.1f} / {fit_took:.1f} / {assign_took:.1f} / {describe_took:.1f} s",
            whole < 60,
        ),
        Figure(
            "peak resident memory, before and after the clusters",
            "< 1,000 MB",
            f"{before / 1e6:,.0f} and {peak() / 1e6:,.0f} MB",
            peak() < 1e9,
        ),
    ]


def peak() -> int:
    """Bytes (Linux)."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
