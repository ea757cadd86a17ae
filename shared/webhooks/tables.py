"""Who is called when something happens, and each call that is due or was made."""

from sqlalchemy import (
    ARRAY,
    BigInteger,
    Boolean,
    CheckConstraint,
    Column,
    ForeignKey,
    Index,
    Integer,
    LargeBinary,
    Table,
    Text,
    Uuid,
    func,
    text,
)

from shared.database import Timestamptz, new_metadata

metadata = new_metadata("shared")

webhook = Table(
    "webhook",
    metadata,
    Column("webhook_id", Uuid, primary_key=True),
    Column("url", Text, nullable=False),
    Column("description", Text),
    Column("event_types", ARRAY(Text), nullable=False, comment="empty = all that this service announces"),
    Column("secret_sealed", LargeBinary, nullable=False),
    Column("previous_secret_sealed", LargeBinary, comment="signs beside the new one until it runs out"),
    Column("previous_secret_until", Timestamptz),
    Column("active", Boolean, nullable=False, server_default=text("true")),
    Column("created_at", Timestamptz, nullable=False, server_default=func.now()),
    Column("created_by", Text, nullable=False),
    Column("version", Integer, nullable=False, server_default=text("1")),
    Column("failing_since", Timestamptz),
    Column("stopped_reason", Text),
)

# One row for each event and webhook, made by the statement with which the relay takes a published event off its queue.
# The event itself stays in the outbox. Those of a test have no event.
webhook_delivery = Table(
    "webhook_delivery",
    metadata,
    Column("delivery_id", Uuid, primary_key=True, server_default=text("gen_random_uuid()")),
    Column("webhook_id", Uuid, ForeignKey(webhook.c.webhook_id, ondelete="CASCADE"), nullable=False),
    Column("event_id", Uuid, nullable=False),
    Column("event_type", Text, nullable=False),
    Column("outbox_id", BigInteger),
    Column("announced_at", Timestamptz, nullable=False, comment="the outbox's day"),
    Column("state", Text, nullable=False, server_default=text("'pending'")),
    Column("attempts", Integer, nullable=False, server_default=text("0")),
    Column("due_at", Timestamptz, nullable=False, server_default=func.now()),
    Column("give_up_at", Timestamptz),
    Column("status_code", Integer),
    Column("error", Text),
    Column("finished_at", Timestamptz),
    CheckConstraint("state in ('pending', 'delivered', 'failed')", name="state"),
    Index("ix_webhook_delivery_due", "webhook_id", "due_at", postgresql_where=text("state = 'pending'")),
    Index("ix_webhook_delivery_listing", "webhook_id", "announced_at", "delivery_id"),
    Index("ix_webhook_delivery_finished", "finished_at", postgresql_where=text("state <> 'pending'")),
)
