"""Importing files over HTTP, worked off by the job that ``work`` runs."""

import csv
import functools
import io
import threading
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import pytest

from services.profile.app import SERVICE
from services.profile.jobs.import_records import import_records_of_a_kind
from services.profile.jobs.imports import import_purchases
from services.profile.rules.import_kinds import KINDS
from shared.jobs import runner
from shared.jobs.schedule import Context

HEADER = (
    "InvoiceNo",
    "StockCode",
    "Description",
    "Quantity",
    "InvoiceDate",
    "UnitPrice",
    "CustomerID",
    "Country",
)
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
    "currency": "GBP",
}


def bought(
    order: str,
    sku: str = "85123A",
    quantity: object = 6,
    price: object = "2.55",
    customer: str = "17850.0",
    at: str = "2010-12-01 08:26:00",
    country: str = "United Kingdom",
    description: str = "LANTERN",
) -> tuple[str, ...]:
    """A line of the file."""
    return (order, sku, description, str(quantity), at, str(price), customer, country)


def csv_of(rows: Iterable[Sequence[str]], header: Sequence[str] = HEADER) -> bytes:
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(header)
    writer.writerows(rows)
    return text.getvalue().encode()


class StopAfter(threading.Event):
    """A worker that is shut down before its n-th chunk."""

    def __init__(self, chunks: int) -> None:
        super().__init__()
        self.left = chunks

    def is_set(self) -> bool:
        self.left -= 1
        return self.left < 0


@dataclass
class Imports:
    """A profile into which files are imported."""

    under_test: Any
    chunks: Mapping[str, int] = field(default_factory=lambda: {"rows_read": 4, "rows_recorded": 3})

    @property
    def client(self) -> Any:
        return self.under_test.client

    def save(self, name: str = "retail", **changes: Any) -> Any:
        reply = self.client.put(f"/v1/import-mappings/{name}", json=MAPPING | changes)
        assert reply.status_code in (200, 201), reply.text
        return reply

    def send(
        self,
        body: bytes,
        mapping: str = "retail",
        *,
        dry_run: bool = False,
        kind: str = "purchases",
        **headers: str,
    ) -> Any:
        return self.client.post(
            f"/v1/imports?kind={kind}&mapping={mapping}&dry_run={str(dry_run).lower()}",
            content=body,
            headers={"Content-Type": "text/csv"} | headers,
        )

    def start(
        self,
        body: bytes,
        mapping: str = "retail",
        *,
        dry_run: bool = False,
        kind: str = "purchases",
        **headers: str,
    ) -> str:
        reply = self.send(body, mapping, dry_run=dry_run, kind=kind, **headers)
        assert reply.status_code == 202, reply.text
        assert reply.headers["Location"] == f"/profile/v1/jobs/{reply.json()['id']}"
        return str(reply.json()["id"])

    def work(self, stop: threading.Event | None = None) -> bool:
        """What a worker does until the job is finished or it is shut down; False if no job was due."""
        of_a_kind = functools.partial(import_records_of_a_kind, rows=self.chunks["rows_read"])
        jobs = {"import_purchases": functools.partial(import_purchases, **self.chunks)} | {
            f"import_{kind}": of_a_kind for kind in KINDS
        }
        context = Context(self.under_test.settings, self.under_test.sessions, self.under_test.engine)
        return runner.run_one(jobs, context, stop)

    def job(self, job_id: str) -> dict[str, Any]:
        return dict(self.client.get(f"/v1/jobs/{job_id}").json())

    def errors(self, job_id: str) -> list[tuple[int, str | None, str]]:
        items = self.client.get(f"/v1/jobs/{job_id}/errors?limit=200").json()["items"]
        return [(item["line"], item["column"], item["code"]) for item in items]

    def run(
        self, rows: Iterable[Sequence[str]] | bytes, *, dry_run: bool = False, **changes: Any
    ) -> dict[str, Any]:
        """Import a file by a mapping made for it; gives the finished job."""
        self.save(**changes)
        job_id = self.start(rows if isinstance(rows, bytes) else csv_of(rows), dry_run=dry_run)
        assert self.work()
        return self.job(job_id)

    def records(
        self, kind: str, columns: dict[str, Any], body: bytes, *, dry_run: bool = False, **mapping: Any
    ) -> dict[str, Any]:
        """Import a file of another kind by a mapping made for it; gives the finished job."""
        definition = {"kind": kind, "source": "crm", "columns": columns} | mapping
        reply = self.client.put(f"/v1/import-mappings/{kind}", json=definition)
        assert reply.status_code in (200, 201), reply.text
        media = {"xlsx": "application/octet-stream", "ndjson": "application/x-ndjson"}
        headers = {"Content-Type": media.get(mapping.get("format", ""), "text/csv")}
        job_id = self.start(body, kind, dry_run=dry_run, kind=kind, **headers)
        assert self.work()
        job = self.job(job_id)
        assert job["state"] == "succeeded", job
        return job

    def ask(self, sql: str, **parameters: Any) -> list[tuple[Any, ...]]:
        from sqlalchemy import text

        with self.under_test.sessions() as session:
            return [tuple(row) for row in session.execute(text(sql), parameters)]

    def facts(self, source: str = "shop") -> list[tuple[Any, ...]]:
        """All that is recorded from a source, by natural keys."""
        return [
            *self.ask(
                """
                select 'purchase', p.external_id, x.external_id, c.country, c.registered_at, p.occurred_at,
                    p.total_minor, p.accounting_total_minor, l.line, l.sku, l.description, l.quantity,
                    trim_scale(l.unit_price), l.discount_minor, l.amount_minor
                from purchase p join purchase_line l using (purchase_id)
                left join customer c on c.customer_id = p.customer_id
                left join customer_external_id x on x.customer_id = p.customer_id
                where p.source = :source order by p.external_id, l.line
                """,
                source=source,
            ),
            *self.ask(
                """
                select 'return', r.external_id, x.external_id, r.purchase_id, r.occurred_at, r.amount_minor,
                    l.position, l.sku, l.quantity, trim_scale(l.unit_price), l.amount_minor
                from purchase_return r join purchase_return_line l using (return_id)
                left join customer_external_id x on x.customer_id = r.customer_id
                where r.source = :source order by r.external_id, l.position
                """,
                source=source,
            ),
        ]

    def announced(self) -> list[tuple[str, int]]:
        rows = self.ask(
            "select split_part(type, '.', 3), count(*) from shared.outbox"
            " where topic = 'regulars.profile.customer.v1' group by 1 order by 1"
        )
        return [(kind, count) for kind, count in rows]


@pytest.fixture
def imports(service: Callable[..., Any]) -> Imports:
    return Imports(service(SERVICE))


@pytest.fixture
def committing(service: Callable[..., Any]) -> Imports:
    """With a database of its own and real commits."""
    return Imports(service(SERVICE, committing=True))
