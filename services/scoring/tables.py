"""The scoring database on one page.

Facts (purchase, purchase_return) → metrics, kept current with every event → score and tier, outlook and stage, once there is
a calibration.
Facts belong to the root of the tree of merged customers (``customer_id``) and know for ever under whom they were recorded.
"""

from sqlalchemy import (
    BigInteger,
    Boolean,
    Column,
    Date,
    Double,
    Identity,
    Index,
    Integer,
    SmallInteger,
    Table,
    Text,
    Uuid,
    func,
    text,
)
from sqlalchemy.dialects.postgresql import ARRAY, JSONB

from shared.customers import customer_columns
from shared.database import Timestamptz, new_metadata

metadata = new_metadata()

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

# How customers are valued (rules/policy.py). A draft until it has a version; what is published stays as it is. ``revision``
# counts the edits of a draft, ``based_on`` is the version that it was begun from.
policy = Table(
    "policy",
    metadata,
    Column("policy_id", Uuid, primary_key=True, server_default=func.gen_random_uuid()),
    Column("version", Integer, unique=True),
    Column("content", JSONB, nullable=False),
    Column("created_at", Timestamptz, nullable=False, server_default=func.now()),
    Column("based_on", Integer),
    Column("note", Text),
    Column("revision", Integer, nullable=False, server_default=text("1")),
    Column("created_by", Text),
    Column("updated_at", Timestamptz, nullable=False, server_default=func.now()),
    Column("published_at", Timestamptz),
    Column("published_by", Text),
)

# A view of everybody as of one moment. At most one is current; `counted` customers had a purchase that counts before it.
calibration = Table(
    "calibration",
    metadata,
    Column("calibration_id", Uuid, primary_key=True),
    Column("as_of", Timestamptz, nullable=False),
    Column("pinned", Boolean, nullable=False),
    Column("policy_version", Integer, nullable=False),
    Column("counted", BigInteger, nullable=False, server_default=text("0")),
    Column("state", Text, nullable=False),  # counting, current, past, superseded
    Column("initial", Boolean, nullable=False, server_default=text("false")),
    Column("created_at", Timestamptz, nullable=False, server_default=func.now()),
    Column("effective_at", Timestamptz),
    Column("split_on", Date),  # models are judged by what they foretell from then on
    Column(
        "reason", Text, nullable=False, server_default=text("'calibration'")
    ),  # or policy: one was published
    Index("ix_calibration_state_current", "state", unique=True, postgresql_where=text("state = 'current'")),
)

# What a calibration counted, kept until its distributions are made.
calibration_input = Table(
    "calibration_input",
    metadata,
    Column("calibration_id", Uuid, primary_key=True),
    Column("customer_id", Uuid, primary_key=True),
    Column("recency_days", Integer, nullable=False),
    Column("frequency", BigInteger, nullable=False),
    Column("monetary_minor", BigInteger, nullable=False),
    # For the models: occasions before the day of as_of, what those after the first were worth, and those before split_on.
    Column("occasions", BigInteger, nullable=False, server_default=text("0")),
    Column("first_on", Date),
    Column("last_on", Date),
    Column("repeat_minor", BigInteger, nullable=False, server_default=text("0")),
    Column("early_occasions", BigInteger, nullable=False, server_default=text("0")),
    Column("early_last_on", Date),
)

# Per calibration and measure (r, f, m, s = value score): how many counted customers are strictly worse than the value.
# Larger is always better: recency is negative days, the value score its integer numerator.
distribution = Table(
    "distribution",
    metadata,
    Column("calibration_id", Uuid, primary_key=True),
    Column("measure", Text, primary_key=True),
    Column("value", BigInteger, primary_key=True),
    Column("worse_count", BigInteger, nullable=False),
    Index(None, "calibration_id", "measure", "worse_count"),
)

# One row per customer with metrics, once there is a calibration; bands are null for one without a counted purchase.
score = Table(
    "score",
    metadata,
    Column("customer_id", Uuid, primary_key=True),
    Column("calibration_id", Uuid, nullable=False),
    Column("as_of", Timestamptz, nullable=False),
    Column("r", SmallInteger),
    Column("f", SmallInteger),
    Column("m", SmallInteger),
    Column("segment", Text),
    Column("recency_worse", BigInteger),
    Column("frequency_worse", BigInteger),
    Column("monetary_worse", BigInteger),
    Column("numerator", BigInteger),
    Column("score_worse", BigInteger),
    Column("value_class", Text),
    # What counted, where the policy has a window or a qualifying period.
    Column("window_frequency", BigInteger),
    Column("window_monetary_minor", BigInteger),
    Column("qualifying", BigInteger),
    postgresql_with={"fillfactor": "70"},
)

