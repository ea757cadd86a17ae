"""Why a customer has a tag, since when and until when; `customer.tags` is what all of that adds up to."""

from sqlalchemy import (
    BigInteger,
    Boolean,
    CheckConstraint,
    Column,
    ForeignKey,
    Identity,
    Index,
    Integer,
    Table,
    Text,
    func,
    text,
)
from sqlalchemy.dialects.postgresql import JSONB

from services.profile.tables.schema import metadata
from shared.database import Timestamptz, Uuid

# One row per reason: a tag given by hand stays when a rule takes its own away. `source` is hand, bulk, import or
# `rule:<name>`.
customer_tag = Table(
    "customer_tag",
    metadata,
    Column("recorded_customer_id", Uuid, primary_key=True),
    Column("tag", Text, primary_key=True),
    Column("source", Text, primary_key=True),
    Column("customer_id", Uuid, ForeignKey("customer.customer_id"), nullable=False),
    Column("since", Timestamptz, nullable=False),
    Column("expires_at", Timestamptz),
    Column("given_by", Text, nullable=False),
    Index("ix_customer_tag_customer_id", "customer_id"),
    Index("ix_customer_tag_source_customer_id", "source", "customer_id"),
    Index("ix_customer_tag_expires_at", "expires_at", postgresql_where=text("expires_at is not null")),
)

# Append-only.
tag_change = Table(
    "tag_change",
    metadata,
    Column("change_id", BigInteger, Identity(always=True), primary_key=True),
    Column("customer_id", Uuid, nullable=False),
    Column("recorded_customer_id", Uuid, nullable=False),
    Column("tag", Text, nullable=False),
    Column("action", Text, nullable=False),
    Column("source", Text, nullable=False),
    Column("expires_at", Timestamptz),
    Column("changed_at", Timestamptz, nullable=False),
    Column("changed_by", Text, nullable=False),
    CheckConstraint("action in ('added', 'removed', 'expired')", name="action"),
    Index("ix_tag_change_customer_id_change_id", "customer_id", "change_id"),
)

tag_rule = Table(
    "tag_rule",
    metadata,
    Column("name", Text, primary_key=True),
    Column("tag", Text, nullable=False),
    Column("conditions", JSONB, nullable=False),
    Column("enabled", Boolean, nullable=False, server_default=text("true")),
    Column("version", Integer, nullable=False, server_default=text("1")),
    Column("created_at", Timestamptz, nullable=False, server_default=func.now()),
    Column("updated_at", Timestamptz, nullable=False, server_default=func.now()),
    Column("updated_by", Text, nullable=False),
    Column("evaluated_at", Timestamptz),
    Column("tagged_count", Integer),
)
