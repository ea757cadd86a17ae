"""The campaigns database on one page. Nothing in it says who a person is: messages are made when they are sent.

``customer_id`` is the owner now, the root of a tree of merged customers; ``recorded_customer_id`` never changes.
"""

from sqlalchemy import (
    BigInteger,
    Boolean,
    CheckConstraint,
    Column,
    ForeignKey,
    Identity,
    Index,
    Integer,
    Table,
    Text,
    UniqueConstraint,
    func,
    text,
)

from shared.customers import customer_columns
from shared.database import Timestamptz, Uuid, new_metadata

metadata = new_metadata()

customer = Table("customer", metadata, *customer_columns())

# --- the points ledger -------------------------------------------------------------------------------------------

# One row per customer, locked by every change to the customer's points. Below zero by a reversal, or by an unmerge after
# spending, never by spending. ``own_points`` is what was recorded under this customer, whoever has it now: the balance of an
# owner is the sum of it over everybody merged into that owner, and of all others 0.
# The programme's own accounts have no row: it would serialise every movement, so the checker sums their postings.
points_account = Table(
    "points_account",
    metadata,
    Column("customer_id", Uuid, primary_key=True),
    Column("balance", BigInteger, nullable=False, server_default=text("0")),
    Column("own_points", BigInteger, nullable=False, server_default=text("0")),
)

# Append-only and never moved to another customer: a merge is a movement, too. A mistake is corrected by a new movement. ``cause`` is the one thing that may book it, once, for ever;
# ``source`` what the points are about (``purchase:{id}``). ``position`` orders a customer's movements.
movement = Table(
    "movement",
    metadata,
    Column("movement_id", Uuid, primary_key=True),
    Column("position", BigInteger, Identity(always=True), nullable=False),
    Column("cause", Text, nullable=False),
    Column("kind", Text, nullable=False),
    Column("customer_id", Uuid, nullable=False),  # whose balance it changed
    Column("recorded_customer_id", Uuid, nullable=False),
    Column("balance_after", BigInteger, nullable=False),
    Column("source", Text, nullable=False),
    Column("reason", Text, nullable=False),
    Column("historical", Boolean, nullable=False),
    Column("effective_at", Timestamptz, nullable=False),
    Column("booked_at", Timestamptz, nullable=False, server_default=func.now()),
    UniqueConstraint("cause"),
    CheckConstraint("kind in ('earned', 'reversed', 'adjusted', 'spent', 'transferred')", name="kind"),
    Index("ix_movement_customer_id_position", "customer_id", "position"),
)

# Two or more per movement, summing to 0. Written in one statement with their movement, hence no foreign key.
posting = Table(
    "posting",
    metadata,
    Column("movement_id", Uuid, primary_key=True),
    Column("account", Text, primary_key=True),
    Column("customer_id", Uuid),
    Column("points", BigInteger, nullable=False),
    CheckConstraint("account in ('customer', 'liability', 'adjustment', 'transfer')", name="account"),
    CheckConstraint("(account = 'customer') = (customer_id is not null)", name="customer"),
    CheckConstraint("points <> 0", name="points"),
)

# What a purchase is worth in points: ``points`` is the net of its movements and always what ``percent`` gives on the
# value that is left. A return may come before its purchase: then total_minor, recorded_at and the name are still null.
purchase = Table(
    "purchase",
    metadata,
    Column("purchase_id", Uuid, primary_key=True),
    Column("customer_id", Uuid, nullable=False),
    Column("recorded_customer_id", Uuid, nullable=False),
    Column("source", Text),
    Column("external_id", Text),
    Column("recorded_at", Timestamptz),
    Column("historical", Boolean, nullable=False),
    Column("minor_per_unit", Integer, nullable=False),
    Column("total_minor", BigInteger),
    Column("net_left_minor", BigInteger),
    Column("percent", Integer, nullable=False),
    Column("points", BigInteger, nullable=False),
    Index("ix_purchase_customer_id_recorded_at", "customer_id", "recorded_at"),
)

