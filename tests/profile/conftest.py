"""profile under test, and short ways to say what the world told it."""

import json
import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID

import pytest
from sqlalchemy import text

from services.profile.app import SERVICE
from services.profile.domain import erasure

NOW = datetime.now(UTC)
YESTERDAY = (NOW - timedelta(days=1)).isoformat()
LONG_AGO = "2011-12-09T12:50:00Z"


@dataclass
class Profile:
    """The service with the verbs that nearly every test needs."""

    under_test: Any

    @property
    def client(self) -> Any:
        return self.under_test.client

    def customer(self, external_id: str = "17850", **fields: Any) -> dict[str, Any]:
        reply = self.client.put(f"/v1/customers/by-external-id/shop/{external_id}", json=fields)
        assert reply.status_code in (200, 201), reply.text
        return reply.json()

    def buy(self, external_id: str, *lines: dict[str, Any], **fields: Any) -> Any:
        body = purchase(*lines, **fields)
        return self.client.put(f"/v1/purchases/shop/{external_id}", json=body)

    def bring_back(self, external_id: str, order: str, *lines: tuple[int, int], **fields: Any) -> Any:
        body = {
            "purchase": {"source": "shop", "external_id": order},
            "occurred_at": YESTERDAY,
            "lines": [{"line": line, "quantity": quantity} for line, quantity in lines],
        }
        return self.client.put(f"/v1/returns/shop/{external_id}", json=body | fields)

    def announced(self, kind: str | None = None) -> list[dict[str, Any]]:
        """The data of what was announced so far, oldest first."""
        with self.under_test.sessions() as session:
            rows = session.execute(text("select type, key, data from shared.outbox order by id")).all()
        return [
            row.data | {"type": row.type.split(".")[2], "key": row.key}
            for row in rows
            if kind is None or row.type == f"regulars.profile.{kind}.v1"
        ]

    def ask(self, sql: str, **parameters: Any) -> list[Any]:
        with self.under_test.sessions() as session:
            return list(session.execute(text(sql), parameters).all())

    def holds(self) -> None:
        """Every invariant is true."""
        for name, invariant in SERVICE.invariants.items():
            assert self.ask(invariant) == [(True,)], name


def line(sku: str = "85123A", quantity: int = 6, unit_price: str = "2.55", **fields: Any) -> dict[str, Any]:
    return {"sku": sku, "quantity": quantity, "unit_price": unit_price} | fields


def purchase(*lines: dict[str, Any], **fields: Any) -> dict[str, Any]:
    return {
        "customer": {"source": "shop", "external_id": "17850"},
        "create_customer": True,
        "occurred_at": YESTERDAY,
        "currency": "CNY",
        "channel": "web",
        "lines": list(lines) or [line()],
    } | fields


@pytest.fixture
def profile(service: Callable[..., Any]) -> Profile:
    return Profile(service(SERVICE))


@pytest.fixture
def committing(service: Callable[..., Any]) -> Profile:
    """With a database of its own and real commits, for races."""
    return Profile(service(SERVICE, committing=True))


def code_of(reply: Any) -> str:
    return json.loads(reply.text)["code"]


def at_once(work, count=8):
    """``work(number)`` in as many threads, started together; their results."""
    barrier = threading.Barrier(count)

    def run(number):
        barrier.wait()
        return work(number)

    with ThreadPoolExecutor(count) as pool:
        return list(pool.map(run, range(count)))


def while_erased(under_test, customer_id, work):
    """What ``work()`` gives that comes upon an erasure of the customer: it waits for it, and then it is committed."""
    with ThreadPoolExecutor(1) as pool, under_test.engine.connect() as looking:
        with under_test.sessions.begin() as session:
            erasure.erase(session, UUID(customer_id), "admin", datetime.now(UTC))
            working = pool.submit(work)
            while not looking.exec_driver_sql(
                "select count(*) from pg_stat_activity where datname = current_database() and wait_event_type = 'Lock'"
            ).scalar():
                assert not working.done(), f"it did not wait for the erasure: {working.result()}"
                looking.rollback()
                time.sleep(0.005)
        return working.result()