# What a calibration learnt of everybody, by kind (domain/models.py). Not to be used where there are reasons against it.
model = Table(
    "model",
    metadata,
    Column("calibration_id", Uuid, primary_key=True),
    Column("kind", Text, primary_key=True),
    Column("reasons", ARRAY(Text), nullable=False),
    Column("parameters", JSONB, nullable=False),
    Column("quality", JSONB, nullable=False),
    Column("created_at", Timestamptz, nullable=False, server_default=func.now()),
)

# Where a customer is heading, once there is a calibration. Null is what no model says; amounts are minor units of the
# accounting currency; purchases and clv_… are within the policy's horizon, each with an interval. recent_minor and
# before_minor are the spend of the last two windows of the trend. On moves_on time alone will change the stage or the band.
outlook = Table(
    "outlook",
    metadata,
    Column("customer_id", Uuid, primary_key=True),
    Column("calibration_id", Uuid, nullable=False),
    Column("as_of", Timestamptz, nullable=False),
    Column("stage", Text, nullable=False),
    Column("stage_since", Timestamptz, nullable=False),
    Column("churn_band", Text),
    Column("churn_probability", Double),
    Column("purchases", Double),
    Column("purchases_low", Double),
    Column("purchases_high", Double),
    Column("spend_minor", BigInteger),
    Column("clv_minor", BigInteger),
    Column("clv_low_minor", BigInteger),
    Column("clv_high_minor", BigInteger),
    Column("confidence", Double),
    Column("usual_gap_days", Double),
    Column("gap_spread_days", Double),
    Column("next_on", Date),
    Column("next_from", Date),
    Column("next_until", Date),
    Column("trend", Text),
    Column("trend_deviation", Double),
    Column("recent_minor", BigInteger, nullable=False),
    Column("before_minor", BigInteger, nullable=False),
    Column("moves_on", Date),
    Index(None, "moves_on", postgresql_where=text("moves_on is not null")),
    postgresql_with={"fillfactor": "70"},
)

# Append-only: what was announced, under the customer whose stage it was then.
stage_change = Table(
    "stage_change",
    metadata,
    Column("stage_change_id", BigInteger, Identity(always=True), primary_key=True),
    Column("customer_id", Uuid, nullable=False),
    Column("stage", Text, nullable=False),
    Column("previous_stage", Text),
    Column("effective_at", Timestamptz, nullable=False),
    Column("reason", Text, nullable=False),
    Column("initial", Boolean, nullable=False),
    Column("historical", Boolean, nullable=False),
    Column("as_of", Timestamptz, nullable=False),
    Index(None, "customer_id", "stage_change_id"),
)

tier = Table(
    "tier",
    metadata,
    Column("customer_id", Uuid, primary_key=True),
    Column("tier", Text, nullable=False),
    Column("since", Timestamptz, nullable=False),
    Column("policy_version", Integer, nullable=False),
    Column("downgrade_due_at", Timestamptz),
    Column("manual", Boolean, nullable=False, server_default=text("false")),
)

# What a customer's tier was when it began to take part in a merge: it rests, and is in force again when the customer stands
# alone. The tier of the merged customer is the root's row in `tier`.
tier_resting = Table(
    "tier_resting",
    metadata,
    Column("customer_id", Uuid, primary_key=True),
    Column("tier", Text, nullable=False),
    Column("since", Timestamptz, nullable=False),
    Column("policy_version", Integer, nullable=False),
    Column("downgrade_due_at", Timestamptz),
    Column("manual", Boolean, nullable=False, server_default=text("false")),
)

