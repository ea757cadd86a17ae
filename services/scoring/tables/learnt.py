"""What jobs learn of everybody: clusters, what goes with what, what sells best."""

from sqlalchemy import BigInteger, Column, Double, Index, Integer, SmallInteger, Table, Text, Uuid, func, text
from sqlalchemy.dialects.postgresql import JSONB

from services.scoring.tables.schema import metadata
from shared.database import Timestamptz

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
