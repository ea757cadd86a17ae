"""A purchases import, with its events, against COPY BINARY of the same rows into the same tables.

A generated file (``REGULARS_IMPORT_ROWS`` rows, 500,000 by default: 20 lines an order, 5 orders a customer, one order in
40 a return, every tenth order interrupted by the next) is uploaded in sealed blocks and imported by a worker process.
Every row that it left – customers, purchases, lines, returns, streams, outbox and its queue – is then taken out with
COPY and put into an empty database of the same migrations by COPY BINARY from memory-mapped bytes: no parsing, no
pricing, no grouping, only the tables with their keys and indexes. The two alternate; the figure is the median of the
pairwise ratios of the times for the same file. Postgres with fsync on; a checkpoint before every run.

`python -m tests.benchmarks.import_limit work URL` is the worker, in a process of its own, so that its memory can be told.
"""

import json
import os
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import psycopg

from services.profile.app import SERVICE
from services.profile.rules.mapping import Mapping
from shared import migrate
from shared.database import open_engine, open_sessions
from shared.jobs import jobs, runner, uploads
from shared.jobs.schedule import Context
from shared.processes import open_service, spare_the_collector
from shared.sealing import Keyring
from shared.settings import Settings
from tests.benchmarks.report import Figure
from tests.deployment import ROOT
from tests.postgres import Postgres

ROWS = int(os.environ.get("REGULARS_IMPORT_ROWS", "500000"))
RUNS = int(os.environ.get("REGULARS_IMPORT_RUNS", "3"))
LINES_PER_ORDER = 20
MAPPING: dict[str, Any] = {
    "source": "shop",
    "columns": {
        "order": "InvoiceNo",
        "sku": "StockCode",
        "description": "Description",
        "quantity": "Quantity",
        "occurred_at": "InvoiceDate",
        "unit_price": "UnitPrice",
        "customer": "CustomerID",
        "country": "Country",
    },
    "return_prefix": "C",
    "strip_id_suffix": ".0",
    "time_zone": "Europe/London",
    "date_format": "%Y-%m-%d %H:%M:%S",
    "currency": "GBP",
}
# In an order in which no foreign key is ahead of its row.
TABLES = (
    "accounting",
    "customer",
    "customer_external_id",
    "product",
    "purchase",
    "purchase_line",
    "purchase_return",
    "purchase_return_line",
    "shared.stream",
    "shared.outbox",
    "shared.outbox_pending",
)


def file_of(rows: int) -> Iterator[bytes]:
    """The file, an order at a time."""
    yield b"InvoiceNo,StockCode,Description,Quantity,InvoiceDate,UnitPrice,CustomerID,Country\n"
    held = b""
    for order in range(rows // LINES_PER_ORDER):
        number = f"C{500_000 + order}" if order % 40 == 39 else str(500_000 + order)
        sign = "-" if order % 40 == 39 else ""
        minute = order % 525_600
        at = f"2011-{1 + minute // 44_640:02}-{1 + minute // 1440 % 28:02} {minute // 60 % 24:02}:{minute % 60:02}:00"
        customer = 12_000 + order // 5
        lines = [
            f"{number},{20_000 + (order * 7 + line * 191) % 4_000},PRODUCT NUMBER {(order * 7 + line * 191) % 4_000},"
            f"{sign}{1 + (order + line) % 24},{at},{(order * 13 + line * 37) % 1000 / 100 + 0.1:.2f},{customer}.0,"
            f"{'United Kingdom' if customer % 10 else 'France'}\n"
            for line in range(LINES_PER_ORDER)
        ]
        if order % 10 == 0 and order + 1 < rows // LINES_PER_ORDER:
            yield "".join(lines[:10]).encode()
            held = "".join(lines[10:]).encode()
            continue
        yield "".join(lines).encode() + held
        held = b""


def settings_for(url: str) -> Settings:
    return SERVICE.settings.model_validate(
        {
            "service": "profile",
            "database_url": url,
            "key_pepper": "a-pepper-of-the-benchmark",
            "sealing_keys": {"k1": bytes(range(32))},
            "link_key": "a-link-key-of-the-benchmark-alone",
            "audit_key": "an-audit-key-of-the-benchmark-alone",
            "blind_index_key": "a-blind-index-key-of-the-benchmark",
        }
    )


def new_database(server: str, name: str) -> str:
    with psycopg.connect(server, autocommit=True) as connection:
        connection.execute(f'drop database if exists "{name}" with (force)')  # type: ignore[arg-type]
        connection.execute(f'create database "{name}"')  # type: ignore[arg-type]
    url = server.rsplit("/", 1)[0] + f"/{name}"
    migrate.upgrade(url, migrate.chains("profile", ROOT / "services" / "profile" / "migrations"))
    return url


def upload(url: str, pieces: Iterator[bytes]) -> None:
    """What `POST /v1/imports` does with a body."""
    settings = settings_for(url)
    engine = open_engine(url, pool_size=2)
    sessions = open_sessions(engine, settings=settings, keyring=Keyring(settings.sealing_keys))
    definition = Mapping.model_validate(MAPPING).model_dump(mode="json")
    parameters = {
        "kind": "purchases",
        "mapping": {"name": "bench", "version": 1, "definition": definition},
        "dry_run": False,
        "upload": True,
    }
    with sessions.begin() as session:
        job_id = jobs.create(session, "import_purchases", parameters, held=True)
    pending, number = bytearray(), 0
    for piece in pieces:
        pending += piece
        if len(pending) >= uploads.BLOCK:
            with sessions.begin() as session:
                uploads.append(session, job_id, number, bytes(pending))
            pending.clear()
            number += 1
    with sessions.begin() as session:
        uploads.append(session, job_id, number, bytes(pending))
        jobs.release(session, job_id)
    engine.dispose()


def work(url: str) -> None:
    """The worker: runs the one job that is due and tells how long it took and how much memory it had at most."""
    with open_service(SERVICE, settings_for(url), "work", patient=True) as opened:
        spare_the_collector()
        context = Context(opened.settings, opened.sessions, opened.engine)
        before = time.process_time()
        began = time.perf_counter()
        assert runner.run_one(SERVICE.jobs, context)
        seconds, cpu = time.perf_counter() - began, time.process_time() - before
    used = [resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)]
    peak = sum(one.ru_maxrss for one in used) * 1024  # and that of the process beside it
    print(json.dumps({"seconds": seconds, "cpu": cpu, "peak": peak}))


