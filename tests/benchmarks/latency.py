"""From an acknowledged purchase to its score and its points, both right by GET: 200 purchases a second on a real Kafka,
separate processes, for ten minutes (REGULARS_BENCH_MINUTES), 5 % sampled.

Purchases start by the clock, whether the ones before have been answered or not, spread over writers that each own a share
of the customers: nobody else buys for a customer who is being looked at. A purchase that starts late is counted from when
it was acknowledged, and how late they were is told.
"""

import asyncio
import contextlib
import json
import os
import random
import tempfile
import time
from collections import defaultdict
from pathlib import Path
from typing import Any

from tests.benchmarks.load import prepare
from tests.benchmarks.report import Figure
from tests.broker import Broker
from tests.deployment import Deployment, deployed, purchase
from tests.postgres import Postgres

RATE = 200
MINUTES = float(os.environ.get("REGULARS_BENCH_MINUTES", "10"))
WRITERS = 24
CUSTOMERS = 5_000
SAMPLED = 0.05


class Connection:
    """One kept-alive connection to one service; as little of an HTTP client as this needs."""

    def __init__(self, deployment: Deployment, service: str) -> None:
        self.port = deployment.ports[service]
        self.headers = {"Authorization": f"Bearer {deployment.admin_key}"}
        self.streams: tuple[asyncio.StreamReader, asyncio.StreamWriter] | None = None

    async def ask(self, method: str, path: str, body: Any = None) -> tuple[int, dict[str, Any]]:
        """Once more on a new connection where the server has just closed the old one, as every client does."""
        if self.streams is not None:
            with contextlib.suppress(asyncio.IncompleteReadError, ConnectionError):
                return await self.exchange(method, path, body)
            self.streams = None
        return await self.exchange(method, path, body)

    async def exchange(self, method: str, path: str, body: Any) -> tuple[int, dict[str, Any]]:
        if self.streams is None:
            self.streams = await asyncio.open_connection("127.0.0.1", self.port)
        reader, writer = self.streams
        writer.write(prepare(method, path, body, self.headers))
        head = await reader.readuntil(b"\r\n\r\n")
        lowered = head.lower()
        at = lowered.index(b"content-length:")
        content = await reader.readexactly(int(lowered[at + 15 : lowered.index(b"\r\n", at)]))
        if b"connection: close" in lowered:
            writer.close()
            self.streams = None
        return int(head[9:12]), json.loads(content)


class Run:
    def __init__(self, deployment: Deployment) -> None:
        self.deployment = deployment
        self.waits: list[float] = []
        self.late: list[float] = []
        self.wrong: list[str] = []
        self.spent: dict[str, int] = defaultdict(int)
        self.points: dict[str, int] = defaultdict(int)

    async def meet(self) -> None:
        """Everybody's first purchase, before the clock starts: whoever is looked at is a regular."""
        await asyncio.gather(*(self.introduce(writer) for writer in range(WRITERS)))

    async def introduce(self, writer: int) -> None:
        to = Connection(self.deployment, "profile")
        for customer in range(writer, CUSTOMERS, WRITERS):
            await self.pay(to, f"c{customer}", f"first-{customer}", customer)

    async def drive(self) -> None:
        began = time.monotonic() + 1
        await asyncio.gather(*(self.write(writer, began) for writer in range(WRITERS)))

    async def write(self, writer: int, began: float) -> None:
        """Every WRITERS-th purchase of the schedule, for customers of this writer's own."""
        to = {name: Connection(self.deployment, name) for name in ("profile", "scoring", "campaigns")}
        for number in range(writer, int(RATE * 60 * MINUTES), WRITERS):
            due = began + number / RATE
            await asyncio.sleep(max(0.0, due - time.monotonic()))
            self.late.append(max(0.0, time.monotonic() - due))
            name = f"c{writer + WRITERS * random.randrange(CUSTOMERS // WRITERS)}"
            customer_id = await self.pay(to["profile"], name, str(number), number)
            acknowledged = time.monotonic()
            if customer_id and random.random() < SAMPLED:
                await self.look(to, name, customer_id, acknowledged)

    async def pay(self, profile: Connection, name: str, purchase_id: str, number: int) -> str | None:
        """The customer's id, or None (and it is wrong) where the purchase was refused."""
        status, told = await profile.ask(
            "PUT", f"/profile/v1/purchases/shop/{purchase_id}", purchase(name, number)
        )
        if status not in (200, 201):
            self.wrong.append(f"{purchase_id}: {status} {told}")
            return None
        self.spent[name] += told["total_minor"]
        self.points[name] += told["total_minor"] // 100
        return str(told["customer_id"])

    async def look(self, to: dict[str, Connection], name: str, id_: str, acknowledged: float) -> None:
        """Ask until score and points are both right; more than right, or never, is wrong."""
        score, points = f"/scoring/v1/customers/{id_}/score", f"/campaigns/v1/customers/{id_}/points"
        scored = False
        while time.monotonic() < acknowledged + 30:
            if not scored:
                status, told = await to["scoring"].ask("GET", score)
                scored = status == 200 and told["metrics"]["net_revenue_minor"] == self.spent[name]
            if scored:
                status, told = await to["campaigns"].ask("GET", points)
                if status == 200 and told["balance"] == self.points[name]:
                    self.waits.append(time.monotonic() - acknowledged)
                    return
            await asyncio.sleep(0.02)
        self.wrong.append(f"{name}: never right")


def measure() -> list[Figure]:
    with (
        tempfile.TemporaryDirectory(prefix="regulars-") as folder,
        Postgres(Path(folder) / "postgres") as postgres,
        Broker(Path(folder) / "kafka") as broker,
        deployed(Path(folder) / "apart", postgres.url, broker.url) as deployment,
    ):
        run = Run(deployment)
        asyncio.run(run.meet())
        deployment.settle()
        asyncio.run(run.drive())
        deployment.settle()
        with deployment.connect("scoring") as connection:
            right = connection.execute(
                "select sum(gross_minor - returned_minor - cancelled_minor)::bigint from metrics"
            ).fetchone()
        if right != (sum(run.spent.values()),):
            run.wrong.append(f"revenue in all: {right} instead of {sum(run.spent.values())}")
    p50, p99 = percentile(run.waits, 0.5), percentile(run.waits, 0.99)
    said = (
        f"p50 {p50 * 1000:.0f} ms, p99 {p99 * 1000:.0f} ms of {len(run.waits):,}; {len(run.wrong)} wrong"
        f" (started late: p99 {percentile(run.late, 0.99) * 1000:.0f} ms)"
    )
    return [
        Figure(
            f"purchase acknowledged → score and points both right, {RATE}/s for {MINUTES:g} min",
            "p99 < 1 s, none wrong",
            said,
            p99 < 1 and not run.wrong,
        )
    ]


def percentile(values: list[float], share: float) -> float:
    ordered = sorted(values)
    return ordered[min(len(ordered) - 1, int(len(ordered) * share))]
