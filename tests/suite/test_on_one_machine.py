"""`make run` and what stands beside it, as a newcomer uses it."""

import os
import re
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import httpx
import psutil
import pytest

from tests.broker import Broker
from tests.deployment import ROOT, purchase
from tests.embedded import EmbeddedSuite


@pytest.fixture
def suite(tmp_path: Path):
    made = EmbeddedSuite(tmp_path / "data")
    made.start()
    yield made
    if made.popen is not None and made.popen.poll() is None:
        made.stop()
    subprocess.run([sys.executable, "-m", "services", "down"], env=made.environment, cwd=ROOT, check=False)


@pytest.fixture
def own_kafka(tmp_path: Path, kafka: str):
    """A broker of this test's own, empty; ``kafka`` is asked for because where that one cannot be had, neither can this."""
    with Broker(tmp_path / "kafka") as broker:
        yield broker.running.address


def told(suite: EmbeddedSuite) -> str:
    return (suite.directory.parent / f"{suite.directory.name}.log").read_text()


def record(suite: EmbeddedSuite, count: int, customer: str = "17850") -> None:
    with suite.client("profile") as client:
        for number in range(count):
            reply = client.put(f"/purchases/shop/{customer}-{number}", json=purchase(customer, number))
            assert reply.status_code in (200, 201), reply.text


def attempt(suite: EmbeddedSuite, *arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "services", *arguments],
        env=suite.environment | environment,
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )


def until(condition: Any, seconds: float = 60) -> None:
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end
        time.sleep(0.1)


def test_it_says_where_it_is_keeps_its_data_and_stops_cleanly(suite: EmbeddedSuite) -> None:
    until(lambda: f"ready at {suite.url} · key in {suite.directory}/admin.key" in told(suite))
    assert httpx.get(f"{suite.url}/").status_code == 200
    record(suite, 3)
    before = suite.settle()
    processes = [process.pid for process in suite.processes()]
    assert suite.stop() == 0
    assert not [pid for pid in processes if psutil.pid_exists(pid)]
    assert not (suite.directory / "postgres" / "postmaster.pid").exists()
    suite.start()
    assert suite.settle() == before


def test_after_a_kill_it_starts_again_with_everything_that_was_acknowledged(suite: EmbeddedSuite) -> None:
    record(suite, 20)
    orphans = [process for process in suite.processes()[1:] if process.is_running()]
    suite.kill()
    suite.start()
    assert "Postgres: found running" in told(suite)
    after = suite.settle()
    assert all(all(part["invariants"].values()) for part in after.values())
    with suite.client("scoring") as client:
        (score,) = client.get("/scores").json()["items"]
    assert score["metrics"]["purchase_count"] == 20
    until(lambda: not [orphan for orphan in orphans if orphan.is_running()], 20)


def test_whatever_dies_is_started_again(suite: EmbeddedSuite) -> None:
    for child in suite.processes()[1:]:
        child.kill()
    postmaster = int((suite.directory / "postgres" / "postmaster.pid").read_text().split()[0])
    os.kill(postmaster, signal.SIGKILL)
    until(lambda: "Postgres ended and was started again" in told(suite))
    until(lambda: len(suite.processes()) == 3)
    until(lambda: httpx.get(f"{suite.url}/readyz", timeout=10).status_code == 200)
    record(suite, 2)
    suite.settle()
    with suite.client("campaigns") as client, suite.client("profile") as profile:
        customer = profile.get("/customers/by-external-id/shop/17850").json()["id"]
        until(lambda: client.get(f"/customers/{customer}/points").status_code == 200)


def test_a_replay_beside_the_running_suite_changes_nothing(suite: EmbeddedSuite) -> None:
    record(suite, 10)
    before = suite.settle()
    for _ in range(2):
        replayed = suite.command("replay")
        assert replayed["events_reread"] > 0
        assert replayed["events_applied"] == 0
    assert suite.verify() == before
    rebuilt = suite.command("rebuild", module="services.scoring")
    assert rebuilt["metrics_hash"] == before["scoring"]["metrics_hash"]


def test_what_stands_in_the_way_is_said_in_a_line(suite: EmbeddedSuite, tmp_path: Path) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = str(taken.getsockname()[1])
        in_use = attempt(suite, REGULARS_PORT=port, REGULARS_DATA_DIR=str(tmp_path / "other"))
    assert in_use.returncode == 2
    assert re.fullmatch(
        rf"port {port} on 127.0.0.1 cannot be used \(.*\): set REGULARS_PORT.*\n", in_use.stderr
    )

    second = attempt(suite, REGULARS_PORT=port)
    assert second.returncode == 2
    assert "a suite is running over" in second.stderr

    (tmp_path / "file").touch()
    unwritable = attempt(suite, REGULARS_PORT=port, REGULARS_DATA_DIR=str(tmp_path / "file" / "data"))
    assert unwritable.returncode == 2
    assert "cannot be written" in unwritable.stderr

    nothing = attempt(suite, "verify", REGULARS_DATA_DIR=str(tmp_path / "nowhere"))
    assert nothing.returncode == 2
    assert "there is no suite" in nothing.stderr


def test_the_events_move_to_kafka_only_by_republish(suite: EmbeddedSuite, own_kafka: str) -> None:
    record(suite, 5)
    before = suite.settle()
    suite.stop()
    refused = attempt(suite, KAFKA=own_kafka)
    assert refused.returncode == 2
    assert "republish" in refused.stderr
    assert attempt(suite, "republish", KAFKA=own_kafka).returncode == 0
    assert attempt(suite).returncode == 2

    suite.environment["KAFKA"] = own_kafka
    suite.start()
    assert suite.settle() == before
    record(suite, 7)
    suite.settle()
    with suite.client("scoring") as client:
        (score,) = client.get("/scores").json()["items"]
    assert score["metrics"]["purchase_count"] == 7


def test_the_demo_makes_everything_happen(suite: EmbeddedSuite) -> None:
    shown = attempt(suite, "demo", "--customers", "60")
    assert shown.returncode == 0, shown.stderr
    for line in (
        "customers  60 in the file",
        "tiers  platinum",
        "case_reply sent 1",
        "held back  tier_upgrade",
    ):
        assert line in shown.stdout
    assert list((suite.directory / "mailbox").glob("*.eml"))
    again = attempt(suite, "demo", "--customers", "60")
    assert "Nothing changed" in again.stdout
