"""A whole calibration of a million customers: counted, models fitted, boundaries drawn, everybody scored, and seen where
they are heading.

The company is that of `population`: ten million purchases made in a Postgres of its own, metrics from the facts. The first
calibration announces every score, tier and stage (some three million events); the second, on the same facts, moves nobody.
Memory is the proportional set size of Postgres and of this process, sampled meanwhile. ``CUSTOMERS`` in the environment
makes a smaller company.
"""

import tempfile
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import psycopg
from sqlalchemy import text

from services.scoring import jobs as scoring_jobs
from services.scoring.app import SERVICE
from services.scoring.domain.facts import METRICS_FROM_FACTS
from shared import jobs, migrate
from shared.database import open_engine, open_sessions
from shared.jobs.runner import Chunk, RunningJob
from shared.messaging import outbox
from shared.sealing import Keyring
from tests import postgres
from tests.benchmarks.population import AS_OF, CUSTOMERS, TIME_ZONE, Memory, fill, note
from tests.benchmarks.report import Figure
from tests.conftest import settings_for

_METRICS = f"""
    insert into metrics (
        customer_id, first_purchase_at, last_purchase_at, purchase_count, counted_minor, occasions, gap_square_sum,
        recent_days, gross_minor, returned_minor, cancelled_minor, last_fact_at)
    {METRICS_FROM_FACTS}
"""


@dataclass
class TimedJob(RunningJob):
    """Knows how long each phase took."""

    seconds: Counter[str] = field(default_factory=Counter)

    @contextmanager
    def chunk(self) -> Iterator[Chunk]:
        phase, began = self.cursor.get("phase", "begin"), time.perf_counter()
        with super().chunk() as chunk:
            yield chunk
        self.seconds[phase] += time.perf_counter() - began  # type: ignore[assignment]


def measure() -> list[Figure]:
    with (
        tempfile.TemporaryDirectory(prefix="regulars-") as folder,
        postgres.Postgres(Path(folder) / "postgres", max_wal_size="4GB") as server,
    ):
        migrate.upgrade(server.url, migrate.chains(SERVICE.name, SERVICE.migrations))
        with psycopg.connect(server.url, autocommit=True) as connection:
            fill(connection)
            connection.execute(f"insert into accounting (currency, time_zone) values ('CNY', '{TIME_ZONE}')")
            connection.execute(_METRICS)
            connection.execute("vacuum analyze")
            note("metrics are there")
        settings, _ = settings_for(SERVICE, server.url, time_zone=TIME_ZONE)
        engine = open_engine(server.url, pool_size=2, statement_timeout="0", name="benchmark")
        sessions = open_sessions(engine, settings=settings, keyring=Keyring(settings.sealing_keys))
        outbox.install(sessions)
        figures = []
        for name in ("the first, which announces everything", "again, where nobody moves"):
            with sessions.begin() as session:
                parameters = {"as_of": AS_OF.isoformat()}
                job_id = jobs.create(session, scoring_jobs.CALIBRATION, parameters)
                session.execute(
                    text("update shared.job set state = 'running', epoch = 1 where id = :id"), {"id": job_id}
                )
            job = TimedJob(
                job_id, scoring_jobs.CALIBRATION, parameters, {}, {}, None, settings, sessions, engine, 1
            )
            began = time.perf_counter()
            with Memory(server.cluster.pid) as memory:
                scoring_jobs.calibrate(job)
            took = time.perf_counter() - began
            phases = ", ".join(f"{phase} {seconds:.1f}" for phase, seconds in job.seconds.items())
            note(f"{name}: {took:.1f} s ({phases})")
            figures.append(
                Figure(
                    f"a calibration of {CUSTOMERS:,} customers, {name}: metrics, RFM, tiers, lifetime value, churn, stage,"
                    " trend",
                    "< 120 s, < 2 GB",
                    f"{took:.1f} s ({phases}); {memory.server / 1e6:,.0f} + {memory.own / 1e6:,.0f} MB",
                    took < 120 and memory.server + memory.own < 2e9,
                )
            )
        engine.dispose()
    return figures
