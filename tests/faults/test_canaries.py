"""Promises 24 and 25: personal data stay sealed in every store, topic, log and metric of a running suite; an erasure reaches
all of them within five minutes, and an old backup of any service does not undo it.

A thousand people take four minutes: by `make faults` only. Its smoke in CI is tests/profile/test_canaries."""

import json
import os
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import httpx
import pytest

from shared.messaging.bus import open_bus
from tests.canaries import dump, phone_of, phones_in, song_in, tell
from tests.deployment import ROOT, SERVICES, Deployment, deployed, free_port

pytestmark = pytest.mark.xdist_group("deployment")

WITHIN = 300.0


PEOPLE = int(os.environ.get("REGULARS_CANARIES", "1000"))


@pytest.fixture
def running(tmp_path: Path, cluster: Any, kafka: str) -> Iterator[Deployment]:
    """A deployment of this test's own, for its databases are put back to what they were."""
    # Metrics are the api's; every role of a service reads the same setting, so the others are given none.
    with deployed(tmp_path / "canaries", cluster.url(), kafka) as deployment:
        for service in SERVICES:
            api = deployment.processes[f"{service} api"]
            api.environment = {**api.environment, "REGULARS_METRICS_PORT": str(free_port())}
            api.stop()
            api.start()
            deployment.await_ready(service)
        yield deployment


def asking(deployment: Deployment, service: str) -> Callable[[str, str, Any], Any]:
    clients = threading.local()

    def request(method: str, path: str, body: Any) -> Any:
        if not hasattr(clients, "one"):
            clients.one = deployment.client(service)
        for _ in range(20):
            reply = clients.one.request(method, path, json=body)
            if reply.status_code not in (429, 503):
                break
            time.sleep(0.5)
        assert reply.status_code < 300, (path, reply.text)
        return reply.json()

    return request


def everywhere(deployment: Deployment) -> Iterator[tuple[str, bytes]]:
    """Whatever somebody could lay hands on: tables, topics, logs, anchors."""
    for service in SERVICES:
        for table, content in dump(deployment.database_url(service)).items():
            yield f"{service} {table}", content
    bus = open_bus(deployment.bus)
    topics = [f"regulars.{service}.customer.v1" for service in SERVICES]
    topics += ["regulars.profile.activity.v1", "regulars.profile.product.v1"]
    bus.prepare(topics)
    for records in bus.read_from_start(topics):
        yield "topics", b"\n".join(record.key.encode() + b" " + record.value for record in records)
    bus.close()
    for file in deployment.directory.glob("*.log"):
        yield file.name, file.read_bytes()
    for service in SERVICES:
        if not deployment.processes[f"{service} api"].running():
            continue
        port = deployment.processes[f"{service} api"].environment["REGULARS_METRICS_PORT"]
        yield f"{service} metrics", httpx.get(f"http://127.0.0.1:{port}/metrics", timeout=10).content
    yield "anchors", (deployment.directory / "audit-anchors.jsonl").read_bytes()


def canaries_in(deployment: Deployment, count: int) -> list[str]:
    phones = [phone_of(number) for number in range(count)]
    return sorted(
        {name for name, content in everywhere(deployment) if song_in(content) or phones_in(content, phones)}
    )


def in_parallel(work: Callable[[Any], Any], over: Any) -> list[Any]:
    with ThreadPoolExecutor(8) as pool:
        return list(pool.map(work, over))


def readable_keys(deployment: Deployment, ids: list[str]) -> dict[str, int]:
    """How many data keys of these customers each service still has."""
    left = {}
    for service in SERVICES:
        with deployment.connect(service) as connection:
            row = connection.execute(
                "select count(*) from shared.subject_key where wrapped is not null and subject = any(%s)",
                (ids,),
            ).fetchone()
            left[service] = row[0] if row else 0
    return left


def test_canaries_are_found_nowhere_erased_everywhere_and_no_backup_brings_them_back(
    running: Deployment, cluster: Any
) -> None:
    profile, feedback = asking(running, "profile"), asking(running, "feedback")
    ids = in_parallel(lambda number: tell(profile, number), range(PEOPLE))
    running.settle(600)

    def complain(number: int) -> None:
        said = {"subject": f"zq7canary-{number}", "text": f"慢 zq7canary-{number}", "category": "complaint"}
        feedback("POST", "/cases", said | {"customer_id": ids[number], "channel": "phone"})

    in_parallel(complain, range(PEOPLE))
    running.settle(600)
    assert canaries_in(running, PEOPLE) == []
    keys = readable_keys(running, ids)
    assert keys["profile"] == PEOPLE and keys["feedback"] == PEOPLE

    # Backups of all four, made while everybody was there.
    for process in running.processes.values():
        process.stop()
    for service in SERVICES:
        name = f"{running.prefix}_{service}"
        cluster.execute(f'create database "{name}_old" template "{name}"')
    try:
        running.start()
        erased_at = time.monotonic()
        in_parallel(lambda one: profile("POST", f"/customers/{one}/erasure", None), ids)
        with running.client("profile") as client:
            while True:
                outstanding = client.get("/erasures", params={"outstanding": True, "limit": 1}).json()[
                    "items"
                ]
                if not outstanding:
                    break
                assert time.monotonic() - erased_at < WITHIN, outstanding
                time.sleep(0.5)
            assert all(client.get(f"/customers/{one}").status_code == 410 for one in ids[:20])
        running.settle(600)
        assert readable_keys(running, ids) == dict.fromkeys(SERVICES, 0)
        assert canaries_in(running, PEOPLE) == []

        for process in running.processes.values():
            process.stop()
        for service in SERVICES:
            name = f"{running.prefix}_{service}"
            cluster.execute(
                f'drop database "{name}" with (force)', f'alter database "{name}_old" rename to "{name}"'
            )
        assert readable_keys(running, ids)["profile"] == PEOPLE, "the backups remember"
        for service in SERVICES:
            # Where no file of anchors is at hand, the topic alone says who was erased.
            file = "" if service == "scoring" else running.environment["REGULARS_AUDIT_ANCHORS"]
            done = subprocess.run(
                [sys.executable, "-m", f"services.{service}", "reapply-erasures"],
                env={**running.environment, "REGULARS_AUDIT_ANCHORS": file},
                cwd=ROOT,
                capture_output=True,
                check=True,
            )
            told = json.loads(done.stdout)
            assert told["erasures_known"] == PEOPLE and told["erasures_reapplied"] == PEOPLE, told
        assert readable_keys(running, ids) == dict.fromkeys(SERVICES, 0)
        assert canaries_in(running, PEOPLE) == []
    finally:
        for service in SERVICES:
            cluster.execute(f'drop database if exists "{running.prefix}_{service}_old" with (force)')
