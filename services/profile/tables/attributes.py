"""What a company wants to know of its customers beyond the standard: definitions, ranges, and how fresh it must be."""

from sqlalchemy import (
    ARRAY,
    Boolean,
    CheckConstraint,
    Column,
    ForeignKey,
    Index,
    Integer,
    Numeric,
    Table,
    Text,
    func,
    text,
)
from sqlalchemy.dialects.postgresql import JSONB

from services.profile.tables.schema import metadata
from shared.database import Timestamptz, Uuid

attribute_definition = Table(
    "attribute_definition",
    metadata,
    Column("name", Text(collation="C"), primary_key=True),
    Column("type", Text, nullable=False),
    Column("description", Text),
    Column("allowed_values", ARRAY(Text), nullable=False, server_default=text("'{}'")),
    Column("personal", Boolean, nullable=False),
    Column("required", Boolean, nullable=False),
    Column("created_at", Timestamptz, nullable=False),
    Column("updated_at", Timestamptz, nullable=False),
    Column("retired_at", Timestamptz),
    Column("version", Integer, nullable=False, server_default=text("1")),
    CheckConstraint("type in ('text', 'number', 'boolean', 'date', 'choice', 'list')", name="type"),
)

# Numbers and days (as days since 0001-01-01) among the defined attributes that are not personal: what ranges filter by.
customer_measure = Table(
    "customer_measure",
    metadata,
    Column("customer_id", Uuid, ForeignKey("customer.customer_id"), primary_key=True),
    Column("name", Text, primary_key=True),
    Column("value", Numeric, nullable=False),
    Index("ix_customer_measure_name_value_customer_id", "name", "value", "customer_id"),
)

# What should be known of a customer of a kind, and after how long it has to be asked again: one row for each kind.
upkeep_policy = Table(
    "upkeep_policy",
    metadata,
    Column("kind", Text, primary_key=True),
    Column("expected", ARRAY(Text), nullable=False),
    Column("stale_after_days", Integer, nullable=False),
    Column("stale_after_days_of", JSONB, nullable=False, server_default=text("'{}'")),
    Column("updated_at", Timestamptz, nullable=False, server_default=func.now()),
    Column("version", Integer, nullable=False, server_default=text("1")),
    # Digest of what all customers of this kind were last held against, required attributes included.
    Column("assessed_by", Text),
    CheckConstraint("kind in ('person', 'organisation')", name="kind"),
)
