"""The tables of imports: saved mappings, and what a running import knows of its file."""

from sqlalchemy import BigInteger, Column, Integer, LargeBinary, SmallInteger, Table, Text, func, text
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

# Checked rows of a purchases import, in the order in which they are recorded: purchases (kind 0), then returns (1), by
# order number; rows that are skipped (2) stay here only for the quality report. The rows of one order that were read
# together are one piece (domain/staging.py says how it is packed). Emptied when the import is done.
# The collation is bytewise so that the order of keys does not depend on the cluster's.
import_order = Table(
    "import_order",
    metadata,
    Column("job_id", Uuid, primary_key=True),
    Column("kind", SmallInteger, primary_key=True),
    Column("order_number", Text(collation="C"), primary_key=True),
    Column("first_line", BigInteger, primary_key=True),
    Column("row_count", Integer, nullable=False),
    Column("rows", LargeBinary, nullable=False),
)

# What the whole file says of a customer, so that it does not matter which of the orders is recorded first: how many
# rows name which country ('' = none).
import_customer = Table(
    "import_customer",
    metadata,
    Column("job_id", Uuid, primary_key=True),
    Column("customer", Text, primary_key=True),
    Column("country", Text, primary_key=True),
    Column("row_count", BigInteger, nullable=False),
    Column("first_at", Timestamptz, nullable=False),
)

# How often a file names something: a code of a product (what = 0), a quantity (1).
import_count = Table(
    "import_count",
    metadata,
    Column("job_id", Uuid, primary_key=True),
    Column("what", SmallInteger, primary_key=True),
    Column("value", Text(collation="C"), primary_key=True),
    Column("row_count", BigInteger, nullable=False),
)

# Keys of the records that a file has told already (a hash: they may be personal), to notice what it tells twice.
import_key = Table(
    "import_key",
    metadata,
    Column("job_id", Uuid, primary_key=True),
    Column("key", LargeBinary, primary_key=True),
    Column("line", BigInteger, nullable=False),
)
