"""The API keys of the suite."""

from sqlalchemy import ARRAY, Column, Index, Table, Text

from services.profile.tables.schema import metadata
from shared.database import Timestamptz, Uuid

api_key = Table(
    "api_key",
    metadata,
    Column("api_key_id", Uuid, primary_key=True),
    Column("name", Text, nullable=False),
    Column("hmac", Text, nullable=False, unique=True),
    Column("scopes", ARRAY(Text), nullable=False),
    Column("created_at", Timestamptz, nullable=False),
    Column("created_by", Text, nullable=False),
    Column("revoked_at", Timestamptz),
    Column("revoked_by", Text),
    Index("ix_api_key_created_at_api_key_id", "created_at", "api_key_id"),
)
