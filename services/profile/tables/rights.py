"""What people may ask of us: to see what is known of them, and to be forgotten."""

from sqlalchemy import ARRAY, Column, ForeignKey, Index, Integer, LargeBinary, Table, Text, text

from services.profile.tables.schema import metadata
from shared.database import Timestamptz, Uuid

# A person was erased: `customer_id` with everybody who answered as this customer. No foreign keys: a restored database
# may not know them, and must learn all the same that they are gone.
erasure = Table(
    "erasure",
    metadata,
    Column("customer_id", Uuid, primary_key=True),
    Column("root_id", Uuid, nullable=False, index=True),
    Column("erased_at", Timestamptz, nullable=False),
    Column("erased_by", Text, nullable=False),
    Index("ix_erasure_erased_at_customer_id", "erased_at", "customer_id"),
)

# Each other service says when it has forgotten the customer.
erasure_receipt = Table(
    "erasure_receipt",
    metadata,
    Column("customer_id", Uuid, ForeignKey("erasure.customer_id"), primary_key=True),
    Column("service", Text, primary_key=True),
    Column("completed_at", Timestamptz),
    Index("ix_erasure_receipt_outstanding", "customer_id", postgresql_where=text("completed_at is null")),
)

# By what an erased person would be recognised, as a blind token only (shared/blind_indexes): a name in an outside system
# (`external_name`), an address, a number, a card. In force until the person comes back by own will.
forgotten_name = Table(
    "forgotten_name",
    metadata,
    Column("token", LargeBinary, primary_key=True),
    Column("customer_id", Uuid, primary_key=True),
    Column("field", Text, nullable=False),
    Column("forgotten_at", Timestamptz, nullable=False),
    Column("lifted_at", Timestamptz),
    Column("lifted_by", Text),
)

# A copy of everything for the person: gathered by the job of the same id, sealed under a key that goes with it.
access_request = Table(
    "access_request",
    metadata,
    Column("request_id", Uuid, primary_key=True),
    Column("customer_id", Uuid, ForeignKey("customer.customer_id"), nullable=False),
    # Whose data it holds: everybody who was one customer when it was gathered. Null until the gathering begins.
    Column("person", ARRAY(Uuid)),
    Column("requested_at", Timestamptz, nullable=False),
    Column("requested_by", Text, nullable=False),
    Column("gathered_at", Timestamptz),
    Column("expires_at", Timestamptz),
    Column("destroyed_at", Timestamptz),
    Index("ix_access_request_customer_id_requested_at", "customer_id", "requested_at"),
    Index("ix_access_request_kept", "requested_at", postgresql_where=text("destroyed_at is null")),
)

access_block = Table(
    "access_block",
    metadata,
    Column("request_id", Uuid, ForeignKey("access_request.request_id"), primary_key=True),
    Column("number", Integer, primary_key=True),
    Column("service", Text, nullable=False),
    Column("section", Text, nullable=False),
    Column("sealed", LargeBinary, nullable=False),
)
