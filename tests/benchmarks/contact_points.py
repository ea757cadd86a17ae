"""A lookup of 1,000 contact points over HTTP: consent, suppressions, seals opened, audited, in one transaction.

Server and client on one core each where there are two; among as many customers as REGULARS_BENCH_CUSTOMERS says (10,000),
each with a consent; the ids asked for are drawn anew every time. The figure is the 95th percentile of 40 lookups after a
warm-up of 5.
"""

import base64
import os
import random
import statistics
import tempfile
import time
from pathlib import Path
from uuid import UUID

import psycopg

from shared.database import open_engine, open_sessions
from shared.ids import uuid7
from shared.sealing import Keyring, seal_many
from tests.benchmarks.report import Figure
from tests.deployment import Deployment
from tests.postgres import Postgres

CUSTOMERS = int(os.environ.get("REGULARS_BENCH_CUSTOMERS", "10000"))
WARM_UP, LOOKUPS, ASKED = 5, 40, 1_000


def measure() -> list[Figure]:
    with (
        tempfile.TemporaryDirectory(prefix="regulars-") as folder,
        Postgres(Path(folder) / "postgres") as postgres,
    ):
        deployment = Deployment(Path(folder), postgres.url, "")
        deployment.environment["REGULARS_BUS"] = deployment.database_url("profile")
        deployment.prepare()
        ids = fill(deployment)
        deployment.start(["profile"], ["api"])
        chosen, took = random.Random(1), []
        try:
            with deployment.client("profile") as client:
                for _ in range(WARM_UP + LOOKUPS):
                    body = {
                        "customer_ids": [str(each) for each in chosen.sample(ids, ASKED)],
                        "purpose": "marketing",
                        "channel": "email",
                    }
                    start = time.perf_counter()
                    reply = client.post("/contact-points/lookup", json=body)
                    took.append(time.perf_counter() - start)
                    answers = reply.json()["items"]
                    assert all(answer["address"] for answer in answers), answers[0]
        finally:
            deployment.stop()
    measured = sorted(took[WARM_UP:])
    p95 = measured[int(len(measured) * 0.95)] * 1_000
    said = f"{p95:.0f} ms (median {statistics.median(measured) * 1_000:.0f} ms) among {CUSTOMERS:,} customers"
    return [Figure("contact points of 1,000 customers, p95", "< 100 ms", said, p95 < 100)]


def fill(deployment: Deployment) -> list[UUID]:
    """Customers with a name, an address and a consent, written straight into the tables."""
    url = deployment.database_url("profile")
    keys = deployment.environment["REGULARS_SEALING_KEYS"].partition(":")

    keyring = Keyring({keys[0]: base64.b64decode(keys[2])})
    engine = open_engine(url, statement_timeout="600s")
    ids = [uuid7() for _ in range(CUSTOMERS)]
    with open_sessions(engine, keyring=keyring).begin() as session:
        texts = []
        for each in ids:
            texts.append((str(each), f"customer.name_sealed:{each}", "王芳"))
            texts.append((str(each), f"customer.email_sealed:{each}", f"{each}@example.com"))
        sealed = seal_many(session, texts)
        driver = session.connection().connection.driver_connection
        assert isinstance(driver, psycopg.Connection)
        with driver.cursor() as cursor:
            with cursor.copy(
                "copy customer (customer_id, kind, name_sealed, email_sealed, registered_at) from stdin"
            ) as copy:
                for number, each in enumerate(ids):
                    copy.write_row(
                        (each, "person", sealed[2 * number], sealed[2 * number + 1], "2026-01-01T00:00:00Z")
                    )
            cursor.execute(
                "insert into consent (consent_id, customer_id, recorded_customer_id, purpose, channel, state,"
                " collected_at, in_force_from, recorded_at, recorded_by) select gen_random_uuid(), customer_id,"
                " customer_id, 'marketing', 'email', 'granted', now(), now(), now(), 'benchmark' from customer"
            )
    with psycopg.connect(
        url.replace("postgresql+psycopg://", "postgresql://"), autocommit=True
    ) as connection:
        connection.execute("analyze")
    engine.dispose()
    return ids
