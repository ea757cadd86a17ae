"""The facts that population work reads, by the same names on every engine: tables of Postgres, or Parquet files.

Times are absolute; amounts are minor units of the accounting currency. Ids are only compared and counted, so they may be
``uuid`` (Postgres) or text (Parquet, whose UUID type Spark refuses).
"""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import ibis

from services.scoring.rules.policy import Policy, parse

# Tables, columns and conditions of ibis, which has no types for mypy.
Expression = Any

MOMENT = "timestamp('UTC')"

customer = ibis.table({"customer_id": "string", "state": "string"}, name="customer")

purchase = ibis.table(
    {"purchase_id": "string", "customer_id": "string", "occurred_at": MOMENT, "amount_minor": "int64"},
    name="purchase",
)

# What was taken back, of a purchase or of none that is named; or (cancellation) a purchase called off.
purchase_return = ibis.table(
    {
        "purchase_id": "string",
        "customer_id": "string",
        "occurred_at": MOMENT,
        "amount_minor": "int64",
        "cancellation": "boolean",
    },
    name="purchase_return",
)

TABLES = (customer, purchase, purchase_return)

# The files beside exported facts. The manifest is written last: without it there is no export.
MANIFEST, POLICY = "manifest.json", "policy.json"


@dataclass(frozen=True)
class Export:
    """What stands beside exported facts. ``rows`` of each table; ``minor_per_unit`` of the accounting currency."""

    rows: Mapping[str, int]
    time_zone: str
    minor_per_unit: int
    policy: Policy


def read(manifest: str, policy: str) -> Export:
    """What the texts of the two files say."""
    said, kept = json.loads(manifest), json.loads(policy)
    return Export(
        said["rows"], said["time_zone"], said["minor_per_unit"], parse(kept["version"], kept["content"])
    )
