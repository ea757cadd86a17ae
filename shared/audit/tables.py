"""The audit log, the same in every service's database."""

from sqlalchemy import BigInteger, Boolean, CheckConstraint, Column, Index, LargeBinary, Table, Text, text
from sqlalchemy.dialects.postgresql import JSONB

from shared.database import Timestamptz, new_metadata

metadata = new_metadata("shared")

# Append-only. `number` counts on without a gap; `hash` is keyed and covers the row and the hash before it.
audit_entry = Table(
    "audit_entry",
    metadata,
    Column("number", BigInteger, primary_key=True, autoincrement=False),
    Column("at", Timestamptz, nullable=False),
    Column("action", Text, nullable=False),
    Column("actor", Text, nullable=False),
    Column("subject", Text),
    Column("facts", JSONB, nullable=False),
    Column("hash", LargeBinary, nullable=False),
    Index("ix_audit_entry_action_number", "action", "number"),
    Index("ix_audit_entry_subject_number", "subject", "number", postgresql_where=text("subject is not null")),
)

# One row, and the lock under which the chain grows.
audit_head = Table(
    "audit_head",
    metadata,
    Column("only", Boolean, primary_key=True, server_default=text("true")),
    Column("number", BigInteger, nullable=False),
    Column("hash", LargeBinary, nullable=False),
    CheckConstraint('"only"', name="one_row"),
)
