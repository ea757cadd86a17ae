"""The hosted sign-up form: where its links stand, and who came through them."""

from sqlalchemy import ARRAY, Boolean, CheckConstraint, Column, ForeignKey, Index, Table, Text

from services.profile.tables.schema import metadata
from shared.database import Timestamptz, Uuid

# A place where people are asked to sign up: a store's poster, a member of staff, a campaign.
sign_up_source = Table(
    "sign_up_source",
    metadata,
    Column("source_id", Uuid, primary_key=True),
    Column("name", Text, nullable=False),
    Column("kind", Text, nullable=False),
    Column("reference", Text),
    Column("purposes", ARRAY(Text), nullable=False),
    Column("language", Text),
    Column("created_at", Timestamptz, nullable=False),
    Column("created_by", Text, nullable=False),
    Column("closed_at", Timestamptz),
    CheckConstraint("kind in ('store', 'staff', 'campaign', 'web')", name="kind"),
    Index("ix_sign_up_source_created_at_source_id", "created_at", "source_id"),
)

# Somebody sent the form: a new customer, or one who was known by the address.
sign_up = Table(
    "sign_up",
    metadata,
    Column("sign_up_id", Uuid, primary_key=True),
    Column("source_id", Uuid, ForeignKey("sign_up_source.source_id"), nullable=False),
    Column("customer_id", Uuid, ForeignKey("customer.customer_id"), nullable=False),
    Column("recorded_customer_id", Uuid, nullable=False),
    Column("known", Boolean, nullable=False),
    Column("confirmation_id", Uuid, ForeignKey("confirmation.confirmation_id")),
    Column("signed_up_at", Timestamptz, nullable=False),
    Index("ix_sign_up_customer_id_signed_up_at", "customer_id", "signed_up_at"),
    Index("ix_sign_up_source_id_signed_up_at", "source_id", "signed_up_at"),
)
