"""The profile database on one page (the tables of imports are in import_tables.py).

Whatever could tell who a person is lies in a ``…_sealed`` column: ciphertext under a key of that customer alone
(shared/sealing). Everything else is ids, coarse facts and amounts.
"""

from sqlalchemy import (
    ARRAY,
    BigInteger,
    Boolean,
    CheckConstraint,
    Column,
    ForeignKey,
    Identity,
    Index,
    Integer,
    LargeBinary,
    Numeric,
    Table,
    Text,
    UniqueConstraint,
    func,
    text,
)

from shared.database import Timestamptz, Uuid, new_metadata

metadata = new_metadata()

customer = Table(
    "customer",
    metadata,
    Column("customer_id", Uuid, primary_key=True),
    Column("kind", Text, nullable=False),
    Column("name_sealed", LargeBinary),
    Column("email_sealed", LargeBinary),
    Column("phone_sealed", LargeBinary),
    Column("birth_date_sealed", LargeBinary),
    # MM-DD: what birthday wishes need, and all that may leave this service about a birth date.
    Column("birth_month_day", Text),
    Column("country", Text),
    Column("region", Text),
    Column("language", Text),
    Column("time_zone", Text),
    Column("acquisition_channel", Text),
    Column("tags", ARRAY(Text), nullable=False, server_default=text("'{}'")),
    Column("registered_at", Timestamptz, nullable=False),
    Column("created_at", Timestamptz, nullable=False, server_default=func.now()),
    Column("updated_at", Timestamptz, nullable=False, server_default=func.now()),
    Column("version", Integer, nullable=False, server_default=text("1")),
    Column("state", Text, nullable=False, server_default=text("'active'")),
    Column("merged_into", Uuid, ForeignKey("customer.customer_id")),
    CheckConstraint("kind in ('person', 'organisation')", name="kind"),
    CheckConstraint("state in ('active', 'merged', 'erased')", name="state"),
    CheckConstraint("(state = 'merged') = (merged_into is not null)", name="merged_into"),
    Index("ix_customer_created_at_customer_id", "created_at", "customer_id"),
    Index("ix_customer_country_created_at_customer_id", "country", "created_at", "customer_id"),
)

customer_external_id = Table(
    "customer_external_id",
    metadata,
    Column("source", Text, primary_key=True),
    Column("external_id", Text, primary_key=True),
    Column("customer_id", Uuid, ForeignKey("customer.customer_id"), nullable=False, index=True),
)

# One row, written by the first purchase and fixed from then on.
accounting = Table(
    "accounting",
    metadata,
    Column("only", Boolean, primary_key=True, server_default=text("true")),
    Column("currency", Text, nullable=False),
    CheckConstraint('"only"', name="only"),
)

# A purchase belongs to `customer_id` now and was recorded under `recorded_customer_id`, for ever; both null = anonymous.
purchase = Table(
    "purchase",
    metadata,
    Column("purchase_id", Uuid, primary_key=True),
    Column("source", Text, nullable=False),
    Column("external_id", Text, nullable=False),
    Column("customer_id", Uuid, ForeignKey("customer.customer_id")),
    Column("recorded_customer_id", Uuid),
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
    Column("fingerprint", LargeBinary, nullable=False),
    UniqueConstraint("source", "external_id"),
    CheckConstraint("returned_minor between 0 and total_minor", name="returned_within_total"),
    Index("ix_purchase_customer_id_occurred_at_purchase_id", "customer_id", "occurred_at", "purchase_id"),
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

# `purchase_id` null = a return that names no purchase, shown for review.
purchase_return = Table(
    "purchase_return",
    metadata,
    Column("return_id", Uuid, primary_key=True),
    Column("source", Text, nullable=False),
    Column("external_id", Text, nullable=False),
    Column("purchase_id", Uuid, ForeignKey("purchase.purchase_id"), index=True),
    Column("customer_id", Uuid, ForeignKey("customer.customer_id")),
    Column("recorded_customer_id", Uuid),
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

# Append-only. The record in force is the one with the latest `in_force_from`; of two at once, the later recorded.
consent = Table(
    "consent",
    metadata,
    Column("consent_id", Uuid, primary_key=True),
    Column("customer_id", Uuid, ForeignKey("customer.customer_id"), nullable=False),
    Column("purpose", Text, nullable=False),
    Column("channel", Text, nullable=False),
    Column("state", Text, nullable=False),
    Column("text_version", Text),
    Column("evidence_sealed", LargeBinary),
    Column("collected_at", Timestamptz, nullable=False),
    Column("in_force_from", Timestamptz, nullable=False),
    Column("recorded_at", Timestamptz, nullable=False),
    Column("recorded_by", Text, nullable=False),
    Column("number", BigInteger, Identity(always=True), nullable=False),
    CheckConstraint("state in ('granted', 'denied', 'withdrawn', 'expired')", name="state"),
    Index("ix_consent_in_force", "customer_id", "purpose", "channel", "in_force_from", "number"),
)

# Who asked for whose contact point, what for, and what the answer was. Append-only.
disclosure = Table(
    "disclosure",
    metadata,
    Column("disclosure_id", BigInteger, Identity(always=True), primary_key=True),
    Column("asked_at", Timestamptz, nullable=False),
    Column("asked_by", Text, nullable=False),
    Column("customer_id", Uuid, nullable=False),
    Column("purpose", Text, nullable=False),
    Column("channel", Text, nullable=False),
    Column("outcome", Text, nullable=False),
    Column("consent_id", Uuid),
    Index("ix_disclosure_customer_id_asked_at", "customer_id", "asked_at"),
)

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
