"""The tables of imports: saved mappings, and the rows of a running import on their way into purchases."""

from sqlalchemy import BigInteger, Column, Integer, Numeric, SmallInteger, Table, Text, func, text
from sqlalchemy.dialects.postgresql import JSONB

from services.profile.tables.schema import metadata
from shared.database import Timestamptz, Uuid

import_mapping = Table(
    "import_mapping",
    metadata,
    Column("name", Text, primary_key=True),
    Column("version", Integer, nullable=False, server_default=text("1")),
    Column("definition", JSONB, nullable=False),
    Column("created_at", Timestamptz, nullable=False, server_default=func.now()),
    Column("updated_at", Timestamptz, nullable=False, server_default=func.now()),
    Column("updated_by", Text, nullable=False),
)

# Checked rows of an import, in the order in which they are recorded: purchases (kind 0), then returns (1), by order
# number. Rows that are skipped (2) stay here only for the quality report. Emptied when the import is done.
# The collation is bytewise so that the order of keys does not depend on the cluster's.
import_row = Table(
    "import_row",
    metadata,
    Column("job_id", Uuid, primary_key=True),
    Column("kind", SmallInteger, primary_key=True),
    Column("order_number", Text(collation="C"), primary_key=True),
    Column("line", BigInteger, primary_key=True),
    Column("customer", Text),
    Column("sku", Text, nullable=False),
    Column("quantity", Integer, nullable=False),
    Column("unit_price", Numeric, nullable=False),
    Column("occurred_at", Timestamptz, nullable=False),
    Column("description", Text),
    Column("category", Text),
    Column("country", Text),
    Column("currency", Text, nullable=False),
    Column("exchange_rate", Numeric),
    Column("discount", Numeric),
    Column("channel", Text),
    Column("store", Text),
)

# What the whole file says of a customer, so that it does not matter which of the orders is recorded first.
import_customer = Table(
    "import_customer",
    metadata,
    Column("job_id", Uuid, primary_key=True),
    Column("customer", Text, primary_key=True),
    Column("country", Text),
    Column("country_count", Integer, nullable=False),
    Column("first_at", Timestamptz, nullable=False),
)
