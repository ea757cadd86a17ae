"""Memory at rest: the embedded suite (with and without its Postgres) and each separate process; and its starts."""

import tempfile
import time
from pathlib import Path

from tests.benchmarks.report import Figure
from tests.broker import Broker
from tests.deployment import deployed, proportional_set_size
from tests.embedded import EmbeddedSuite
from tests.postgres import Postgres


def measure() -> list[Figure]:
    with tempfile.TemporaryDirectory(prefix="regulars-") as folder:
        Path(folder).chmod(0o755)
        suite = EmbeddedSuite(Path(folder) / "data")
        first = suite.start()
        suite.stop()
        second = suite.start()
        time.sleep(20)
        memory = suite.memory()
        suite.stop()
        own, whole = memory["suite"] / 1e6, sum(memory.values()) / 1e6
        figures = [
            Figure(
                "first start, packages there / second start",
                "– / < 6 s",
                f"{first:.1f} / {second:.1f} s",
                second < 6,
            ),
            Figure(
                "suite embedded, idle, PSS with / without Postgres",
                "< 450 / < 350 MB",
                f"{whole:.0f} / {own:.0f} MB",
                whole < 450 and own < 350,
            ),
        ]
        with (
            Postgres(Path(folder) / "postgres") as postgres,
            Broker(Path(folder) / "kafka") as broker,
            deployed(Path(folder) / "apart", postgres.url, broker.url) as deployment,
        ):
            time.sleep(20)
            sizes = {
                name: proportional_set_size(process.popen.pid) / 1e6
                for name, process in deployment.processes.items()
                if process.popen
            }
        heaviest = max(sizes, key=lambda name: sizes[name])
        figures.append(
            Figure(
                "each separate process, idle",
                "< 130 MB",
                f"{min(sizes.values()):.0f}–{sizes[heaviest]:.0f} MB ({heaviest})",
                sizes[heaviest] < 130,
            )
        )
    return figures
