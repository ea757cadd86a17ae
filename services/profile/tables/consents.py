"""What customers agreed to, and who asked for their contact points."""

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
)
from sqlalchemy.dialects.postgresql import JSONB

from services.profile.tables.schema import metadata
from shared.database import Timestamptz, Uuid

# Append-only. The record that stands is the one with the latest `in_force_from`; of two at once the stricter. `expired` only
# notes that a grant ran out: what stands follows from the grant's own `expires_at` (rules/consents.py).
consent = Table(
    "consent",
    metadata,
    Column("consent_id", Uuid, primary_key=True),
    Column("customer_id", Uuid, ForeignKey("customer.customer_id"), nullable=False),
    Column("recorded_customer_id", Uuid, nullable=False),
    Column("purpose", Text, nullable=False),
    Column("channel", Text, nullable=False),
    Column("state", Text, nullable=False),
    Column("text_version", Text),
    Column("evidence_sealed", LargeBinary),  # for `recorded_customer_id`
    Column("collected_at", Timestamptz, nullable=False),
    Column("collected_where", Text),
    Column("collected_by", Text),
    Column("in_force_from", Timestamptz, nullable=False),
    Column("expires_at", Timestamptz),
    Column("recorded_at", Timestamptz, nullable=False),
    Column("recorded_by", Text, nullable=False),
    # The merge that made this record, where it was not the customer who spoke.
    Column("merge_id", Uuid),
    Column("number", BigInteger, Identity(always=True), nullable=False),
    CheckConstraint("state in ('granted', 'denied', 'withdrawn', 'expired')", name="state"),
    CheckConstraint("expires_at is null or state = 'granted'", name="expires_at"),
    Index("ix_consent_in_force", "customer_id", "purpose", "channel", "in_force_from", "number"),
    Index("ix_consent_customer_id_collected_at_consent_id", "customer_id", "collected_at", "consent_id"),
)

# Grants whose end has not been looked at yet: when it comes it is recorded and announced, and the row goes.
consent_expiry = Table(
    "consent_expiry",
    metadata,
    Column("consent_id", Uuid, ForeignKey("consent.consent_id"), primary_key=True),
    Column("expires_at", Timestamptz, nullable=False, index=True),
)

# What customers read before they agree, by language; a version never changes. The latest of a purpose is shown.
consent_text = Table(
    "consent_text",
    metadata,
    Column("purpose", Text, primary_key=True),
    Column("version", Text, primary_key=True),
    Column("texts", JSONB, nullable=False),
    Column("valid_days", Integer),
    Column("created_at", Timestamptz, nullable=False),
    Column("created_by", Text, nullable=False),
    CheckConstraint("valid_days > 0", name="valid_days"),
)

# What a customer is asked by a signed link: to agree (opt_in, sign_up) or to bring the own data up to date (refresh).
# `address_token` is the address that the link goes to: who changes it meanwhile has confirmed nothing about the new one.
confirmation = Table(
    "confirmation",
    metadata,
    Column("confirmation_id", Uuid, primary_key=True),
    Column("kind", Text, nullable=False),
    Column("customer_id", Uuid, ForeignKey("customer.customer_id"), nullable=False),
    Column("recorded_customer_id", Uuid, nullable=False),
    Column("channel", Text, nullable=False),
    Column("purposes", JSONB, nullable=False),  # {purpose: version of the text}
    Column("address_token", LargeBinary),
    Column("requested_at", Timestamptz, nullable=False),
    Column("requested_by", Text, nullable=False),
    Column("expires_at", Timestamptz, nullable=False),
    Column("confirmed_at", Timestamptz),
    CheckConstraint("kind in ('opt_in', 'sign_up', 'refresh')", name="kind"),
    Index("ix_confirmation_customer_id", "customer_id", "requested_at", "confirmation_id"),
)

# Who asked for whose contact point, what for, and what the answer was. Append-only. `asked_at` is the moment of the
# answer, while the customers were held: a withdrawal acknowledged before it was seen.
disclosure = Table(
    "disclosure",
    metadata,
    Column("disclosure_id", BigInteger, Identity(always=True), primary_key=True),
    # The rows of one lookup: the audit log holds their digest.
    Column("lookup_id", Uuid, nullable=False, index=True),
    Column("asked_at", Timestamptz, nullable=False),
    Column("asked_by", Text, nullable=False),
    Column("customer_id", Uuid, nullable=False),
    Column("purpose", Text, nullable=False),
    Column("channel", Text, nullable=False),
    Column("outcome", Text, nullable=False),
    Column("consent_id", Uuid),
    Index("ix_disclosure_customer_id_asked_at", "customer_id", "asked_at"),
)
