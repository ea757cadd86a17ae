"""Promise 8: order per key, no gap."""

import random
import threading
import time

import pytest

from tests.deployment import Deployment
from tests.faults.load import record_purchases

pytestmark = pytest.mark.xdist_group("deployment")

TOPIC = "regulars.profile.customer.v1"


def published(bus_url: str, keys: set[str]) -> list[tuple[str, int]]:
    """(key, sequence) of every message of the topic with one of these keys, in the order in which it stands there."""
    from pydantic_core import from_json

    from shared.messaging.bus import open_bus

    bus, found = open_bus(bus_url), []
    for batch in bus.read_from_start([TOPIC]):
        found += [(r.key, int(from_json(r.value)["sequence"])) for r in batch if r.key in keys]
    bus.close()
    return found


def test_writers_and_a_dying_relay_leave_every_key_in_order_without_a_gap(
    deployment: Deployment, size
) -> None:
    relay, done = deployment.processes["profile relay"], threading.Event()
    kills = size(5, 50)

    def hurt() -> None:
        for _ in range(kills):
            time.sleep(random.uniform(0.1, 1.0))
            relay.kill()
            relay.start()
            if done.is_set() and relay.starts > 3:
                return

    killer = threading.Thread(target=hurt)
    killer.start()
    customers = [f"ordered-{number}" for number in range(40)]
    record_purchases(deployment, customers, size(10, 400), writers=24)
    done.set()
    killer.join()
    deployment.settle()

    with deployment.connect("profile") as connection:
        announced = dict(
            connection.execute(
                "select key, last from shared.stream join customer_external_id c on c.customer_id::text = key"
                " where c.external_id like 'ordered-%'"
            ).fetchall()
        )
    last: dict[str, int] = {}
    for key, sequence in published(deployment.bus, set(announced)):
        seen = last.get(key, 0)
        assert sequence <= seen + 1, f"{key}: {sequence} came after {seen}"
        last[key] = max(seen, sequence)
    assert last == announced
