"""A real export that no mapping here was written for: The Complete Journey (84.51°, CC0), imported by mappings alone.

The excerpt is in its form; where the whole sample is on the machine, it is imported, too.
"""

import csv
import gzip
import io
import os
from pathlib import Path
from typing import Any

import pytest

from tests.profile.imports.conftest import Imports
from tests.real_file import ROOT

FOLDER = Path(os.environ.get("REGULARS_DATA", ROOT.parent / "shared" / "data")) / "completejourney"
EXCERPT = Path(__file__).parent / "complete_journey.csv"
ZERO = ["0", "0.0"]

TRANSACTIONS: dict[str, Any] = {
    "source": "grocer",
    "columns": {
        "order": "basket_id",
        "customer": "household_id",
        "store": "store_id",
        "sku": "product_id",
        "quantity": "quantity",
        "line_amount": "sales_value",
        "occurred_at": "transaction_timestamp",
        "channel": {"default": "store"},
    },
    "skip_rows": [{"column": "quantity", "values": ZERO, "reason": "coupon_without_a_piece"}],
    "currency": "USD",
}
PRODUCTS: dict[str, Any] = {
    "kind": "products",
    "source": "grocer",
    "columns": {
        "sku": "product_id",
        "name_en": {"join": ["product_type", "package_size"]},
        "brand": "brand",
        "category": {"join": ["department", "product_category"], "separator": "/", "remove": ["/"]},
    },
}
HOUSEHOLDS: dict[str, Any] = {
    "kind": "customers",
    "source": "grocer",
    "columns": {
        "external_id": "household_id",
        "income_band": "income",
        "lifestyle": "household_comp",
        "country": {"default": "US"},
        "tags": {"column": "home_ownership", "values": {"Homeowner": "homeowner"}, "unlisted": "empty"},
    },
}


def told(text: str) -> tuple[int, int, int, int, dict[str, int]]:
    """Rows, rows without a piece, baskets, households and cents by household, by reading the file plainly."""
    rows = list(csv.DictReader(io.StringIO(text)))
    sold = [row for row in rows if row["quantity"] not in ZERO]
    cents: dict[str, int] = {}
    for row in sold:
        cents[row["household_id"]] = cents.get(row["household_id"], 0) + round(
            float(row["sales_value"]) * 100
        )
    return len(rows), len(rows) - len(sold), len({row["basket_id"] for row in sold}), len(cents), cents


def imported(
    imports: Imports, mapping: dict[str, Any], body: bytes, kind: str = "purchases"
) -> dict[str, Any]:
    reply = imports.client.put(f"/v1/import-mappings/grocer-{kind}", json=mapping)
    assert reply.status_code in (200, 201), reply.text
    job_id = imports.start(body, f"grocer-{kind}", kind=kind)
    imports.work()
    job = imports.job(job_id)
    assert job["state"] == "succeeded", job
    return dict(job["report"])


def every_row_is_explained(imports: Imports, text: str) -> None:
    rows, empty, baskets, households, cents = told(text)
    report = imported(imports, TRANSACTIONS, text.encode())
    assert report["rows"] == {
        "read": rows,
        "recorded": rows - empty,
        "unchanged": 0,
        "skipped": empty,
        "rejected": 0,
    }
    assert report["skipped"] == ({"coupon_without_a_piece": empty} if empty else {})
    assert report["purchases"]["recorded"] == baskets
    assert report["customers"] == {"in_file": households, "created": households}
    totals = imports.ask(
        "select x.external_id, sum(p.total_minor)::bigint from purchase p join customer_external_id x"
        " using (customer_id) group by 1"
    )
    assert dict(totals) == cents
    again = imported(imports, TRANSACTIONS, text.encode())
    assert again["summary"] == f"Nothing changed: {baskets} orders were recorded before."


def test_an_excerpt_is_imported_by_writing_a_mapping_only(imports: Imports) -> None:
    imports.chunks = {"rows_read": 50, "rows_recorded": 40}
    every_row_is_explained(imports, EXCERPT.read_text())


@pytest.mark.skipif(not FOLDER.exists(), reason=f"the sample is not at {FOLDER} (REGULARS_DATA)")
def test_the_whole_sample_is_imported_by_writing_mappings_only(committing: Imports) -> None:
    committing.chunks = {"rows_read": 10_000, "rows_recorded": 8_000}
    text = gzip.decompress((FOLDER / "transactions_sample.csv.gz").read_bytes()).decode()
    head, *lines = text.splitlines(keepends=True)
    every_row_is_explained(committing, head + "".join(lines[:15_000]))
    committing.chunks = {"rows_read": 1_000, "rows_recorded": 8_000}
    products = gzip.decompress((FOLDER / "products.csv.gz").read_bytes()).splitlines(keepends=True)[:3001]
    report = imported(committing, PRODUCTS, b"".join(products), "products")
    assert report["rows"]["read"] == 3_000 == sum(report["records"].values())
    people = gzip.decompress((FOLDER / "demographics.csv.gz").read_bytes()).splitlines(keepends=True)[:301]
    report = imported(committing, HOUSEHOLDS, b"".join(people), "customers")
    assert report["rows"] == {"read": 300, "recorded": 300, "unchanged": 0, "skipped": 0, "rejected": 0}
