"""Who brought whom."""

from sqlalchemy import (
    ARRAY,
    Boolean,
    CheckConstraint,
    Column,
    ForeignKey,
    Index,
    Integer,
    LargeBinary,
    Table,
    Text,
    text,
)

from services.profile.tables.schema import metadata
from shared.database import Timestamptz, Uuid

# One row: the terms. `link_template` holds `{code}`; null = the code alone is given out.
referral_programme = Table(
    "referral_programme",
    metadata,
    Column("only", Boolean, primary_key=True, server_default=text("true")),
    Column("link_template", Text),
    Column("most_per_period", Integer),
    Column("period_days", Integer, nullable=False, server_default=text("30")),
    Column("qualify_within_days", Integer),
    Column("version", Integer, nullable=False, server_default=text("1")),
    Column("updated_at", Timestamptz),
    Column("updated_by", Text),
    CheckConstraint('"only"', name="only"),
)

referral_code = Table(
    "referral_code",
    metadata,
    Column("code", Text, primary_key=True),
    Column("customer_id", Uuid, ForeignKey("customer.customer_id"), nullable=False),
    Column("recorded_customer_id", Uuid, nullable=False),
    Column("created_at", Timestamptz, nullable=False),
    Column("revoked_at", Timestamptz),
    Index("ix_referral_code_customer_id", "customer_id"),
    Index(
        "uq_referral_code_in_use",
        "recorded_customer_id",
        unique=True,
        postgresql_where=text("revoked_at is null"),
    ),
)

# `state` is derived from the referee's purchases and the review, and written when it changes. `flags` say what speaks
# for one person being on both sides; a flagged referral counts only after somebody looked (`review`).
referral = Table(
    "referral",
    metadata,
    Column("referral_id", Uuid, primary_key=True),
    Column("code", Text, ForeignKey("referral_code.code"), nullable=False),
    Column("state", Text, nullable=False, server_default=text("'pending'")),
    Column("flags", ARRAY(Text), nullable=False, server_default=text("'{}'")),
    Column("review", Text),
    Column("reviewed_at", Timestamptz),
    Column("reviewed_by", Text),
    Column("device_token", LargeBinary),
    Column("referred_at", Timestamptz, nullable=False),
    Column("recorded_at", Timestamptz, nullable=False),
    Column("qualify_until", Timestamptz),
    Column("purchase_id", Uuid),
    Column("state_since", Timestamptz, nullable=False),
    CheckConstraint("state in ('pending', 'qualified', 'voided')", name="state"),
    CheckConstraint("review in ('required', 'approved', 'rejected')", name="review"),
    Index(
        "ix_referral_for_review", "recorded_at", "referral_id", postgresql_where=text("review = 'required'")
    ),
)

# Its two sides, so that each moves with its customer through merges.
referral_party = Table(
    "referral_party",
    metadata,
    Column("referral_id", Uuid, ForeignKey("referral.referral_id"), primary_key=True),
    Column("role", Text, primary_key=True),
    Column("customer_id", Uuid, nullable=False),
    Column("recorded_customer_id", Uuid, ForeignKey("customer.customer_id"), nullable=False),
    Column("referred_at", Timestamptz, nullable=False),
    CheckConstraint("role in ('referrer', 'referee')", name="role"),
    Index(
        "ix_referral_party_customer_id_referred_at_referral_id", "customer_id", "referred_at", "referral_id"
    ),
    # Somebody is brought once: whoever comes first counts.
    Index(
        "uq_referral_party_referee",
        "recorded_customer_id",
        unique=True,
        postgresql_where=text("role = 'referee'"),
    ),
)