# Append-only: what was announced, under the customer whose tier it was then.
tier_change = Table(
    "tier_change",
    metadata,
    Column("tier_change_id", BigInteger, Identity(always=True), primary_key=True),
    Column("customer_id", Uuid, nullable=False),
    Column("tier", Text, nullable=False),
    Column("previous_tier", Text),
    Column("effective_at", Timestamptz, nullable=False),
    Column("reason", Text, nullable=False),
    Column("initial", Boolean, nullable=False),
    Column("historical", Boolean, nullable=False),
    Column("as_of", Timestamptz, nullable=False),
    Column("policy_version", Integer, nullable=False),
    Index(None, "customer_id", "tier_change_id"),
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

# A run that groups everybody by how they buy and forecasts what they will spend, from the facts before as_of (the beginning of a
# day). clusters and spend are what was learnt: reasons against it, parameters, quality (rules/clustering.py). compared customers
# were in a cluster in the run before and are in one now, kept of them in that of the same label. At most one run is current.
clustering = Table(
    "clustering",
    metadata,
    Column("clustering_id", Uuid, primary_key=True),
    Column("calibration_id", Uuid, nullable=False),
    Column("as_of", Timestamptz, nullable=False),
    Column("state", Text, nullable=False),  # measuring, current, past, superseded
    Column("clusters", JSONB),
    Column("spend", JSONB),
    Column("compared", BigInteger, nullable=False, server_default=text("0")),
    Column("kept", BigInteger, nullable=False, server_default=text("0")),
    Column("created_at", Timestamptz, nullable=False, server_default=func.now()),
    Column("effective_at", Timestamptz),
    Index("ix_clustering_state_current", "state", unique=True, postgresql_where=text("state = 'current'")),
)

# What each run found; labels stay from run to run. compared and kept are of those who were in this cluster before.
cluster = Table(
    "cluster",
    metadata,
    Column("clustering_id", Uuid, primary_key=True),
    Column("label", Integer, primary_key=True, autoincrement=False),
    Column("words", JSONB, nullable=False),
    Column("leading_features", JSONB, nullable=False),
    Column("rule", JSONB),
    Column("compared", BigInteger, nullable=False, server_default=text("0")),
    Column("kept", BigInteger, nullable=False, server_default=text("0")),
)

# What the current run, and one that is being made, says of everybody; null is what was not learnt. Minor units of the accounting
# currency.
customer_cluster = Table(
    "customer_cluster",
    metadata,
    Column("customer_id", Uuid, primary_key=True),
    Column("clustering_id", Uuid, primary_key=True),
    Column("label", Integer),
    Column("forecast_90_minor", BigInteger),
    Column("baseline_90_minor", BigInteger),
    Index(None, "clustering_id", "label", "customer_id"),
)

# What recommendations are made from, all of it as of one moment: counting, then current instead of the one before, of which
# nothing is kept. Its rows are written under a lock on this one.
recommendation_set = Table(
    "recommendation_set",
    metadata,
    Column("set_id", Uuid, primary_key=True),
    Column("as_of", Timestamptz, nullable=False),
    Column("state", Text, nullable=False),
    Column("related_count", BigInteger, nullable=False, server_default=text("0")),
    Column("created_at", Timestamptz, nullable=False, server_default=func.now()),
    Column("effective_at", Timestamptz),
    Index("ix_recommendation_set_current", "state", unique=True, postgresql_where=text("state = 'current'")),
)

# The best first: score is G², buyers those of both, lift how many times as many as chance would have (rules/related.py).
related_product = Table(
    "related_product",
    metadata,
    Column("set_id", Uuid, primary_key=True),
    Column("sku", Text, primary_key=True),
    Column("place", SmallInteger, primary_key=True, autoincrement=False),
    Column("related_sku", Text, nullable=False),
    Column("score", Double, nullable=False),
    Column("buyers", BigInteger, nullable=False),
    Column("lift", Double, nullable=False),
)

# By segment, '' for everybody: what most customers bought and kept in the last 90 days, and what it brought in.
bestseller = Table(
    "bestseller",
    metadata,
    Column("set_id", Uuid, primary_key=True),
    Column("segment", Text, primary_key=True),
    Column("place", SmallInteger, primary_key=True, autoincrement=False),
    Column("sku", Text, nullable=False),
    Column("buyers", BigInteger, nullable=False),
    Column("revenue_minor", BigInteger, nullable=False),
)

# Tiers held by hand, under the customer for whom they were set; they rest and wake as that customer's tier does.
manual_tier = Table(
    "manual_tier",
    metadata,
    Column("customer_id", Uuid, primary_key=True),
    Column("tier", Text, nullable=False),
    Column("reason", Text, nullable=False),
    Column("until", Timestamptz),
    Column("set_by", Text, nullable=False),
    Column("set_at", Timestamptz, nullable=False, server_default=func.now()),
    Index(None, "until", postgresql_where=text("until is not null")),
)

# A policy tried on everybody: a calibration that never takes effect. ``content`` is the policy as it was tried; ``cells``
# [{from, to, effect, customers, net_revenue_minor}] (domain/backtests.py). Its id is the job's.
backtest = Table(
    "backtest",
    metadata,
    Column("backtest_id", Uuid, primary_key=True),
    Column("policy_id", Uuid, nullable=False),
    Column("version", Integer),
    Column("content", JSONB, nullable=False),
    Column("as_of", Timestamptz, nullable=False),
    Column("counted", BigInteger),
    Column("cells", JSONB, nullable=False, server_default=text("'[]'")),
    Column("created_at", Timestamptz, nullable=False, server_default=func.now()),
    Column("created_by", Text),
    Column("finished_at", Timestamptz),
    Index(None, "policy_id", "backtest_id"),
)

# Some of the customers whom a backtest would move.
backtest_example = Table(
    "backtest_example",
    metadata,
    Column("backtest_id", Uuid, primary_key=True),
    Column("customer_id", Uuid, primary_key=True),
    Column("from_tier", Text),
    Column("to_tier", Text, nullable=False),
    Column("effect", Text, nullable=False),
    Column("net_revenue_minor", BigInteger, nullable=False),
    Index(None, "customer_id"),
)

# What the company has watched, and on which weekdays (1 = Monday) it is open: null where a day without any fact is a closed
# one. One row.
watching = Table(
    "watching",
    metadata,
    Column("single", Boolean, primary_key=True, server_default=text("true")),
    Column("kinds", ARRAY(Text), nullable=False),
    Column("open_weekdays", ARRAY(SmallInteger)),
    Column("judged_until", Date),
    Column("version", Integer, nullable=False, server_default=text("1")),
)

# Sudden changes, never changed once they are told. observed and expected are sums over the open days since … day, change is
# what all customers together did differently, null until that was looked up.
alert = Table(
    "alert",
    metadata,
    Column("alert_id", Uuid, primary_key=True),
    Column("kind", Text, nullable=False),
    Column("name", Text, nullable=False),
    Column("direction", Text, nullable=False),
    Column("since", Date, nullable=False),
    Column("day", Date, nullable=False),
    Column("observed", Double, nullable=False),
    Column("expected", Double, nullable=False),
    Column("score", Double, nullable=False),
    Column("score_limit", Double, nullable=False),
    Column("change", Double),
    Column("created_at", Timestamptz, nullable=False, server_default=func.now()),
    Index(None, "kind", "name", "direction", "day", unique=True),
    Index(None, "day", "alert_id"),
)

# The few who are most behind an alert.
alert_customer = Table(
    "alert_customer",
    metadata,
    Column("alert_id", Uuid, primary_key=True),
    Column("recorded_customer_id", Uuid, primary_key=True),
    Column("customer_id", Uuid, nullable=False),
    Column("change", Double, nullable=False),
)

# When and by which channel each became known, as profile told it last; of those of one owner the earliest counts.
acquisition = Table(
    "acquisition",
    metadata,
    Column("recorded_customer_id", Uuid, primary_key=True),
    Column("customer_id", Uuid, nullable=False),
    Column("channel", Text),
    Column("registered_at", Timestamptz, nullable=False),
    Index(None, "customer_id"),
)

# What a channel cost in a month (its first day), in minor units of the accounting currency.
acquisition_cost = Table(
    "acquisition_cost",
    metadata,
    Column("channel", Text, primary_key=True),
    Column("month", Date, primary_key=True),
    Column("amount_minor", BigInteger, nullable=False),
    Column("currency", Text, nullable=False),
    Column("note", Text),
    Column("version", Integer, nullable=False, server_default=text("1")),
    Column("updated_at", Timestamptz, nullable=False, server_default=func.now()),
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

# Answers that are computed at night (domain/reports/kept.py); numbers of nobody in particular.
report = Table(
    "report",
    metadata,
    Column("key", Text, primary_key=True),
    Column("answer", JSONB, nullable=False),
    Column("made_at", Timestamptz, nullable=False),
)