# An unmerge that took points away from the winner: what went back to the loser, what the winner had spent since the merge,
# which stays spent, and what that left.
points_parted = Table(
    "points_parted",
    metadata,
    Column("parted_id", Uuid, primary_key=True),
    Column("customer_id", Uuid, nullable=False),
    Column("loser_id", Uuid, nullable=False),
    Column("merged_at", Timestamptz, nullable=False),
    Column("unmerged_at", Timestamptz, nullable=False),
    Column("returned_points", BigInteger, nullable=False),
    Column("spent_points", BigInteger, nullable=False),
    Column("balance_left", BigInteger, nullable=False),
    Index("ix_points_parted_customer_id", "customer_id"),
    Index("ix_points_parted_unmerged_at_parted_id", "unmerged_at", "parted_id"),
)

# A return that names no purchase; ``points`` is what it took.
unmatched_return = Table(
    "unmatched_return",
    metadata,
    Column("return_id", Uuid, primary_key=True),
    Column("customer_id", Uuid, nullable=False),
    Column("recorded_customer_id", Uuid, nullable=False),
    Column("source", Text, nullable=False),
    Column("external_id", Text, nullable=False),
    Column("recorded_at", Timestamptz, nullable=False),
    Column("points", BigInteger, nullable=False),
    Index("ix_unmatched_return_customer_id", "customer_id"),
)

# The tier history of each customer, never moved: while merged the owner's rates what is recorded. In force from effective_at on, of two at one moment the one that was announced later.
tier_change = Table(
    "tier_change",
    metadata,
    Column("event_id", Uuid, primary_key=True),
    Column("position", BigInteger, Identity(always=True), nullable=False),
    Column("customer_id", Uuid, nullable=False),
    Column("tier", Text, nullable=False),
    Column("effective_at", Timestamptz, nullable=False),
    Index("ix_tier_change_customer_id_effective_at_position", "customer_id", "effective_at", "position"),
)

# --- rewards -----------------------------------------------------------------------------------------------------

# ``stock`` is what is left; null = without limit.
reward = Table(
    "reward",
    metadata,
    Column("reward_id", Uuid, primary_key=True),
    Column("name", Text, nullable=False),
    Column("points_price", BigInteger, nullable=False),
    Column("stock", BigInteger),
    Column("redeemed_count", BigInteger, nullable=False, server_default=text("0")),
    Column("created_at", Timestamptz, nullable=False, server_default=func.now()),
    CheckConstraint("points_price > 0", name="points_price"),
    CheckConstraint("stock >= 0", name="stock"),
    Index("ix_reward_created_at_reward_id", "created_at", "reward_id"),
)

redemption = Table(
    "redemption",
    metadata,
    Column("redemption_id", Uuid, primary_key=True),
    Column("customer_id", Uuid, nullable=False),
    Column("recorded_customer_id", Uuid, nullable=False),
    Column("reward_id", Uuid, ForeignKey("reward.reward_id"), nullable=False),
    Column("points", BigInteger, nullable=False),
    Column("redeemed_at", Timestamptz, nullable=False, server_default=func.now()),
    Index(
        "ix_redemption_customer_id_redeemed_at_redemption_id", "customer_id", "redeemed_at", "redemption_id"
    ),
    Index("ix_redemption_reward_id", "reward_id"),
)

# --- offers and messages -----------------------------------------------------------------------------------------

# ``entry`` is what the customer got it for (the tier change): once per campaign, customer and entry.
offer = Table(
    "offer",
    metadata,
    Column("offer_id", Uuid, primary_key=True),
    Column("campaign_id", Text, nullable=False),
    Column("customer_id", Uuid, nullable=False),
    Column("recorded_customer_id", Uuid, nullable=False),
    Column("entry", Text, nullable=False),
    Column("kind", Text, nullable=False),
    Column("percent", Integer, nullable=False),
    Column("tier", Text, nullable=False),
    Column("code", Text, nullable=False),
    Column("issued_at", Timestamptz, nullable=False, server_default=func.now()),
    Column("expires_at", Timestamptz),
    UniqueConstraint("campaign_id", "customer_id", "entry", name="uq_offer_campaign_id_customer_id_entry"),
    UniqueConstraint("code"),
    Index("ix_offer_customer_id_issued_at_offer_id", "customer_id", "issued_at", "offer_id"),
)

