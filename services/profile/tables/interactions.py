"""Contacts with a person: who spoke with whom, how it went, what comes next."""

from sqlalchemy import (
    Boolean,
    CheckConstraint,
    Column,
    ForeignKey,
    Index,
    LargeBinary,
    Table,
    Text,
    UniqueConstraint,
    text,
)

from services.profile.tables.schema import metadata
from shared.database import Timestamptz, Uuid

# What was said and what is to be done next is free text: sealed under `recorded_customer_id`.
interaction = Table(
    "interaction",
    metadata,
    Column("interaction_id", Uuid, primary_key=True),
    Column("source", Text),
    Column("external_id", Text),
    Column("customer_id", Uuid, nullable=False),
    Column("recorded_customer_id", Uuid, ForeignKey("customer.customer_id"), nullable=False),
    Column("kind", Text, nullable=False),
    Column("direction", Text, nullable=False),
    Column("channel", Text),
    Column("store", Text),
    Column("staff_id", Text),
    Column("outcome", Text),
    Column("case_id", Uuid),
    Column("notes_sealed", LargeBinary),
    Column("occurred_at", Timestamptz, nullable=False),
    Column("recorded_at", Timestamptz, nullable=False),
    Column("recorded_by", Text, nullable=False),
    Column("historical", Boolean, nullable=False),
    Column("next_step_sealed", LargeBinary),
    Column("next_step_due_at", Timestamptz),
    Column("next_step_done_at", Timestamptz),
    Column("next_step_done_by", Text),
    UniqueConstraint("source", "external_id"),
    CheckConstraint("(source is null) = (external_id is null)", name="named_whole"),
    CheckConstraint("kind in ('call', 'email', 'visit', 'chat', 'letter', 'other')", name="kind"),
    CheckConstraint("direction in ('inbound', 'outbound')", name="direction"),
    CheckConstraint("next_step_done_at is null or next_step_due_at is not null", name="done_was_due"),
    Index(
        "ix_interaction_customer_id_occurred_at_interaction_id",
        "customer_id",
        "occurred_at",
        "interaction_id",
    ),
    Index(
        "ix_interaction_due",
        "next_step_due_at",
        "interaction_id",
        postgresql_where=text("next_step_due_at is not null and next_step_done_at is null"),
    ),
    Index(
        "ix_interaction_due_of_staff",
        "staff_id",
        "next_step_due_at",
        "interaction_id",
        postgresql_where=text("next_step_due_at is not null and next_step_done_at is null"),
    ),
)
