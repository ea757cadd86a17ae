"""Sudden changes with the customers behind them, what channels cost, answers kept overnight."""

from sqlalchemy import (
    BigInteger,
    Boolean,
    Column,
    Date,
    Double,
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

from services.scoring.tables.schema import metadata
from shared.database import Timestamptz

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

# Answers that are computed at night (domain/reports/kept.py); numbers of nobody in particular.
report = Table(
    "report",
    metadata,
    Column("key", Text, primary_key=True),
    Column("answer", JSONB, nullable=False),
    Column("made_at", Timestamptz, nullable=False),
)