# A message to one customer: what it is about, never what it says or where it goes. pending → claimed (under a lease)
# → sending (committed before the server hears of it) → sent | skipped | failed | unknown.
delivery = Table(
    "delivery",
    metadata,
    Column("delivery_id", Uuid, primary_key=True),
    Column("campaign_id", Text, nullable=False),
    Column("customer_id", Uuid, nullable=False),
    Column("recorded_customer_id", Uuid, nullable=False),
    Column("entry", Text, nullable=False),
    Column("channel", Text, nullable=False),
    Column("purpose", Text, nullable=False),
    Column("subject_id", Uuid, nullable=False),
    Column("state", Text, nullable=False, server_default=text("'pending'")),
    Column("reason", Text),
    Column("attempts", Integer, nullable=False, server_default=text("0")),
    Column("due_at", Timestamptz, nullable=False, server_default=func.now()),
    Column("lease", Uuid),
    Column("leased_until", Timestamptz),
    Column("consent_id", Uuid),
    Column("cause_id", Uuid, nullable=False),
    Column("created_at", Timestamptz, nullable=False, server_default=func.now()),
    Column("settled_at", Timestamptz),
    UniqueConstraint("campaign_id", "customer_id", "entry", name="uq_delivery_campaign_id_customer_id_entry"),
    CheckConstraint(
        "state in ('pending', 'claimed', 'sending', 'sent', 'skipped', 'failed', 'unknown')", name="state"
    ),
    CheckConstraint("purpose in ('marketing', 'survey', 'service')", name="purpose"),
    Index("ix_delivery_customer_id_created_at_delivery_id", "customer_id", "created_at", "delivery_id"),
    Index("ix_delivery_due_at", "due_at", postgresql_where=text("state = 'pending'")),
    Index(
        "ix_delivery_leased_until", "leased_until", postgresql_where=text("state in ('claimed', 'sending')")
    ),
)

# An address that a server refused for good, until profile was told (``told_at``) and after. Never the address itself:
# ``customer_id`` is whom it was asked for, ``reference`` what profile called its answer. ``outcome`` is ``suppressed``, or
# the code by which profile said that there is nothing to suppress.
bounce = Table(
    "bounce",
    metadata,
    Column("delivery_id", Uuid, ForeignKey("delivery.delivery_id"), primary_key=True),
    Column("customer_id", Uuid, nullable=False),
    Column("channel", Text, nullable=False),
    Column("reference", Text),
    Column("outcome", Text),
    Column("attempts", Integer, nullable=False, server_default=text("0")),
    Column("due_at", Timestamptz, nullable=False, server_default=func.now()),
    Column("refused_at", Timestamptz, nullable=False, server_default=func.now()),
    Column("told_at", Timestamptz),
    CheckConstraint("(told_at is null) = (outcome is null)", name="outcome"),
    Index("ix_bounce_customer_id", "customer_id"),
    Index("ix_bounce_due_at", "due_at", postgresql_where=text("told_at is null")),
)

# A detractor hears no promotion until the case is resolved. One row for each that said so: an owner is paused if any is.
promotion_pause = Table(
    "promotion_pause",
    metadata,
    Column("recorded_customer_id", Uuid, primary_key=True),
    Column("customer_id", Uuid, nullable=False),
    Column("satisfaction", Text, nullable=False),
    Column("paused", Boolean, nullable=False),
    Column("changed_at", Timestamptz, nullable=False),
    Index("ix_promotion_pause_customer_id", "customer_id"),
)

open_case = Table(
    "open_case",
    metadata,
    Column("case_id", Uuid, primary_key=True),
    Column("customer_id", Uuid, nullable=False),
    Column("recorded_customer_id", Uuid, nullable=False),
    Index("ix_open_case_customer_id", "customer_id"),
)

# Old facts reach nobody; what they would have started is counted, one row per transaction (one row per trigger would
# serialise the consumers).
held_back = Table(
    "held_back",
    metadata,
    Column("position", BigInteger, Identity(always=True), primary_key=True),
    Column("trigger", Text, nullable=False),
    Column("reason", Text, nullable=False),
    Column("count", BigInteger, nullable=False),
)
