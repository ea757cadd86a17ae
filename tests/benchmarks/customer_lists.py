"""A million customers: filtered lists, search over sealed fields, the first page of customer 360, contact points in bulk.

The customers are made set-based (tests/profile/population), sealed as the service seals them; the requests go over HTTP
to one api process, one after the other, each kind with ever other values, and everything is asked twice: the first time
warms the cache as a running company's would be. The p95 is of the second. Afterwards Postgres is asked whether any
large table was read whole. ``CUSTOMERS`` in the environment makes a smaller company.
"""

import base64
import http.client
import json
import os
import random
import statistics
import sys
import tempfile
import time
from datetime import UTC, datetime, timedelta
from itertools import islice
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import psycopg
from sqlalchemy.engine import make_url

from shared.database import open_engine, open_sessions
from shared.sealing import Keyring
from tests.benchmarks.report import Figure
from tests.deployment import Deployment
from tests.postgres import Postgres
from tests.profile.population import TIERS, people, populate

CUSTOMERS = int(os.environ.get("CUSTOMERS", "1000000"))
REQUESTS = 200
LARGE = (
    "customer", "customer_external_id", "customer_token", "customer_measure", "purchase", "purchase_return", "consent",
    "subject_key", "disclosure",
)  # fmt: skip

Request = tuple[str, str, Any]


def measure() -> list[Figure]:
    with (
        tempfile.TemporaryDirectory(prefix="regulars-") as folder,
        Postgres(Path(folder) / "postgres", shared_buffers="512MB", maintenance_work_mem="256MB") as postgres,
    ):
        deployment = Deployment(Path(folder), postgres.url, "")
        deployment.environment["REGULARS_BUS"] = deployment.database_url("profile")
        deployment.prepare()
        began = time.monotonic()
        fill(deployment)
        print(f"{CUSTOMERS:,} customers after {time.monotonic() - began:.0f} s", file=sys.stderr, flush=True)
        deployment.start(["profile"], ["api"])
        try:
            return figures(deployment)
        finally:
            deployment.stop()


def fill(deployment: Deployment) -> None:
    environment = deployment.environment
    name, _, key = environment["REGULARS_SEALING_KEYS"].partition(":")
    settings = SimpleNamespace(blind_index_key=environment["REGULARS_BLIND_INDEX_KEY"])
    engine = open_engine(deployment.database_url("profile"), statement_timeout="0", name="population")
    sessions = open_sessions(engine, settings=settings, keyring=Keyring({name: base64.b64decode(key)}))
    with sessions() as session:
        populate(session, CUSTOMERS, commit=True)
    engine.dispose()
    with psycopg.connect(_driver_url(deployment), autocommit=True) as connection:
        connection.execute("vacuum analyze")


