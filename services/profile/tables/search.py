"""The tokens by which sealed names, addresses and numbers are found (shared/blind_indexes)."""

from sqlalchemy import Column, ForeignKey, Index, LargeBinary, Table, Text

from services.profile.tables.schema import metadata
from shared.database import Uuid

# `holder_id` is whose field it is: the customer itself or one of its contacts. Written under the customer whom the
# field was recorded for; a search follows `customer.merged_into`, so a merge need not move tokens.
customer_token = Table(
    "customer_token",
    metadata,
    Column("token", LargeBinary, primary_key=True),
    Column("customer_id", Uuid, ForeignKey("customer.customer_id"), primary_key=True),
    Column("holder_id", Uuid, primary_key=True),
    Column("field", Text, nullable=False),
    Index("ix_customer_token_customer_id_holder_id", "customer_id", "holder_id"),
)
