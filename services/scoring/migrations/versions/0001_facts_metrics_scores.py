"""Facts, metrics, calibrations, scores and tiers; the first policy.

Frozen: a later change of the tables is a migration of its own.
"""

from pathlib import Path

from alembic import op
from sqlalchemy import text

revision = "0001"
down_revision = None
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.execute(
        """
        create table customer (
            customer_id uuid not null,
            natural_key text default '-' not null,
            kind text default 'unknown' not null,
            country text,
            language text,
            time_zone text,
            state text default 'active' not null,
            merged_into uuid,
            registered_at timestamptz,
            constraint pk_customer primary key (customer_id)
        )
        """
    )
    op.execute(
        """
        create table purchase (
            purchase_id uuid not null,
            customer_id uuid not null,
            recorded_customer_id uuid not null,
            occurred_at timestamptz not null,
            amount_minor bigint not null,
            returned_minor bigint not null,
            constraint pk_purchase primary key (purchase_id)
        )
        """
    )
    op.execute("create index ix_purchase_customer_id_occurred_at on purchase (customer_id, occurred_at)")
    op.execute(
        """
        create table purchase_return (
            return_id uuid not null,
            purchase_id uuid,
            customer_id uuid not null,
            recorded_customer_id uuid not null,
            occurred_at timestamptz not null,
            amount_minor bigint not null,
            cancellation boolean not null,
            constraint pk_purchase_return primary key (return_id)
        )
        """
    )
    op.execute("create index ix_purchase_return_customer_id on purchase_return (customer_id)")
    op.execute(
        "create index ix_purchase_return_purchase_id on purchase_return (purchase_id) where purchase_id is not null"
    )
    op.execute(
        """
        create table metrics (
            customer_id uuid not null,
            first_purchase_at timestamptz,
            last_purchase_at timestamptz,
            purchase_count bigint not null,
            counted_minor bigint not null,
            gross_minor bigint not null,
            returned_minor bigint not null,
            cancelled_minor bigint not null,
            last_fact_at timestamptz not null,
            constraint pk_metrics primary key (customer_id)) with (fillfactor = 70)
        """
    )
    op.execute(
        """
        create table accounting (
            single boolean default true not null,
            currency text not null,
            constraint pk_accounting primary key (single)
        )
        """
    )
    op.execute(
        """
        create table policy (
            version integer not null,
            content jsonb not null,
            created_at timestamptz default now() not null,
            constraint pk_policy primary key (version)
        )
        """
    )
    op.execute(
        """
        create table calibration (
            calibration_id uuid not null,
            as_of timestamptz not null,
            pinned boolean not null,
            policy_version integer not null,
            counted bigint default 0 not null,
            state text not null,
            initial boolean default false not null,
            created_at timestamptz default now() not null,
            effective_at timestamptz,
            constraint pk_calibration primary key (calibration_id)
        )
        """
    )
    op.execute(
        "create unique index ix_calibration_state_current on calibration (state) where state = 'current'"
    )
    op.execute(
        """
        create table calibration_input (
            calibration_id uuid not null,
            customer_id uuid not null,
            recency_days integer not null,
            frequency bigint not null,
            monetary_minor bigint not null,
            constraint pk_calibration_input primary key (calibration_id, customer_id)
        )
        """
    )
    op.execute(
        """
        create table distribution (
            calibration_id uuid not null,
            measure text not null,
            value bigint not null,
            worse_count bigint not null,
            constraint pk_distribution primary key (calibration_id, measure, value)
        )
        """
    )
    op.execute(
        """
        create table score (
            customer_id uuid not null,
            calibration_id uuid not null,
            as_of timestamptz not null,
            r smallint,
            f smallint,
            m smallint,
            segment text,
            recency_worse bigint,
            frequency_worse bigint,
            monetary_worse bigint,
            numerator bigint,
            score_worse bigint,
            value_class text,
            constraint pk_score primary key (customer_id)) with (fillfactor = 70)
        """
    )
    op.execute(
        """
        create table tier (
            customer_id uuid not null,
            tier text not null,
            since timestamptz not null,
            policy_version integer not null,
            downgrade_due_at timestamptz,
            constraint pk_tier primary key (customer_id)
        )
        """
    )
    op.execute(
        """
        create table tier_change (
            tier_change_id bigint generated always as identity,
            customer_id uuid not null,
            tier text not null,
            previous_tier text,
            effective_at timestamptz not null,
            reason text not null,
            initial boolean not null,
            historical boolean not null,
            as_of timestamptz not null,
            policy_version integer not null,
            constraint pk_tier_change primary key (tier_change_id)
        )
        """
    )
    op.execute(
        "create index ix_tier_change_customer_id_tier_change_id on tier_change (customer_id, tier_change_id)"
    )
    op.execute(
        """
        create table satisfaction (
            customer_id uuid not null,
            satisfaction text not null,
            measure text not null,
            effective_at timestamptz not null,
            constraint pk_satisfaction primary key (customer_id)
        )
        """
    )
    content = (Path(__file__).parent / "0001_first_policy.json").read_text(encoding="utf-8")
    op.get_bind().execute(
        text("insert into policy (version, content) values (1, cast(:content as jsonb))"),
        {"content": content},
    )


def downgrade() -> None:
    op.execute(
        "drop table customer, purchase, purchase_return, metrics, accounting, policy, calibration, calibration_input, distribution, score, tier, tier_change, satisfaction"
    )
