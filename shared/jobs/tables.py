"""The tables of long and scheduled work, the same in every service's database."""

from sqlalchemy import (
    BigInteger,
    CheckConstraint,
    Column,
    ForeignKey,
    Identity,
    Index,
    Integer,
    LargeBinary,
    Table,
    Text,
    func,
    text,
)
from sqlalchemy.dialects.postgresql import JSONB

from shared.database import Timestamptz, Uuid, new_metadata

metadata = new_metadata("shared")

STATES = ("queued", "running", "succeeded", "failed", "cancelled")

job = Table(
    "job",
    metadata,
    Column("id", Uuid, primary_key=True),
    Column("kind", Text, nullable=False),
    Column("state", Text, nullable=False, server_default=text("'queued'")),
    Column("parameters", JSONB, nullable=False),
    Column("cursor", JSONB, nullable=False, server_default=text("'{}'")),
    Column("report", JSONB, nullable=False, server_default=text("'{}'")),
    Column("total", BigInteger),
    Column("processed", BigInteger, nullable=False, server_default=text("0")),
    Column("failed", BigInteger, nullable=False, server_default=text("0")),
    Column("created_by", Text),
    Column("created_at", Timestamptz, nullable=False, server_default=func.now()),
    # Null: held back until its upload is complete.
    Column("due_at", Timestamptz, server_default=func.now()),
    Column("started_at", Timestamptz),
    Column("finished_at", Timestamptz),
    Column("cancel_requested_at", Timestamptz),
    # Who holds the job: a worker whose epoch is no longer the row's has lost it and can commit nothing.
    Column("lease_until", Timestamptz),
    Column("epoch", Integer, nullable=False, server_default=text("0")),
    # Starts since the cursor last moved, so that a job that kills its worker is given up one day.
    Column("attempts", Integer, nullable=False, server_default=text("0")),
    Column("error_code", Text),
    Column("error_message", Text),
    CheckConstraint("state in ('queued', 'running', 'succeeded', 'failed', 'cancelled')", name="state"),
    Index("ix_job_due_at", "due_at", postgresql_where=text("state in ('queued', 'running')")),
    Index("ix_job_created_at_id", "created_at", "id"),
)

job_error = Table(
    "job_error",
    metadata,
    Column("id", BigInteger, Identity(always=True), primary_key=True),
    Column("job_id", Uuid, ForeignKey("shared.job.id", ondelete="CASCADE"), nullable=False),
    Column("line", BigInteger),
    Column("column_name", Text),
    Column("pointer", Text),
    Column("code", Text, nullable=False),
    Column("message", Text, nullable=False),
    Index("ix_job_error_job_id_id", "job_id", "id"),
)

upload_block = Table(
    "upload_block",
    metadata,
    Column("job_id", Uuid, ForeignKey("shared.job.id", ondelete="CASCADE"), primary_key=True),
    Column("number", Integer, primary_key=True),
    Column("sealed", LargeBinary, nullable=False),
)

schedule = Table(
    "schedule",
    metadata,
    Column("name", Text, primary_key=True),
    Column("due_at", Timestamptz, nullable=False),
    Column("started_at", Timestamptz),
    Column("finished_at", Timestamptz),
    Column("outcome", Text),
)
