"""By what a customer is recognised, beside the names that outside systems have: mailboxes, numbers, cards, devices."""

from sqlalchemy import (
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

_UNIQUE = "verified_at is not null and namespace not in ('cookie', 'device')"

# The value is sealed for `customer_id`, to whom the identity was given and with whom it stays through merges; `token`
# finds it (shared/blind_indexes). One that is verified and by its nature only one person's belongs to one customer.
customer_identity = Table(
    "customer_identity",
    metadata,
    Column("identity_id", Uuid, primary_key=True),
    Column("customer_id", Uuid, ForeignKey("customer.customer_id"), nullable=False),
    Column("namespace", Text, nullable=False),
    Column("value_sealed", LargeBinary, nullable=False),
    Column("token", LargeBinary, nullable=False),
    Column("verified_at", Timestamptz),
    Column("added_at", Timestamptz, nullable=False),
    Column("added_by", Text, nullable=False),
    UniqueConstraint("customer_id", "namespace", "token"),
    CheckConstraint(
        "namespace in ('email', 'phone', 'wechat_openid', 'wechat_unionid', 'pos_card', 'cookie', 'device')",
        name="namespace",
    ),
    Index("uq_customer_identity_verified", "namespace", "token", unique=True, postgresql_where=text(_UNIQUE)),
    Index("ix_customer_identity_token", "token"),
)

# Who was logged in on a device, and when. What is done on a device while nobody is belongs to nobody yet, and to whoever
# logs in next.
device_session = Table(
    "device_session",
    metadata,
    Column("session_id", Uuid, primary_key=True),
    Column("device_token", LargeBinary, nullable=False),
    Column("customer_id", Uuid, ForeignKey("customer.customer_id"), nullable=False, index=True),
    Column("began_at", Timestamptz, nullable=False),
    Column("ended_at", Timestamptz),
    CheckConstraint("ended_at >= began_at", name="ends_after_it_began"),
    Index("uq_device_session_open", "device_token", unique=True, postgresql_where=text("ended_at is null")),
    Index("ix_device_session_device_token_began_at", "device_token", "began_at"),
)
