"""Where every customer stands and is heading: scores, outlooks, stages, tiers, with their histories."""

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

from services.scoring.tables.schema import metadata
from shared.database import Timestamptz

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
