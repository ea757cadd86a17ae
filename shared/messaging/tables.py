"""What every service keeps for its events' sake: what it announces, and how far it has followed the others."""

from sqlalchemy import (
    BigInteger,
    Column,
    ForeignKeyConstraint,
    Index,
    Integer,
    LargeBinary,
    Sequence,
    Table,
    Text,
    UniqueConstraint,
    Uuid,
    func,
    text,
)
from sqlalchemy.dialects.postgresql import JSONB

from shared.database import Timestamptz, new_metadata

metadata = new_metadata("shared")

stream = Table(
    "stream",
    metadata,
    Column("topic", Text, primary_key=True),
    Column("key", Text, primary_key=True),
    Column("last", BigInteger, nullable=False, comment="the sequence of the last event announced"),
    comment="one row per (topic, key); its lock serialises the writers of a key",
)

outbox_id = Sequence("outbox_id_seq", metadata=metadata)

outbox = Table(
    "outbox",
    metadata,
    Column("created_at", Timestamptz, primary_key=True, server_default=func.now()),
    Column(
        "id",
        BigInteger,
        primary_key=True,
        autoincrement=False,
        server_default=text("nextval('shared.outbox_id_seq')"),
    ),
    Column("event_id", Uuid, nullable=False),
    Column("topic", Text, nullable=False),
    Column("type", Text, nullable=False),
    Column("key", Text, nullable=False),
    Column("sequence", BigInteger, nullable=False),
    Column("data", JSONB, nullable=False),
    Column("traceparent", Text),
    Column("causation_id", Uuid),
    comment="append-only; a partition per day, kept in the schema outbox_days (shared/messaging/partitions.py)",
    postgresql_partition_by="RANGE (created_at)",
)

outbox_pending = Table(
    "outbox_pending",
    metadata,
    Column("id", BigInteger, primary_key=True, autoincrement=False),
    Column("created_at", Timestamptz, nullable=False),
    comment="what the bus has not acknowledged yet; narrow, because every row is written and deleted once",
)

watermark = Table(
    "watermark",
    metadata,
    Column("consumer", Text, primary_key=True),
    Column("topic", Text, primary_key=True),
    Column("key", Text, primary_key=True),
    Column("sequence", BigInteger, nullable=False),
    comment="how far a consumer has followed a key; at or below it an event is a repeat",
)

parked_key = Table(
    "parked_key",
    metadata,
    Column("consumer", Text, primary_key=True),
    Column("topic", Text, primary_key=True),
    Column("key", Text, primary_key=True),
    Column("parked_at", Timestamptz, nullable=False, server_default=func.now()),
    ForeignKeyConstraint(
        ["consumer", "topic", "key"],
        ["shared.watermark.consumer", "shared.watermark.topic", "shared.watermark.key"],
    ),
    comment="keys whose events queue in parked_event; changed only under the lock of the key's watermark",
)

parked_event = Table(
    "parked_event",
    metadata,
    Column("id", Uuid, primary_key=True),
    Column("consumer", Text, nullable=False),
    Column("topic", Text, nullable=False),
    Column("key", Text, nullable=False),
    Column("sequence", BigInteger, comment="null for a record that could not be read"),
    Column("type", Text),
    Column("partition", Integer, nullable=False),
    Column("position", BigInteger, nullable=False, comment="the record's offset on the bus"),
    Column("value", LargeBinary, nullable=False),
    Column("digest", LargeBinary, comment="of key and value, for a record that could not be read"),
    Column("reason", Text, nullable=False, comment="gap, failed, behind, unreadable"),
    Column("error", Text),
    Column("attempts", Integer, nullable=False, server_default=text("0")),
    Column("parked_at", Timestamptz, nullable=False, server_default=func.now()),
    Column("next_try_at", Timestamptz),
    Column("dead_at", Timestamptz, comment="after the last try: a dead letter until an operator decides"),
    Column(
        "discarded_at",
        Timestamptz,
        comment="an unreadable record stays, so that a replay does not bring it back",
    ),
    UniqueConstraint("consumer", "topic", "key", "sequence"),
    UniqueConstraint("consumer", "topic", "digest"),
    Index("ix_parked_event_due", "consumer", "next_try_at", postgresql_where=text("next_try_at is not null")),
)