def figures(deployment: Deployment) -> list[Figure]:
    with deployment.client("profile") as client:
        for attribute, kind in (("height", "number"), ("colour", "text")):
            client.put(f"/attributes/{attribute}", json={"type": kind}).raise_for_status()
    chance = random.Random(3)
    now = datetime.now(UTC)
    step = max(1, CUSTOMERS // REQUESTS)
    some = list(islice(people(CUSTOMERS, now), 0, None, step))
    known = ids_of(deployment, [one.external_id for one in some])
    kinds = {
        "filtered list": [filtered(chance, now) for _ in range(REQUESTS)],
        "search by e-mail": [search({"email": one.email}) for one in some],
        "search by phone": [search({"phone": one.phone}) for one in some],
        "search by name": [search({"name": one.name}) for one in some],
        "search by one word of a name": [search({"name": one.name.split()[-1]}) for one in some],
        "customer 360, first page": [
            ("GET", f"/profile/v1/customers/{known[one.external_id]}/{part}", None)
            for one in some
            for part in ("overview", "timeline")
        ],
    }
    before = read_whole(deployment)
    asked = []
    for kind, requests in kinds.items():
        run(deployment, requests)
        asked.append(at_most(kind, "p95 < 50 ms", run(deployment, requests), 50))
    lookups = [lookup(known, chance) for _ in range(20)]
    run(deployment, lookups)
    asked.append(at_most("contact points of 1,000 customers", "p95 < 100 ms", run(deployment, lookups), 100))
    time.sleep(2)
    whole = {table: count - before.get(table, count) for table, count in read_whole(deployment).items()}
    whole = {table: count for table, count in whole.items() if count}
    said = ", ".join(f"{table} {count} times" for table, count in whole.items()) or "none"
    return [
        *(Figure(f"{figure.measure}, {CUSTOMERS:,} customers", *_rest(figure)) for figure in asked),
        Figure("large tables read whole by these", "none", said, not whole),
    ]


def filtered(chance: random.Random, now: datetime) -> Request:
    """A list as somebody might ask for it: frequent and rare, alone and together, plain values, ranges, purchases."""
    country = chance.choice(("CN", "US", "GB", "DE", "NZ"))
    ago = lambda days: (now - timedelta(days=days)).strftime("%Y-%m-%dT%H:%M:%SZ")  # noqa: E731
    query = chance.choice(
        (
            f"country={country}",
            f"tier={chance.choice(list(TIERS))}",
            f"country={country}&tier=platinum",
            f"tag=t{chance.randrange(50)}&region={country}-{chance.randrange(30)}",
            f"tag=t{chance.randrange(50)}&tag=t{chance.randrange(50)}&gender=female",
            f"city={country}-{chance.randrange(400)}&city={country}-{chance.randrange(400)}",
            f"attribute=colour:red&tier=gold&country={country}",
            f"attribute_gte=height:{chance.randrange(190, 199)}&country={country}",
            f"interest=tea&interest=art&gender=male&language=zh&tier={chance.choice(list(TIERS))}",
            f"birthday={chance.randrange(1, 13):02d}-{chance.randrange(1, 29):02d}&country={country}",
            f"last_purchase_at_gte={ago(chance.randrange(1, 60))}",
            f"last_purchase_at_lt={ago(chance.randrange(100, 1000))}",
            f"last_purchase_at_gte={ago(chance.randrange(1, 60))}&tier=gold&country={country}",
            f"created_at_gte={ago(chance.randrange(1, 1000))}&tier=platinum",
        )
    )
    return "GET", f"/profile/v1/customers?limit=50&{query}", None


def search(known: dict[str, Any]) -> Request:
    return "POST", "/profile/v1/customers/search", known


def lookup(known: dict[str, str], chance: random.Random) -> Request:
    ids = chance.choices(list(known.values()), k=1_000)
    body = {"customer_ids": ids, "purpose": "marketing", "channel": "email"}
    return "POST", "/profile/v1/contact-points/lookup", body


def ids_of(deployment: Deployment, names: list[str]) -> dict[str, str]:
    """The ids of some customers, and of enough others to look a thousand up at once."""
    with psycopg.connect(_driver_url(deployment)) as connection:
        rows = connection.execute(
            "select external_id, customer_id from customer_external_id where external_id = any(%s)", [names]
        ).fetchall()
        rows += connection.execute(
            "select external_id, customer_id from customer_external_id limit 5000"
        ).fetchall()
    return {name: str(customer_id) for name, customer_id in rows}


def run(deployment: Deployment, requests: list[Request]) -> list[float]:
    """Milliseconds of each request, one after the other over one connection."""
    connection = http.client.HTTPConnection("127.0.0.1", deployment.ports["profile"])
    headers = {"Authorization": f"Bearer {deployment.admin_key}", "Content-Type": "application/json"}
    taken = []
    for method, path, body in requests:
        content = None if body is None else json.dumps(body)
        began = time.perf_counter()
        connection.request(method, path, content, headers)
        reply = connection.getresponse()
        said = reply.read()
        taken.append((time.perf_counter() - began) * 1_000)
        assert reply.status == 200, (method, path, reply.status, said[:500])
        if taken[-1] > 200:
            print(f"{taken[-1]:.0f} ms: {method} {path}", file=sys.stderr)
    connection.close()
    return taken


def at_most(measure: str, target: str, taken: list[float], limit: float) -> Figure:
    p95 = statistics.quantiles(taken, n=20)[-1]
    return Figure(measure, target, f"p50 {statistics.median(taken):.1f} ms, p95 {p95:.1f} ms", p95 < limit)


def read_whole(deployment: Deployment) -> dict[str, int]:
    """How often each large table was read from its first row to its last, by anybody."""
    with psycopg.connect(_driver_url(deployment)) as connection:
        rows = connection.execute(
            "select relname, seq_scan from pg_stat_user_tables where relname = any(%s) and n_live_tup > 1000",
            [list(LARGE)],
        ).fetchall()
    return dict(rows)


def _driver_url(deployment: Deployment) -> str:
    url = make_url(deployment.database_url("profile")).set(drivername="postgresql")
    return url.render_as_string(hide_password=False)


def _rest(figure: Figure) -> tuple[str, str, bool]:
    return figure.target, figure.measured, figure.met
