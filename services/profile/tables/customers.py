"""Customers, and the names that outside systems have for them."""

from sqlalchemy import (
    ARRAY,
    CheckConstraint,
    Column,
    ForeignKey,
    Index,
    Integer,
    LargeBinary,
    Table,
    Text,
    func,
    text,
)

from services.profile.tables.schema import metadata
from shared.database import Timestamptz, Uuid

customer = Table(
    "customer",
    metadata,
    Column("customer_id", Uuid, primary_key=True),
    Column("kind", Text, nullable=False),
    Column("name_sealed", LargeBinary),
    Column("email_sealed", LargeBinary),
    Column("phone_sealed", LargeBinary),
    Column("birth_date_sealed", LargeBinary),
    # MM-DD: what birthday wishes need, and all that may leave this service about a birth date.
    Column("birth_month_day", Text),
    Column("country", Text),
    Column("region", Text),
    Column("language", Text),
    Column("time_zone", Text),
    Column("acquisition_channel", Text),
    Column("tags", ARRAY(Text), nullable=False, server_default=text("'{}'")),
    Column("registered_at", Timestamptz, nullable=False),
    Column("created_at", Timestamptz, nullable=False, server_default=func.now()),
    Column("updated_at", Timestamptz, nullable=False, server_default=func.now()),
    Column("version", Integer, nullable=False, server_default=text("1")),
    Column("state", Text, nullable=False, server_default=text("'active'")),
    Column("merged_into", Uuid, ForeignKey("customer.customer_id")),
    CheckConstraint("kind in ('person', 'organisation')", name="kind"),
    CheckConstraint("state in ('active', 'merged', 'erased')", name="state"),
    CheckConstraint("(state = 'merged') = (merged_into is not null)", name="merged_into"),
    Index("ix_customer_created_at_customer_id", "created_at", "customer_id"),
    Index("ix_customer_country_created_at_customer_id", "country", "created_at", "customer_id"),
)

customer_external_id = Table(
    "customer_external_id",
    metadata,
    Column("source", Text, primary_key=True),
    Column("external_id", Text, primary_key=True),
    Column("customer_id", Uuid, ForeignKey("customer.customer_id"), nullable=False, index=True),
)
