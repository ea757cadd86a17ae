"""The public retail file: where it is, how it is imported, and what plain SQL over it says (see measure 5)."""

import os
from pathlib import Path
from typing import Any

import duckdb

ROOT = Path(__file__).resolve().parent.parent
FILE = (
    Path(os.environ.get("REGULARS_DATA", ROOT.parent / "shared" / "data"))
    / "online_retail"
    / "online_retail.csv.gz"
)
AS_OF = "2011-12-10T00:00:00Z"
LINES = 541_909

MAPPING: dict[str, Any] = {
    "source": "shop",
    "format": "csv",
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
    "missing_customer": "skip",
}

# Written from first-hour.md alone and never from our own code: amounts in pence, half away from zero per line.
RECOMPUTED = """
with line as (
    select "InvoiceNo" as order_number, regexp_replace("CustomerID", '\\.0$', '') as customer,
        "Quantity"::bigint as quantity,
        round("Quantity"::decimal(18, 0) * "UnitPrice"::decimal(18, 4) * 100, 0)::bigint as amount,
        timezone('Europe/London', "InvoiceDate"::timestamp) as moment
    from read_csv($file, all_varchar = true, header = true)
    where "CustomerID" is not null and "CustomerID" <> ''
),
fact as (
    select customer, order_number, order_number like 'C%' as returned, min(moment) as moment, sum(amount) as amount
    from line group by all
),
counted as (
    select customer,
        min(moment) filter (where not returned and amount > 0) as first_purchase_at,
        max(moment) filter (where not returned and amount > 0) as last_purchase_at,
        count(*) filter (where not returned and amount > 0) as purchase_count,
        sum(amount)::bigint as net_revenue_minor
    from fact group by customer
),
measured as (
    select *, floor(epoch(timestamptz '2011-12-10 00:00:00+00' - last_purchase_at) / 86400)::bigint as recency_days
    from counted where purchase_count > 0
),
banded as (
    select customer, recency_days,
        1 + floor(5 * (rank() over (order by recency_days desc) - 1) / count(*) over ())::int as r,
        1 + floor(5 * (rank() over (order by purchase_count) - 1) / count(*) over ())::int as f,
        1 + floor(5 * (rank() over (order by net_revenue_minor) - 1) / count(*) over ())::int as m
    from measured
)
select customer, epoch(first_purchase_at)::bigint, epoch(last_purchase_at)::bigint, purchase_count,
    net_revenue_minor, recency_days, r, f, m
from counted left join banded using (customer)
"""

Row = tuple[int | None, ...]


def recompute(file: Path = FILE) -> dict[str, Row]:
    """Per customer of the file: first and last purchase (epoch seconds), counted purchases, net revenue in pence,
    recency in days, bands."""
    with duckdb.connect() as connection:
        connection.execute("set timezone = 'UTC'")
        rows = connection.execute(RECOMPUTED, {"file": str(file)}).fetchall()
    return {row[0]: tuple(row[1:]) for row in rows}


def told(score: dict[str, Any]) -> Row:
    """The same of one answer of the scoring service."""
    from datetime import datetime

    def epoch(value: str | None) -> int | None:
        return None if value is None else int(datetime.fromisoformat(value).timestamp())

    metrics, rfm = score["metrics"], score["rfm"] or {}
    return (
        epoch(metrics["first_purchase_at"]),
        epoch(metrics["last_purchase_at"]),
        metrics["purchase_count"],
        metrics["net_revenue_minor"],
        *(rfm.get(name) for name in ("recency_days", "r", "f", "m")),
    )
