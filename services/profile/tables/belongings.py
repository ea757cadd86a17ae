"""What a customer has: addresses, and products with their warranty. Both move with merges and come back with unmerges."""

from sqlalchemy import (
    CheckConstraint,
    Column,
    Date,
    ForeignKey,
    Index,
    Integer,
    LargeBinary,
    Table,
    Text,
    text,
)

from services.profile.tables.schema import metadata
from shared.database import Timestamptz, Uuid

# Sealed under `recorded_customer_id`, so that a merge opens and seals nothing. The default of a kind is the address whose
# `default_since` is latest: two customers who become one bring a default each.
customer_address = Table(
    "customer_address",
    metadata,
    Column("address_id", Uuid, primary_key=True),
    Column("customer_id", Uuid, nullable=False, index=True),
    Column("recorded_customer_id", Uuid, ForeignKey("customer.customer_id"), nullable=False, index=True),
    Column("kind", Text, nullable=False),
    Column("default_since", Timestamptz),
    Column("country", Text),
    Column("region", Text),
    Column("recipient_sealed", LargeBinary),
    Column("phone_sealed", LargeBinary),
    Column("street_sealed", LargeBinary),
    Column("district_sealed", LargeBinary),
    Column("city_sealed", LargeBinary),
    Column("postcode_sealed", LargeBinary),
    Column("created_at", Timestamptz, nullable=False),
    Column("updated_at", Timestamptz, nullable=False),
    Column("version", Integer, nullable=False, server_default=text("1")),
    CheckConstraint("kind in ('shipping', 'visit', 'billing')", name="kind"),
)

# A serial number tells who somebody is to whoever sold the thing: sealed, and found by a token (shared/blind_indexes).
owned_product = Table(
    "owned_product",
    metadata,
    Column("owned_product_id", Uuid, primary_key=True),
    Column("customer_id", Uuid, nullable=False, index=True),
    Column("recorded_customer_id", Uuid, ForeignKey("customer.customer_id"), nullable=False, index=True),
    Column("sku", Text, nullable=False),
    Column("serial_number_sealed", LargeBinary),
    Column("serial_number_token", LargeBinary),
    Column("purchase_id", Uuid, ForeignKey("purchase.purchase_id"), index=True),
    Column("line", Integer),
    Column("acquired_on", Date),
    Column("warranty_until", Date),
    Column("registered_at", Timestamptz, nullable=False),
    CheckConstraint("(purchase_id is null) = (line is null)", name="from_a_line"),
    Index(
        "uq_owned_product_serial_number",
        "sku",
        "serial_number_token",
        unique=True,
        postgresql_where=text("serial_number_token is not null"),
    ),
    Index(
        "ix_owned_product_warranty_until_owned_product_id",
        "warranty_until",
        "owned_product_id",
        postgresql_where=text("warranty_until is not null"),
    ),
)

# Append-only. `reason` is a code, never a text about somebody.
warranty_extension = Table(
    "warranty_extension",
    metadata,
    Column("warranty_extension_id", Uuid, primary_key=True),
    Column(
        "owned_product_id",
        Uuid,
        ForeignKey("owned_product.owned_product_id", ondelete="cascade"),
        nullable=False,
        index=True,
    ),
    Column("previous_until", Date),
    Column("until", Date, nullable=False),
    Column("reason", Text, nullable=False),
    Column("reference", Text),
    Column("extended_at", Timestamptz, nullable=False),
    Column("extended_by", Text, nullable=False),
)
