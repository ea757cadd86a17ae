"""Who turned out to be one customer, and who might be."""

from sqlalchemy import (
    ARRAY,
    BigInteger,
    CheckConstraint,
    Column,
    ForeignKey,
    Index,
    LargeBinary,
    SmallInteger,
    Table,
    Text,
    UniqueConstraint,
    text,
)
from sqlalchemy.dialects.postgresql import JSONB

from services.profile.tables.schema import metadata
from shared.database import Timestamptz, Uuid

# One row for each merge ever made. Those that are not undone are the edges of a forest: `loser_id` hangs on `winner_id`,
# as it was merged; `customer.merged_into` is the root of that path. `changes_sealed` is what the merge wrote over the
# winner's fields, as JSON {field: [before, given]} sealed for the winner; an undone merge keeps none of it. `last_consent`
# is the number of the last consent record before it: times cannot tell, for a transaction is as old as its beginning.
merge = Table(
    "merge",
    metadata,
    Column("merge_id", Uuid, primary_key=True),
    Column("winner_id", Uuid, ForeignKey("customer.customer_id"), nullable=False),
    Column("loser_id", Uuid, ForeignKey("customer.customer_id"), nullable=False),
    # person: somebody decided it; identity: both proved to hold one identity that only one person can have.
    Column("origin", Text, nullable=False),
    Column("strategies", JSONB, nullable=False, server_default=text("'{}'")),
    Column("changes_sealed", LargeBinary),
    Column("last_consent", BigInteger, nullable=False),
    Column("merged_at", Timestamptz, nullable=False),
    Column("merged_by", Text, nullable=False),
    Column("undo_until", Timestamptz, nullable=False),
    Column("undone_at", Timestamptz),
    Column("undone_by", Text),
    CheckConstraint("origin in ('person', 'identity')", name="origin"),
    CheckConstraint("winner_id <> loser_id", name="two_customers"),
    CheckConstraint("(undone_at is null) = (undone_by is null)", name="undone"),
    Index("uq_merge_loser_id", "loser_id", unique=True, postgresql_where=text("undone_at is null")),
    Index("ix_merge_winner_id", "winner_id"),
    Index("ix_merge_loser_id_merged_at", "loser_id", "merged_at"),
    Index("ix_merge_merged_at_merge_id", "merged_at", "merge_id"),
)

# Two customers who might be one. `evidence` names what they have in common, never the value. A person decides: merges
# them, or says that they are two, which is remembered.
duplicate = Table(
    "duplicate",
    metadata,
    Column("duplicate_id", Uuid, primary_key=True),
    Column("first_id", Uuid, ForeignKey("customer.customer_id"), nullable=False),
    Column("second_id", Uuid, ForeignKey("customer.customer_id"), nullable=False, index=True),
    Column("evidence", ARRAY(Text), nullable=False),
    Column("score", SmallInteger, nullable=False),
    Column("found_at", Timestamptz, nullable=False),
    Column("dismissed_at", Timestamptz),
    Column("dismissed_by", Text),
    UniqueConstraint("first_id", "second_id"),
    CheckConstraint("first_id < second_id", name="in_order"),
    CheckConstraint("(dismissed_at is null) = (dismissed_by is null)", name="dismissed"),
    Index(
        "ix_duplicate_open",
        "score",
        "duplicate_id",
        postgresql_where=text("dismissed_at is null"),
    ),
)
