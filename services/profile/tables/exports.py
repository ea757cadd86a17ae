"""Exports: what was asked for, who allowed it, and the file in sealed blocks until it expires; and which files of the
company's own folders and addresses were imported."""

from sqlalchemy import BigInteger, Boolean, Column, ForeignKey, Integer, LargeBinary, Table, Text, func, text
from sqlalchemy.dialects.postgresql import ARRAY, JSONB

from services.profile.tables.schema import metadata
from shared.database import Timestamptz, Uuid

# An export's id is its job's. One with personal fields waits until another credential than the requester's approves.
export = Table(
    "export",
    metadata,
    Column("export_id", Uuid, primary_key=True),
    Column("kind", Text, nullable=False),
    Column("format", Text, nullable=False),
    Column("byte_order_mark", Boolean, nullable=False),
    Column("fields", ARRAY(Text), nullable=False),
    Column("filters", JSONB, nullable=False),
    Column("personal", Boolean, nullable=False),
    Column("reason", Text),
    Column("requested_by", Text, nullable=False),
    Column("requested_by_credential", Text, nullable=False),
    Column("requested_at", Timestamptz, nullable=False, server_default=func.now()),
    Column("approved_by", Text),
    Column("approved_by_credential", Text),
    Column("approved_at", Timestamptz),
    Column("row_count", BigInteger, nullable=False, server_default=text("0")),
    Column("byte_count", BigInteger, nullable=False, server_default=text("0")),
    Column("ready_at", Timestamptz),
    Column("expires_at", Timestamptz),
    Column("destroyed_at", Timestamptz),
)

export_block = Table(
    "export_block",
    metadata,
    Column("export_id", Uuid, ForeignKey("export.export_id", ondelete="CASCADE"), primary_key=True),
    Column("number", Integer, primary_key=True),
    Column("sealed", LargeBinary, nullable=False),
)

# What a folder or an address of the company's held when it was last looked at, so that a file is imported once.
import_fetch = Table(
    "import_fetch",
    metadata,
    Column("source", Text, primary_key=True),
    Column("name", Text, primary_key=True),
    Column("digest", LargeBinary, nullable=False),
    Column("job_id", Uuid),
    Column("fetched_at", Timestamptz, nullable=False, server_default=func.now()),
)
