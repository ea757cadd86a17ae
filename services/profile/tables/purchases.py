"""What was bought and what came back."""

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
    Numeric,
    Table,
    Text,
    UniqueConstraint,
    text,
)

from services.profile.tables.schema import metadata
from shared.database import Timestamptz, Uuid

# One row, written by the first purchase and fixed from then on.
accounting = Table(
    "accounting",
    metadata,
    Column("only", Boolean, primary_key=True, server_default=text("true")),
    Column("currency", Text, nullable=False),
    CheckConstraint('"only"', name="only"),
)

# A purchase belongs to `customer_id` now and was recorded under `recorded_customer_id`, for ever; both null = anonymous.
# The owner is not a foreign key: its check would lock the owner's row beside the recorded one's (migration 0005).
# `returned_minor` is the sum of its returns and its cancellation.
purchase = Table(
    "purchase",
    metadata,
    Column("purchase_id", Uuid, primary_key=True),
    Column("source", Text, nullable=False),
    Column("external_id", Text, nullable=False),
    Column("customer_id", Uuid),
    Column("recorded_customer_id", Uuid, ForeignKey("customer.customer_id")),
    Column("occurred_at", Timestamptz, nullable=False),
    Column("recorded_at", Timestamptz, nullable=False),
    Column("historical", Boolean, nullable=False),
    Column("currency", Text, nullable=False),
    Column("exchange_rate", Numeric),
    Column("channel", Text),
    Column("store", Text),
    Column("staff_id", Text),
    Column("tender", Text),
    Column("campaign_id", Text),
    Column("coupon_codes", ARRAY(Text), nullable=False, server_default=text("'{}'")),
    Column("total_minor", BigInteger, nullable=False),
    Column("accounting_total_minor", BigInteger, nullable=False),
    Column("returned_minor", BigInteger, nullable=False, server_default=text("0")),
    Column("accounting_returned_minor", BigInteger, nullable=False, server_default=text("0")),
    Column("cancelled_at", Timestamptz),
    Column("fingerprint", LargeBinary, nullable=False),
    UniqueConstraint("source", "external_id"),
    CheckConstraint("returned_minor between 0 and total_minor", name="returned_within_total"),
    Index("ix_purchase_customer_id_occurred_at_purchase_id", "customer_id", "occurred_at", "purchase_id"),
    Index("ix_purchase_occurred_at_customer_id", "occurred_at", "customer_id"),
)

purchase_line = Table(
    "purchase_line",
    metadata,
    Column("purchase_id", Uuid, ForeignKey("purchase.purchase_id"), primary_key=True),
    Column("line", Integer, primary_key=True),
    Column("sku", Text, nullable=False),
    Column("description", Text),
    Column("brand", Text),
    Column("category", Text),
    Column("quantity", Integer, nullable=False),
    Column("unit_price", Numeric, nullable=False),
    Column("discount_minor", BigInteger, nullable=False, server_default=text("0")),
    Column("amount_minor", BigInteger, nullable=False),
    Column("accounting_amount_minor", BigInteger, nullable=False),
    Column("unit_cost_minor", BigInteger),
    Column("returned_quantity", Integer, nullable=False, server_default=text("0")),
    CheckConstraint("amount_minor >= 0", name="amount_not_negative"),
    CheckConstraint("returned_quantity between 0 and quantity", name="returned_within_bought"),
)

# `purchase_id` null = a return that names no purchase, shown for review. `matched_at`: when somebody found its purchase, and
# `told_anonymous` if only that told whose it is.
purchase_return = Table(
    "purchase_return",
    metadata,
    Column("return_id", Uuid, primary_key=True),
    Column("source", Text, nullable=False),
    Column("external_id", Text, nullable=False),
    Column("purchase_id", Uuid, ForeignKey("purchase.purchase_id"), index=True),
    Column("customer_id", Uuid),
    Column("recorded_customer_id", Uuid, ForeignKey("customer.customer_id")),
    Column("occurred_at", Timestamptz, nullable=False),
    Column("recorded_at", Timestamptz, nullable=False),
    Column("historical", Boolean, nullable=False),
    Column("currency", Text, nullable=False),
    Column("exchange_rate", Numeric),
    Column("amount_minor", BigInteger, nullable=False),
    Column("accounting_amount_minor", BigInteger, nullable=False),
    Column("net_left_minor", BigInteger),
    Column("accounting_net_left_minor", BigInteger),
    Column("replacement_purchase_id", Uuid, ForeignKey("purchase.purchase_id")),
    Column("matched_at", Timestamptz),
    Column("matched_by", Text),
    Column("told_anonymous", Boolean, nullable=False, server_default=text("false")),
    Column("fingerprint", LargeBinary, nullable=False),
    UniqueConstraint("source", "external_id"),
    Index("ix_purchase_return_customer_id_occurred_at_return_id", "customer_id", "occurred_at", "return_id"),
)

purchase_return_line = Table(
    "purchase_return_line",
    metadata,
    Column("return_id", Uuid, ForeignKey("purchase_return.return_id"), primary_key=True),
    Column("position", Integer, primary_key=True),
    Column("line", Integer),
    Column("sku", Text, nullable=False),
    Column("quantity", Integer, nullable=False),
    Column("unit_price", Numeric),
    Column("amount_minor", BigInteger, nullable=False),
    Column("accounting_amount_minor", BigInteger, nullable=False),
    CheckConstraint("quantity > 0", name="quantity_positive"),
)
