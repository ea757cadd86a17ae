"""Promises 1 and 2: what was acknowledged is there, once, whatever dies, and however often it is told again."""

import random
import threading
import time
from pathlib import Path

import pytest

from tests.deployment import SERVICES, Deployment, deployed
from tests.faults.load import record_purchases
from tests.postgres import Postgres

# One worker after another: each of these is sixteen processes and more.
pytestmark = pytest.mark.xdist_group("deployment")


class Reaper:
    """Kills processes of a deployment, Postgres among them, and starts again whatever died."""

    def __init__(
        self, deployment: Deployment, postgres: Postgres, kills: int, pause: float, seed: int = 7
    ) -> None:
        self.deployment, self.postgres = deployment, postgres
        self.kills, self.pause = kills, pause
        self.random = random.Random(seed)
        self.killed: dict[str, int] = {}
        self.thread = threading.Thread(target=self._reap)

    def __enter__(self) -> "Reaper":
        self.thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.thread.join()

    def _reap(self) -> None:
        victims = [*self.deployment.processes.values(), None]
        for _ in range(self.kills):
            time.sleep(self.random.uniform(0, 2 * self.pause))
            victim = self.random.choice(victims)
            name = victim.name if victim else "postgres"
            self.killed[name] = self.killed.get(name, 0) + 1
            if victim:
                victim.kill()
            else:
                self.postgres.kill()
                self.postgres.start()
            for process in self.deployment.processes.values():
                if not process.running():
                    process.start()
        for service in SERVICES:
            self.deployment.await_ready(service)


def test_killing_anything_at_any_time_loses_and_doubles_nothing(tmp_path: Path, kafka: str, size) -> None:
    kills, customers, each = size(10, 200), size(40, 400), size(10, 50)
    names = [f"c{number:04}" for number in range(customers)]
    with Postgres(tmp_path / "postgres") as postgres:
        with deployed(tmp_path / "calm", postgres.url, kafka) as calm:
            record_purchases(calm, names, each, writers=8)
            expected = calm.settle(300)
        with deployed(tmp_path / "hurt", postgres.url, kafka) as hurt:
            # A process needs seconds to start on two cores; the purchases last as long as the killing does.
            pause = size(1, 5)
            with Reaper(hurt, postgres, kills, pause) as reaper:
                acknowledged = record_purchases(hurt, names, each, writers=8, over=kills * pause)
            told = hurt.settle(300)
            print("killed", reaper.killed, "refused meanwhile", acknowledged.refusals)

            assert len(acknowledged.purchases) == customers * each
            recorded = {}
            for service in ("profile", "scoring"):
                with hurt.connect(service) as connection:
                    rows = connection.execute("select purchase_id from purchase order by 1").fetchall()
                recorded[service] = rows
            with hurt.connect("profile") as connection:
                names = {name for (name,) in connection.execute("select external_id from purchase")}
            assert names == acknowledged.purchases
            assert recorded["scoring"] == recorded["profile"]
            assert all(all(part["invariants"].values()) for part in told.values()), told
            assert all(part["parked"] == 0 for part in told.values())
            assert {s: told[s]["state_hash"] for s in SERVICES} == {
                s: expected[s]["state_hash"] for s in SERVICES
            }

            for _ in range(2):
                assert hurt.suite("replay")["events_applied"] == 0
            assert hurt.hashes() == {service: told[service]["state_hash"] for service in SERVICES}
