"""What was heard: customers, what they bought and gave back, and the metrics kept of it."""

from sqlalchemy import (
    BigInteger,
    Boolean,
    Column,
    Date,
    Index,
    Integer,
    SmallInteger,
    Table,
    Text,
    Uuid,
    text,
)
from sqlalchemy.dialects.postgresql import ARRAY

from services.scoring.tables.schema import metadata
from shared.customers import customer_columns
from shared.database import Timestamptz

# Locked, in order, by everything that changes what hangs on a customer.
customer = Table("customer", metadata, *customer_columns())

# A purchase and its returns arrive in any order, so neither refers to the other by a foreign key. Amounts are minor units
# of the accounting currency. returned_minor is the sum of the returns and the cancellation that name the purchase. The worth
# and the returns of a purchase that replaces another stand on that one, counts_with (domain/exchanges.py).
purchase = Table(
    "purchase",
    metadata,
    Column("purchase_id", Uuid, primary_key=True),
    Column("customer_id", Uuid, nullable=False),
    Column("recorded_customer_id", Uuid, nullable=False),
    Column("occurred_at", Timestamptz, nullable=False),
    Column("amount_minor", BigInteger, nullable=False),
    Column("returned_minor", BigInteger, nullable=False),
    Column("counts_with", Uuid),
    Column("channel", Text),
    Column("store", Text),
    Column("campaign_id", Text),
    Column("coupon_count", SmallInteger, nullable=False, server_default=text("0")),
    Index(None, "customer_id", "occurred_at"),
    Index("ix_purchase_counts_with", "counts_with", postgresql_where=text("counts_with is not null")),
)

# amount_minor is net of discount_minor; cost_minor is that of the whole line, null where nobody told it.
purchase_line = Table(
    "purchase_line",
    metadata,
    Column("purchase_id", Uuid, primary_key=True),
    Column("line", Integer, primary_key=True, autoincrement=False),
    Column("sku", Text, nullable=False),
    Column("category", Text),
    Column("brand", Text),
    Column("quantity", Integer, nullable=False),
    Column("amount_minor", BigInteger, nullable=False),
    Column("discount_minor", BigInteger, nullable=False),
    Column("cost_minor", BigInteger),
    Index(None, "sku"),
    info={"hangs_on": purchase},
)

# What was taken back; purchase_id is null where no purchase is named. A cancellation bears its purchase's id as return_id.
purchase_return = Table(
    "purchase_return",
    metadata,
    Column("return_id", Uuid, primary_key=True),
    Column("purchase_id", Uuid),
    Column("customer_id", Uuid, nullable=False),
    Column("recorded_customer_id", Uuid, nullable=False),
    Column("occurred_at", Timestamptz, nullable=False),
    Column("amount_minor", BigInteger, nullable=False),
    Column("cancellation", Boolean, nullable=False),
    Index(None, "purchase_id", postgresql_where=text("purchase_id is not null")),
    Index(None, "customer_id"),
)

# The lines of a return in their order; ``line`` names the purchase's, where one is named.
purchase_return_line = Table(
    "purchase_return_line",
    metadata,
    Column("return_id", Uuid, primary_key=True),
    Column("position", Integer, primary_key=True, autoincrement=False),
    Column("line", Integer),
    Column("sku", Text, nullable=False),
    Column("quantity", Integer, nullable=False),
    Column("amount_minor", BigInteger, nullable=False),
    info={"hangs_on": purchase_return},
)

# The catalogue as profile told it last.
product = Table(
    "product",
    metadata,
    Column("sku", Text, primary_key=True),
    Column("product_id", Uuid, nullable=False),
    Column("name_zh", Text),
    Column("name_en", Text),
    Column("category", Text),
    Column("brand", Text),
    Column("price_minor", BigInteger),
    Column("currency", Text),
    Column("stock", Integer),
    Column("replenishable", Boolean, nullable=False),
    Column("accessory_of", Text),
    Column("active", Boolean, nullable=False),
    Column("effective_at", Timestamptz, nullable=False),
    Index("ix_product_accessory_of", "accessory_of", postgresql_where=text("accessory_of is not null")),
)

# What was last said under each key; of those of one owner the latest counts.
satisfaction = Table(
    "satisfaction",
    metadata,
    Column("recorded_customer_id", Uuid, primary_key=True),
    Column("customer_id", Uuid, nullable=False),
    Column("satisfaction", Text, nullable=False),
    Column("measure", Text, nullable=False),
    Column("effective_at", Timestamptz, nullable=False),
    Index(None, "customer_id"),
)

# What profile last said of each customer, by which reports are drilled into. It is of the key it was said under: a merged
# customer's rests, the winner's counts.
trait = Table(
    "trait",
    metadata,
    Column("customer_id", Uuid, primary_key=True),
    Column("kind", Text, nullable=False),
    Column("country", Text),
    Column("region", Text),
    Column("acquisition_channel", Text),
    Column("tags", ARRAY(Text), nullable=False),
    Column("registered_at", Timestamptz, nullable=False),
)

# One row per customer with a fact. Only integers and times, moved by what each fact changes; an invariant compares them
# with a recomputation from nothing. No index but the key: every update stays on its page.
metrics = Table(
    "metrics",
    metadata,
    Column("customer_id", Uuid, primary_key=True),
    # Of purchases that count: worth more than nothing net of what came back of them.
    Column("first_purchase_at", Timestamptz),
    Column("last_purchase_at", Timestamptz),
    Column("purchase_count", BigInteger, nullable=False),
    Column("counted_minor", BigInteger, nullable=False),
    # Their rhythm: all on one calendar day (accounting.time_zone) are one occasion; gaps are whole days between two.
    Column("occasions", BigInteger, nullable=False),
    Column("gap_square_sum", BigInteger, nullable=False),
    Column("recent_days", ARRAY(Date), nullable=False),  # of the latest three occasions, the latest first
    # Of everything; net revenue is gross - returned - cancelled.
    Column("gross_minor", BigInteger, nullable=False),
    Column("returned_minor", BigInteger, nullable=False),
    Column("cancelled_minor", BigInteger, nullable=False),
    Column("last_fact_at", Timestamptz, nullable=False),
    postgresql_with={"fillfactor": "70"},
)

# The currency all amounts are in: that of the first purchase without an exchange rate; and the time zone whose calendar days
# the metrics speak of. One row from the first purchase on.
accounting = Table(
    "accounting",
    metadata,
    Column("single", Boolean, primary_key=True, server_default=text("true")),
    Column("currency", Text),
    Column("time_zone", Text, nullable=False),
)
