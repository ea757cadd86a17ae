"""The real file (541,909 lines) through the embedded suite: time, memory, repetition, a kill, replay, and its figures
against plain SQL over the file."""

import contextlib
import tempfile
import time
from pathlib import Path
from typing import Any

from tests.benchmarks.report import Figure
from tests.deployment import proportional_set_size, purchase
from tests.embedded import EmbeddedSuite, embedded
from tests.real_file import AS_OF, FILE, MAPPING, recompute, told


def measure() -> list[Figure]:
    with tempfile.TemporaryDirectory(prefix="regulars-") as folder:
        Path(folder).chmod(0o755)
        with embedded(Path(folder) / "whole") as suite:
            figures, unbroken = first_import(suite)
            figures += [second_import(suite, unbroken), *replayed(suite), recomputed(suite)]
        with embedded(Path(folder) / "broken") as suite:
            figures.append(killed_half_way(suite, unbroken))
    return figures


def heaviest_now(suite: EmbeddedSuite) -> int:
    """The largest of the processes in bytes; the one that reads beside an import comes and goes."""
    sizes = []
    for process in suite.processes():
        with contextlib.suppress(ProcessLookupError, FileNotFoundError):
            sizes.append(proportional_set_size(process.pid))
    return max(sizes)


def first_import(suite: EmbeddedSuite) -> tuple[list[Figure], dict[str, str]]:
    began = time.monotonic()
    job_id = suite.import_file(FILE, MAPPING)
    heaviest: list[int] = []
    while (job := suite.job(job_id))["state"] in ("queued", "running"):
        heaviest.append(heaviest_now(suite))
        time.sleep(0.25)
    succeeded = time.monotonic() - began
    assert job["state"] == "succeeded", job
    settled_told = suite.settle()
    settled = time.monotonic() - began
    early, late = max(heaviest[: len(heaviest) // 2]), max(heaviest[len(heaviest) // 2 :])
    figures = [
        Figure("541,909 lines: job succeeded", "< 60 s", f"{succeeded:.1f} s", succeeded < 60),
        Figure("every event applied in all four services", "< 180 s", f"{settled:.1f} s", settled < 180),
        Figure(
            "heaviest process meanwhile (PSS), first half / second half of the job",
            "flat, < 250 MB",
            f"{early / 1e6:.0f} / {late / 1e6:.0f} MB",
            late < 250e6 and late < early * 1.25,
        ),
    ]
    return figures, {service: part["state_hash"] for service, part in settled_told.items()}


def second_import(suite: EmbeddedSuite, before: dict[str, str]) -> Figure:
    job = suite.await_job(suite.import_file(FILE, MAPPING))
    suite.settle()
    same = suite.hashes() == before and job["state"] == "succeeded"
    return Figure("the same file again", "nothing changes, says so", said(job["report"]), same)


def said(report: dict[str, Any]) -> str:
    return str(report.get("summary") or report)


def killed_half_way(suite: EmbeddedSuite, unbroken: dict[str, str]) -> Figure:
    job_id = suite.import_file(FILE, MAPPING)
    while True:
        progress = suite.job(job_id)["progress"]
        if progress["total"] and progress["processed"] >= progress["total"] / 2:
            break
        time.sleep(0.05)
    suite.kill()
    at = f"{progress['processed']:,} of {progress['total']:,}"
    suite.start()
    job = suite.await_job(job_id)
    suite.settle()
    same = job["state"] == "succeeded" and suite.hashes() == unbroken
    return Figure("killed at 50 % and resumed", "same state hash as unbroken", f"{at}: {same}", same)


def replayed(suite: EmbeddedSuite) -> list[Figure]:
    before = suite.hashes()
    told_twice = [suite.command("replay") for _ in range(2)]
    same = suite.hashes() == before and all(part["events_applied"] == 0 for part in told_twice)
    metrics_hash = suite.verify()["scoring"]["metrics_hash"]
    rebuilt = suite.command("rebuild", module="services.scoring")["metrics_hash"]
    with suite.client("profile") as client:
        assert (
            client.put("/purchases/shop/moves", json=purchase("mover", 1, currency="GBP")).status_code == 201
        )
    suite.settle()
    moved = suite.hashes()
    return [
        Figure(
            "replay of all topics from the start, twice",
            "identical hashes",
            f"{told_twice[0]['events_reread']:,} events reread, {told_twice[0]['events_applied']} applied",
            same,
        ),
        Figure(
            "scoring's metrics rebuilt into an empty database",
            "identical hash",
            rebuilt[:16],
            rebuilt == metrics_hash,
        ),
        Figure(
            "a new purchase",
            "moves them",
            "moved",
            all(moved[s] != before[s] for s in ("profile", "scoring")),
        ),
    ]


def recomputed(suite: EmbeddedSuite) -> Figure:
    with suite.client("scoring") as client, suite.client("profile") as profile:
        calibration = client.post("/calibrations", json={"as_of": AS_OF})
        job = suite.await_job(calibration.headers["Location"].rsplit("/", 1)[1], "scoring")
        assert job["state"] == "succeeded", job
        names = {
            item["id"]: item["external_ids"][0]["external_id"] for item in everything(profile, "/customers")
        }
        scores = {
            names[score["customer_id"]]: told(score)
            for score in everything(client, "/scores")
            if names[score["customer_id"]] != "mover"
        }
    expected = recompute()
    differences = sum(scores.get(customer) != row for customer, row in expected.items()) + len(
        scores.keys() - expected.keys()
    )
    return Figure(
        f"metrics and RFM of {len(expected):,} customers against plain SQL over the file",
        "0 differences",
        f"{differences}",
        differences == 0,
    )


def everything(client: Any, path: str) -> list[dict[str, Any]]:
    items, cursor = [], None
    while True:
        page = client.get(path, params={"limit": 200, **({"cursor": cursor} if cursor else {})}).json()
        items += page["items"]
        cursor = page["next_cursor"]
        if cursor is None:
            return items