def imported(server: str, url: str) -> dict[str, float]:
    checkpoint(server)
    done = subprocess.run(
        [sys.executable, "-m", "tests.benchmarks.import_limit", "work", url],
        cwd=ROOT,
        check=True,
        stdout=subprocess.PIPE,
        text=True,
    )
    with psycopg.connect(url) as connection:
        state = connection.execute("select state, report -> 'rows' from shared.job").fetchone()
    assert state and state[0] == "succeeded", state
    told: dict[str, float] = json.loads(done.stdout.splitlines()[-1])
    return told


def columns(connection: psycopg.Connection, table: str) -> str:
    """What COPY takes: all but what the table generates."""
    schema, _, name = table.rpartition(".")
    found = connection.execute(
        "select string_agg(quote_ident(column_name), ', ' order by ordinal_position) from information_schema.columns"
        " where table_schema = %s and table_name = %s and is_generated = 'NEVER'",
        (schema or "public", name),
    ).fetchone()
    assert found and found[0], table
    return str(found[0])


def taken_out(url: str, folder: Path) -> dict[str, int]:
    """Every row of the import as a file of COPY BINARY per table; how many rows each has."""
    rows = {}
    with psycopg.connect(url) as connection:
        for table in TABLES:
            with (folder / table).open("wb") as file, connection.cursor() as cursor:
                taken = f"select {columns(connection, table)} from {table}"
                with cursor.copy(f"copy ({taken}) to stdout (format binary)") as copy:  # type: ignore[arg-type]
                    for block in copy:
                        file.write(block)
                rows[table] = cursor.rowcount
    return rows


def put_in(server: str, url: str, folder: Path) -> float:
    """Seconds for the same rows by COPY BINARY in one transaction."""
    checkpoint(server)
    with psycopg.connect(url) as connection:
        began = time.perf_counter()
        for table in TABLES:
            into = f"copy {table} ({columns(connection, table)}) from stdin (format binary)"
            with (
                connection.cursor() as cursor,
                (folder / table).open("rb") as file,
                cursor.copy(into) as copy,  # type: ignore[arg-type]
            ):
                while block := file.read(256 * 1024):
                    copy.write(block)
        connection.commit()
        return time.perf_counter() - began


def checkpoint(server: str) -> None:
    with psycopg.connect(server, autocommit=True) as connection:
        connection.execute("checkpoint")


def run(rows: int, runs: int) -> tuple[list[float], list[float], list[dict[str, float]]]:
    """Ratios, seconds of COPY and what the worker told, run by run."""
    ratios, copies, told = [], [], []
    with tempfile.TemporaryDirectory(prefix="regulars-") as name:
        folder = Path(name)
        folder.chmod(0o755)
        with Postgres(folder / "postgres") as postgres:
            for number in range(runs):
                url = new_database(postgres.url, f"import_{number}")
                upload(url, file_of(rows))
                told.append(imported(postgres.url, url))
                counts = taken_out(url, folder)
                assert counts["purchase_line"] + counts["purchase_return_line"] == rows, counts
                limit = new_database(postgres.url, "limit")
                copies.append(put_in(postgres.url, limit, folder))
                ratios.append(copies[-1] / told[-1]["seconds"])
    return ratios, copies, told


def measure() -> list[Figure]:
    ratios, copies, told = run(ROWS, RUNS)
    median = statistics.median(ratios)
    took = statistics.median(one["seconds"] for one in told)
    peaks = (
        [run(rows, 1)[2][0]["peak"] for rows in (ROWS, 10 * ROWS)]
        if os.environ.get("REGULARS_IMPORT_LONG")
        else []
    )
    figures = [
        Figure(
            f"import of {ROWS:,} rows with their events, against COPY BINARY of the rows it made",
            "≥ 0.35",
            f"{median:.2f} ({min(ratios):.2f}–{max(ratios):.2f}); {ROWS / took:,.0f} against"
            f" {ROWS / statistics.median(copies):,.0f} rows/s",
            median >= 0.35,
        )
    ]
    if peaks:
        figures.append(
            Figure(
                f"peak memory of the worker and the process beside it, {ROWS:,} / {10 * ROWS:,} rows",
                "flat",
                f"{peaks[0] / 1e6:.0f} / {peaks[1] / 1e6:.0f} MB",
                peaks[1] < 1.2 * peaks[0],
            )
        )
    return figures


if __name__ == "__main__":
    if sys.argv[1:2] == ["work"]:
        work(sys.argv[2])
    else:
        for figure in measure():
            print(figure)
