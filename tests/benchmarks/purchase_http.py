"""One purchase over HTTP against a hand-written Starlette + raw asyncpg service that makes the same rows.

Server pinned to one core, client and Postgres to the other; 32 connections; both with a pool of 8, READ COMMITTED, fsync
on, the same database. Runs alternate; the figure is the median of the pairwise ratios.
"""

import json
import os
import statistics
import subprocess
import sys
import tempfile
from pathlib import Path

import psycopg

from tests.benchmarks.load import Outcome, drive, prepare
from tests.benchmarks.report import Figure
from tests.deployment import ROOT, Deployment, free_port, purchase
from tests.postgres import Postgres

CUSTOMERS = 2_000
RUNS = 5
REQUESTS = 4_000


def pinned(core: int) -> list[str]:
    """The start of a command that keeps to one core, where the machine has two and `taskset`."""
    return ["taskset", "-c", str(core)] if (os.cpu_count() or 1) > 1 else []


def requests(run: str, headers: dict[str, str]) -> list[bytes]:
    return [
        prepare("PUT", f"/profile/v1/purchases/shop/{run}-{n}", purchase(f"c{n % CUSTOMERS}", n), headers)
        for n in range(REQUESTS)
    ]


def measure() -> list[Figure]:
    os.sched_setaffinity(0, {1})
    with (
        tempfile.TemporaryDirectory(prefix="regulars-") as folder,
        Postgres(Path(folder) / "postgres") as postgres,
    ):
        deployment = Deployment(Path(folder), postgres.url, "", command=[*pinned(0), sys.executable])
        deployment.environment["REGULARS_BUS"] = deployment.database_url("profile")
        deployment.prepare()
        deployment.start(["profile"], ["api"])
        register(deployment)
        limit_port = free_port()
        url = deployment.database_url("profile").replace("postgresql+psycopg://", "postgresql://")
        limit = subprocess.Popen(
            [*pinned(0), sys.executable, "-m", "tests.benchmarks.purchase_limit", str(limit_port), url],
            cwd=ROOT,
        )
        try:
            headers = {"Authorization": f"Bearer {deployment.admin_key}"}
            drive(deployment.ports["profile"], requests("warm-ours", headers)[:500])
            drive(limit_port, requests("warm-limit", headers)[:500])
            ours, limits = [], []
            for run in range(RUNS):
                limits.append(checked(drive(limit_port, requests(f"limit-{run}", headers))))
                ours.append(checked(drive(deployment.ports["profile"], requests(f"ours-{run}", headers))))
        finally:
            limit.terminate()
            limit.wait()
            deployment.stop()
        same_rows(url)
    ratios = [a.per_second / b.per_second for a, b in zip(ours, limits, strict=True)]
    median = statistics.median(ratios)
    said = (
        f"{median:.2f} ({min(ratios):.2f}–{max(ratios):.2f}); {statistics.median(o.per_second for o in ours):.0f}"
        f" against {statistics.median(o.per_second for o in limits):.0f} requests/s"
    )
    return [Figure("one purchase over HTTP, requests/s against the limit", "≥ 0.5", said, median >= 0.5)]


def register(deployment: Deployment) -> None:
    with deployment.client("profile") as client:
        for number in range(CUSTOMERS):
            reply = client.put(f"/customers/by-external-id/shop/c{number}", json={"kind": "person"})
            assert reply.status_code == 201, reply.text
        # The accounting currency is fixed by a first purchase.
        assert client.put("/purchases/shop/first", json=purchase("c0", "first")).status_code == 201


def checked(outcome: Outcome) -> Outcome:
    assert set(outcome.statuses) == {201}, outcome.statuses
    return outcome


def same_rows(url: str) -> None:
    """Both sides made as many rows of every kind for a purchase."""
    with psycopg.connect(url) as connection:
        counts = {
            side: connection.execute(
                "select count(distinct p.purchase_id), count(l.line) from purchase p join purchase_line l using"
                " (purchase_id) where p.external_id like %s",
                [f"{side}-%"],
            ).fetchone()
            for side in ("ours", "limit")
        }
    assert counts["ours"] == counts["limit"], json.dumps(counts)
