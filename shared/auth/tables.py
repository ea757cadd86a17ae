"""The copy of profile's list of API keys that every service keeps."""

from sqlalchemy import Boolean, CheckConstraint, Column, Table, Text, func, text
from sqlalchemy.dialects.postgresql import ARRAY

from shared.database import Timestamptz, new_metadata

metadata = new_metadata("shared")

credential = Table(
    "credential",
    metadata,
    Column("credential_id", Text, primary_key=True),
    Column("name", Text, nullable=False),
    Column("scopes", ARRAY(Text), nullable=False),
    Column("hmac", Text, nullable=False),
)

credential_check = Table(
    "credential_check",
    metadata,
    Column("only", Boolean, primary_key=True, server_default=text("true")),
    Column("checked_at", Timestamptz, nullable=False, server_default=func.now()),
    CheckConstraint('"only"', name="one_row"),
)
