"""What customers agreed to, and who asked for their contact points."""

from sqlalchemy import (
    BigInteger,
    CheckConstraint,
    Column,
    ForeignKey,
    Identity,
    Index,
    LargeBinary,
    Table,
    Text,
)

from services.profile.tables.schema import metadata
from shared.database import Timestamptz, Uuid

# Append-only. The record in force is the one with the latest `in_force_from`; of two at once, the later recorded.
consent = Table(
    "consent",
    metadata,
    Column("consent_id", Uuid, primary_key=True),
    Column("customer_id", Uuid, ForeignKey("customer.customer_id"), nullable=False),
    Column("purpose", Text, nullable=False),
    Column("channel", Text, nullable=False),
    Column("state", Text, nullable=False),
    Column("text_version", Text),
    Column("evidence_sealed", LargeBinary),
    Column("collected_at", Timestamptz, nullable=False),
    Column("in_force_from", Timestamptz, nullable=False),
    Column("recorded_at", Timestamptz, nullable=False),
    Column("recorded_by", Text, nullable=False),
    Column("number", BigInteger, Identity(always=True), nullable=False),
    CheckConstraint("state in ('granted', 'denied', 'withdrawn', 'expired')", name="state"),
    Index("ix_consent_in_force", "customer_id", "purpose", "channel", "in_force_from", "number"),
)

# Who asked for whose contact point, what for, and what the answer was. Append-only.
disclosure = Table(
    "disclosure",
    metadata,
    Column("disclosure_id", BigInteger, Identity(always=True), primary_key=True),
    Column("asked_at", Timestamptz, nullable=False),
    Column("asked_by", Text, nullable=False),
    Column("customer_id", Uuid, nullable=False),
    Column("purpose", Text, nullable=False),
    Column("channel", Text, nullable=False),
    Column("outcome", Text, nullable=False),
    Column("consent_id", Uuid),
    Index("ix_disclosure_customer_id_asked_at", "customer_id", "asked_at"),
)
