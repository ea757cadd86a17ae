"""Events applied per second by one react process of scoring, from a real Kafka.

60,000 purchase_recorded of 20,000 customers (registered first) stand in the topic before the process starts; the clock
runs from the first applied event to the last, read from the watermarks' sum, so that starting up does not count.
"""

import tempfile
import time
from datetime import UTC, datetime
from pathlib import Path
from uuid import UUID

from pydantic_core import to_json

from shared.events.profile import CustomerRegistered, ExternalId, PurchaseLine, PurchaseRecorded
from shared.ids import uuid7
from shared.messaging.bus import Message, open_bus
from tests.benchmarks.report import Figure
from tests.broker import Broker
from tests.deployment import Deployment
from tests.postgres import Postgres

CUSTOMERS = 20_000
PURCHASES = 60_000


def envelope(event: CustomerRegistered | PurchaseRecorded, sequence: int) -> Message:
    value = {
        "specversion": "1.0",
        "id": str(event.id),
        "source": "/regulars/profile",
        "type": event.type,
        "subject": event.key,
        "time": "2026-11-20T10:00:00Z",
        "datacontenttype": "application/json",
        "partitionkey": event.key,
        "sequence": f"{sequence:020}",
        "data": event.model_dump(mode="json"),
    }
    return Message(event.topic, event.key, to_json(value))


def messages() -> list[Message]:
    now = datetime(2026, 11, 20, 10, tzinfo=UTC)
    customers = [uuid7() for _ in range(CUSTOMERS)]
    made = [envelope(registered(customer, n, now), 1) for n, customer in enumerate(customers)]
    for n in range(PURCHASES):
        customer = customers[n * 7919 % CUSTOMERS]
        made.append(envelope(recorded(customer, n, now), 2 + n // CUSTOMERS))
    return made


def registered(customer: UUID, number: int, now: datetime) -> CustomerRegistered:
    known_as = (ExternalId(source="shop", external_id=str(number)),)
    return CustomerRegistered(customer_id=customer, kind="person", external_ids=known_as, registered_at=now)


def recorded(customer: UUID, number: int, now: datetime) -> PurchaseRecorded:
    lines = tuple(
        PurchaseLine(
            line=n,
            sku=f"SKU-{n}",
            quantity=n,
            unit_price="12.50",
            amount_minor=1250 * n,
            accounting_amount_minor=1250 * n,
        )
        for n in (1, 2, 3)
    )
    return PurchaseRecorded(
        customer_id=customer,
        purchase_id=uuid7(),
        source="shop",
        external_id=str(number),
        occurred_at=now,
        recorded_at=now,
        historical=False,
        currency="CNY",
        channel="web",
        total_minor=7500,
        accounting_total_minor=7500,
        lines=lines,
    )


def measure() -> list[Figure]:
    with (
        tempfile.TemporaryDirectory(prefix="regulars-") as folder,
        Postgres(Path(folder) / "postgres") as postgres,
        Broker(Path(folder) / "kafka") as broker,
    ):
        rates = []
        for _ in range(3):
            deployment = Deployment(Path(folder), postgres.url, broker.url)
            deployment.prepare()
            bus = open_bus(deployment.bus)
            told = messages()
            for start in range(0, len(told), 2_000):
                bus.publish(told[start : start + 2_000])
            bus.close()
            rates.append(run(deployment))
            deployment.drop()
    median = sorted(rates)[1]
    return [
        Figure(
            "events applied per second by one react process (scoring), from Kafka, validated, watermarked,"
            " metrics current",
            "≥ 5,000",
            f"{median:,.0f} ({min(rates):,.0f}–{max(rates):,.0f})",
            median >= 5_000,
        )
    ]


def run(deployment: Deployment) -> float:
    deployment.start(["scoring"], ["react"])
    first, first_at = 0, 0.0
    with deployment.connect("scoring") as connection:
        while True:
            applied = connection.execute(
                "select coalesce(sum(sequence), 0)::bigint from shared.watermark where topic = 'regulars.profile.customer.v1'"
            ).fetchone()[0]
            if applied and not first:
                first, first_at = applied, time.perf_counter()
            if applied >= CUSTOMERS + PURCHASES:
                rate = (applied - first) / (time.perf_counter() - first_at)
                break
            time.sleep(0.05)
        wrong = connection.execute(
            "select count(*) filter (where purchase_count <> 3 or gross_minor <> 22500), count(*) from metrics"
        ).fetchone()
    deployment.processes["scoring react"].stop()
    assert wrong == (0, CUSTOMERS), wrong
    return rate
