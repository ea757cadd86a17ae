"""Whom nobody writes to or calls any more, whatever was agreed."""

from sqlalchemy import CheckConstraint, Column, ForeignKey, Index, LargeBinary, Table, Text, text

from services.profile.tables.schema import metadata
from shared.database import Timestamptz, Uuid

# About a customer, or about an address whoever has it, which is kept as a blind token only. In force until lifted.
suppression = Table(
    "suppression",
    metadata,
    Column("suppression_id", Uuid, primary_key=True),
    Column("channel", Text, nullable=False),
    Column("reason", Text, nullable=False),
    Column("customer_id", Uuid, ForeignKey("customer.customer_id")),
    Column("recorded_customer_id", Uuid),
    Column("address_token", LargeBinary),
    Column("set_at", Timestamptz, nullable=False),
    Column("set_by", Text, nullable=False),
    Column("lifted_at", Timestamptz),
    Column("lifted_by", Text),
    Column("lifted_because", Text),
    CheckConstraint("reason in ('bounce', 'complaint', 'do_not_call', 'manual', 'erasure')", name="reason"),
    CheckConstraint("(customer_id is null) <> (address_token is null)", name="about"),
    CheckConstraint("(customer_id is null) = (recorded_customer_id is null)", name="recorded"),
    CheckConstraint("(lifted_at is null) = (lifted_by is null)", name="lifted"),
    Index("ix_suppression_customer_id", "customer_id", "channel"),
    Index(
        "ix_suppression_address_token",
        "address_token",
        "channel",
        postgresql_where=text("lifted_at is null"),
    ),
    Index("ix_suppression_set_at", "set_at", "suppression_id"),
)
