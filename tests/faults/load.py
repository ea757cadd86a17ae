"""Writers that keep the order of each customer's facts and know what was acknowledged."""

import itertools
import threading
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import Any

import httpx

from tests.deployment import Deployment, purchase


@dataclass
class Acknowledged:
    """External ids of the purchases that were answered with 2xx, and the statuses that came before that."""

    purchases: set[str] = field(default_factory=set)
    refusals: dict[int | str, int] = field(default_factory=dict)
    lock: threading.Lock = field(default_factory=threading.Lock)

    def accept(self, external_id: str) -> None:
        with self.lock:
            self.purchases.add(external_id)

    def refuse(self, what: int | str) -> None:
        with self.lock:
            self.refusals[what] = self.refusals.get(what, 0) + 1


def until_acknowledged(
    put: Callable[[], httpx.Response], acknowledged: Acknowledged, external_id: str, seconds: float = 300
) -> None:
    """Ask again, as a well-behaved client does, until the suite says yes."""
    end = time.monotonic() + seconds
    while True:
        try:
            reply = put()
            if reply.status_code in (200, 201):
                acknowledged.accept(external_id)
                return
            acknowledged.refuse(reply.status_code)
            assert reply.status_code in (409, 429, 503) or reply.status_code >= 500, reply.text
        except httpx.HTTPError as error:
            acknowledged.refuse(type(error).__name__)
        assert time.monotonic() < end, (
            f"{external_id} was not acknowledged in {seconds} s: {acknowledged.refusals}"
        )
        time.sleep(0.05)


def record_purchases(
    deployment: Deployment, customers: Sequence[str], each: int, writers: int, over: float = 0, **changes: Any
) -> Acknowledged:
    """``each`` purchases for every customer, one customer's in order, ``writers`` customers at a time, spread evenly
    ``over`` so many seconds (0 = as fast as they go)."""
    acknowledged = Acknowledged()
    began, turns, pause = time.monotonic(), itertools.count(), over / (len(customers) * each)

    def write(customer: str) -> None:
        with deployment.client("profile") as client:
            for number in range(each):
                external_id, body = f"{customer}-{number}", purchase(customer, number, **changes)
                time.sleep(max(0.0, began + next(turns) * pause - time.monotonic()))
                until_acknowledged(
                    lambda name=external_id, body=body: client.put(f"/purchases/shop/{name}", json=body),
                    acknowledged,
                    external_id,
                )

    with ThreadPoolExecutor(writers) as pool:
        list(pool.map(write, customers))
    return acknowledged
