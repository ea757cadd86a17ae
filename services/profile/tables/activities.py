"""What people do before they buy: views, searches, carts, and whatever else the company counts."""

from sqlalchemy import (
    Boolean,
    CheckConstraint,
    Column,
    ForeignKey,
    Index,
    Integer,
    LargeBinary,
    Table,
    Text,
    UniqueConstraint,
    func,
    text,
)
from sqlalchemy.dialects.postgresql import JSONB

from services.profile.tables.schema import metadata
from shared.database import Timestamptz, Uuid

# Types that the company defined beside the built-in ones; `properties` says which fields they carry.
activity_type = Table(
    "activity_type",
    metadata,
    Column("name", Text, primary_key=True),
    Column("description", Text),
    Column("properties", JSONB, nullable=False, server_default=text("'{}'")),
    Column("updated_at", Timestamptz, nullable=False, server_default=func.now()),
    Column("updated_by", Text, nullable=False),
)

# Plain, not partitioned, so that `(source, external_id)` stays unique; what is older than the setting allows is neither
# taken nor kept, so that a deleted activity cannot come back. No device id, address or search term in clear: a device is
# a blind token, and what somebody searched for lies sealed under the customer, or was never kept.
activity = Table(
    "activity",
    metadata,
    Column("activity_id", Uuid, primary_key=True),
    Column("source", Text),
    Column("external_id", Text),
    Column("type", Text, nullable=False),
    Column("customer_id", Uuid),
    Column("recorded_customer_id", Uuid, ForeignKey("customer.customer_id")),
    Column("device_token", LargeBinary),
    Column("occurred_at", Timestamptz, nullable=False),
    Column("recorded_at", Timestamptz, nullable=False),
    Column("historical", Boolean, nullable=False),
    Column("channel", Text),
    Column("sku", Text),
    Column("category", Text),
    Column("page", Text),
    Column("query_sealed", LargeBinary),
    Column("result_count", Integer),
    Column("quantity", Integer),
    Column("campaign_id", Text),
    Column("properties", JSONB),
    Column("fingerprint", LargeBinary, nullable=False),
    UniqueConstraint("source", "external_id"),
    CheckConstraint("(source is null) = (external_id is null)", name="named_whole"),
    CheckConstraint("num_nonnulls(customer_id, device_token) > 0", name="somebodys"),
    Index("ix_activity_customer_id_occurred_at_activity_id", "customer_id", "occurred_at", "activity_id"),
    Index(
        "ix_activity_unattached",
        "device_token",
        "occurred_at",
        postgresql_where=text("customer_id is null"),
    ),
    Index("ix_activity_occurred_at", "occurred_at"),
    # Who looked at what: the report of those who browsed and did not buy walks along it.
    Index(
        "ix_activity_views",
        "sku",
        "customer_id",
        "occurred_at",
        postgresql_where=text("type = 'product_view' and customer_id is not null"),
    ),
)
