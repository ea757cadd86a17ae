"""Promises 10 and 17: a bus that is away delays and loses nothing; a rolling restart is not noticed."""

import threading
import time
from pathlib import Path
from typing import Any

import httpx
import pytest

from tests.broker import Broker
from tests.deployment import Deployment, Process, deployed, free_port, purchase
from tests.faults.load import record_purchases

# One worker after another: each of these is sixteen processes and more.
pytestmark = pytest.mark.xdist_group("deployment")


def test_writes_are_answered_while_kafka_is_away_and_arrive_when_it_is_back(
    tmp_path: Path, cluster: Any, own_broker: Broker, size
) -> None:
    with deployed(tmp_path, cluster.url(), own_broker.url) as deployment:
        record_purchases(deployment, ["before"], 3, writers=1)
        deployment.settle()
        own_broker.kill()
        end = time.monotonic() + size(10, 600)
        number, refused = 0, []
        with deployment.client("profile") as client:
            while time.monotonic() < end:
                reply = client.put(f"/purchases/shop/away-{number}", json=purchase(f"c{number % 9}", number))
                if reply.status_code != 201:
                    refused.append(reply.text)
                number += 1
                time.sleep(0.05)
        assert refused == []
        own_broker.start()
        told = deployment.settle(120)
        assert all(part["outbox_pending"] == part["behind"] == 0 for part in told.values())
        with deployment.connect("scoring") as connection:
            recorded = connection.execute(
                "select count(*) from purchase join customer using (customer_id) where natural_key like 'shop:c%'"
            ).fetchone()
        assert recorded == (number,)


class Balancer:
    """What a Service and its readiness do in a cluster: new requests go to a replica that accepts them."""

    def __init__(self, ports: list[int], key: str) -> None:
        self.ports, self.key = ports, key
        self.errors: list[str] = []

    def put(self, client: httpx.Client, external_id: str) -> None:
        for attempt in range(200):
            port = self.ports[attempt % len(self.ports)]
            try:
                reply = client.put(
                    f"http://127.0.0.1:{port}/profile/v1/purchases/shop/{external_id}",
                    json=purchase("rolling", external_id),
                    headers={"Authorization": f"Bearer {self.key}"},
                )
            except httpx.ConnectError:
                time.sleep(0.01)
                continue
            except httpx.HTTPError as error:
                self.errors.append(f"{external_id}: {error!r}")
                return
            if reply.status_code not in (200, 201):
                self.errors.append(f"{external_id}: {reply.status_code} {reply.text}")
            return
        self.errors.append(f"{external_id}: no replica accepted it")


def test_rolling_restarts_are_not_noticed(deployment: Deployment, size) -> None:
    first = deployment.processes["profile api"]
    second = Process(
        "profile",
        "api",
        first.arguments,
        {**deployment.environment, "REGULARS_PROFILE_PORT": str(free_port())},
        deployment.directory / "profile-api-2.log",
    )
    ports = [deployment.ports["profile"], int(second.environment["REGULARS_PROFILE_PORT"])]
    second.start()
    await_ready(ports[1])
    balancer, done = Balancer(ports, deployment.admin_key), threading.Event()

    def ask(worker: int) -> None:
        # One connection a request: kept-alive ones would need a client that retries, as a Service does not.
        number = 0
        while not done.is_set():
            with httpx.Client(timeout=10) as client:
                balancer.put(client, f"rolling-{worker}-{number}")
            number += 1
            time.sleep(0.08)

    workers = [threading.Thread(target=ask, args=[worker]) for worker in range(4)]
    for worker in workers:
        worker.start()
    codes = []
    try:
        for restart in range(size(4, 100)):
            process, port = ((first, ports[0]), (second, ports[1]))[restart % 2]
            codes.append(process.stop())
            process.start()
            await_ready(port)
    finally:
        done.set()
        for worker in workers:
            worker.join()
        second.stop()
    assert balancer.errors == []
    assert set(codes) == {0}


def await_ready(port: int) -> None:
    end = time.monotonic() + 180
    while True:
        try:
            if httpx.get(f"http://127.0.0.1:{port}/readyz").status_code == 200:
                return
        except httpx.HTTPError:
            pass
        assert time.monotonic() < end
        time.sleep(0.1)
