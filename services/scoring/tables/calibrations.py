"""Policies and their trials, calibrations with what they counted, their distributions and models."""

from sqlalchemy import BigInteger, Boolean, Column, Date, Index, Integer, Table, Text, Uuid, func, text
from sqlalchemy.dialects.postgresql import ARRAY, JSONB

from services.scoring.tables.schema import metadata
from shared.database import Timestamptz

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
