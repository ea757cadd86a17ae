"""From an acknowledged purchase to its score and its points, both right by GET: 200 purchases a second on a real Kafka,
separate processes, for ten minutes (REGULARS_BENCH_MINUTES), 5 % sampled."""

import asyncio
import os
import random
import tempfile
import time
from collections import defaultdict
from pathlib import Path

import httpx

from tests.benchmarks.report import Figure
from tests.broker import Broker
from tests.deployment import Deployment, deployed, purchase
from tests.postgres import Postgres

RATE = 200
MINUTES = float(os.environ.get("REGULARS_BENCH_MINUTES", "10"))
CUSTOMERS = 5_000
SAMPLED = 0.05


class Run:
    def __init__(self, deployment: Deployment) -> None:
        self.deployment = deployment
        self.waits: list[float] = []
        self.acknowledged: list[float] = []
        self.wrong: list[str] = []
        self.spent: dict[str, int] = defaultdict(int)
        self.points: dict[str, int] = defaultdict(int)
        self.busy: dict[str, asyncio.Lock] = defaultdict(asyncio.Lock)

    async def drive(self) -> None:
        limits = httpx.Limits(max_connections=40, max_keepalive_connections=40)
        headers = {"Authorization": f"Bearer {self.deployment.admin_key}"}
        async with httpx.AsyncClient(headers=headers, limits=limits, timeout=30) as client:
            began, tasks = time.monotonic(), set()
            for number in range(int(RATE * 60 * MINUTES)):
                await asyncio.sleep(max(0.0, began + number / RATE - time.monotonic()))
                task = asyncio.create_task(self.buy(client, number))
                tasks.add(task)
                task.add_done_callback(tasks.discard)
            await asyncio.gather(*tasks)

    async def buy(self, client: httpx.AsyncClient, number: int) -> None:
        name = f"c{random.randrange(CUSTOMERS)}"
        async with self.busy[name]:
            url = self.deployment.url("profile") + f"/profile/v1/purchases/shop/{number}"
            began = time.monotonic()
            reply = await client.put(url, json=purchase(name, number))
            acknowledged = time.monotonic()
            if reply.status_code != 201:
                self.wrong.append(f"{number}: {reply.status_code} {reply.text[:200]}")
                return
            self.acknowledged.append(acknowledged - began)
            body = reply.json()
            self.spent[name] += body["total_minor"]
            self.points[name] += body["total_minor"] // 100
            if random.random() < SAMPLED:
                await self.look(client, name, body["customer_id"], acknowledged)

    async def look(self, client: httpx.AsyncClient, name: str, customer_id: str, acknowledged: float) -> None:
        """Ask until score and points are both right; nobody else buys for this customer meanwhile."""
        score = f"{self.deployment.url('scoring')}/scoring/v1/customers/{customer_id}/score"
        points = f"{self.deployment.url('campaigns')}/campaigns/v1/customers/{customer_id}/points"
        while time.monotonic() < acknowledged + 30:
            told = await client.get(score)
            if told.status_code == 200 and told.json()["metrics"]["net_revenue_minor"] == self.spent[name]:
                break
            await asyncio.sleep(0.02)
        while time.monotonic() < acknowledged + 30:
            told = await client.get(points)
            if told.status_code == 200 and told.json()["balance"] == self.points[name]:
                break
            await asyncio.sleep(0.02)
        else:
            self.wrong.append(f"{name}: never right")
            return
        self.waits.append(time.monotonic() - acknowledged)


def measure() -> list[Figure]:
    with (
        tempfile.TemporaryDirectory(prefix="regulars-") as folder,
        Postgres(Path(folder) / "postgres") as postgres,
        Broker(Path(folder) / "kafka") as broker,
        deployed(Path(folder) / "apart", postgres.url, broker.url) as deployment,
    ):
        run = Run(deployment)
        asyncio.run(run.drive())
        deployment.settle()
        with deployment.connect("scoring") as connection:
            right = connection.execute(
                "select sum(gross_minor - returned_minor - cancelled_minor)::bigint from metrics"
            ).fetchone()
        if right != (sum(run.spent.values()),):
            run.wrong.append(f"revenue in all: {right} instead of {sum(run.spent.values())}")
    run.waits.sort()
    p50, p99 = (run.waits[int(len(run.waits) * share)] for share in (0.5, 0.99))
    said = f"p50 {p50 * 1000:.0f} ms, p99 {p99 * 1000:.0f} ms of {len(run.waits):,}; {len(run.wrong)} wrong"
    return [
        Figure(
            f"purchase acknowledged → score and points both right, {RATE}/s for {MINUTES:g} min",
            "p99 < 1 s, none wrong",
            said,
            p99 < 1 and not run.wrong,
        )
    ]
