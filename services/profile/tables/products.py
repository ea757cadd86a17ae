"""What there is to buy."""

from sqlalchemy import (
    BigInteger,
    Boolean,
    CheckConstraint,
    Column,
    Computed,
    Index,
    Integer,
    Table,
    Text,
    UniqueConstraint,
    text,
)

from services.profile.tables.schema import metadata
from shared.database import Timestamptz, Uuid

# A purchase of an unknown sku makes a bare product: `described_as` is what that purchase called it, for whoever completes
# it; nobody else is told. Categories are paths, "Home/Kitchen/Mugs"; bytewise, so that an index finds what lies below one.
product = Table(
    "product",
    metadata,
    Column("product_id", Uuid, primary_key=True),
    Column("sku", Text, nullable=False),
    Column("name_zh", Text),
    Column("name_en", Text),
    Column("brand", Text),
    Column("category", Text(collation="C")),
    Column("described_as", Text),
    Column("price_minor", BigInteger),
    Column("currency", Text),
    Column("stock", BigInteger),
    Column("replenishable", Boolean, nullable=False, server_default=text("false")),
    Column("accessory_of", Text),
    Column("active", Boolean, nullable=False, server_default=text("true")),
    Column(
        "complete",
        Boolean,
        Computed("(name_zh is not null or name_en is not null) and category is not null", persisted=True),
        nullable=False,
    ),
    Column("created_at", Timestamptz, nullable=False),
    Column("updated_at", Timestamptz, nullable=False),
    Column("version", Integer, nullable=False, server_default=text("1")),
    UniqueConstraint("sku"),
    CheckConstraint("(price_minor is null) = (currency is null)", name="price_in_a_currency"),
    CheckConstraint("accessory_of <> sku", name="accessory_of_another"),
    Index("ix_product_incomplete", "sku", postgresql_where=text("not complete")),
    Index("ix_product_brand_sku", "brand", "sku"),
    Index("ix_product_category_sku", "category", "sku"),
    Index("ix_product_accessory_of", "accessory_of", postgresql_where=text("accessory_of is not null")),
)
