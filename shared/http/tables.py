"""What every service remembers of the requests it answered."""

from sqlalchemy import BigInteger, Column, Index, Integer, LargeBinary, SmallInteger, Table, Text, func, text

from shared.database import Timestamptz, new_metadata

metadata = new_metadata("shared")

idempotency_key = Table(
    "idempotency_key",
    metadata,
    # The key itself is not kept: the stored reply is sealed with it.
    Column("request_hash", LargeBinary, primary_key=True, comment="credential, operation and key, hashed"),
    Column("fingerprint", LargeBinary, nullable=False, comment="path, query and body, hashed"),
    Column("status", SmallInteger, nullable=False),
    Column("sealed_reply", LargeBinary, nullable=False),
    Column("created_at", Timestamptz, nullable=False, server_default=func.now()),
    Column("expires_at", Timestamptz, comment="null: kept for ever"),
    Index(None, "expires_at", postgresql_where=text("expires_at is not null")),
)

# Unlogged (see the migration): it is about the current second.
rate = Table(
    "rate",
    metadata,
    Column("credential_id", Text, primary_key=True),
    Column("second", BigInteger, nullable=False),
    Column("taken", Integer, nullable=False),
)
