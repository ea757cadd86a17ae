"""Policies that people draft, try and publish; tiers that are held by hand; windows and qualifying periods."""

from alembic import op

revision = "0007"
down_revision = "0006"
branch_labels = None
depends_on = None

STATEMENTS = (
    """
    alter table policy drop constraint pk_policy,
        add column policy_id uuid default gen_random_uuid() not null,
        add column based_on integer,
        add column note text,
        add column revision integer default 1 not null,
        add column created_by text,
        add column updated_at timestamptz default now() not null,
        add column published_at timestamptz default now(),
        add column published_by text,
        alter column version drop not null,
        add constraint pk_policy primary key (policy_id),
        add constraint uq_policy_version unique (version)
    """,
    "update policy set published_at = created_at, updated_at = created_at",
    "alter table policy alter column published_at drop default",
    "alter table calibration add column reason text default 'calibration' not null",
    """
    alter table score add column window_frequency bigint, add column window_monetary_minor bigint,
        add column qualifying bigint
    """,
    """
    create table backtest (
        backtest_id uuid not null,
        policy_id uuid not null,
        version integer,
        content jsonb not null,
        as_of timestamptz not null,
        counted bigint,
        cells jsonb default '[]' not null,
        created_at timestamptz default now() not null,
        created_by text,
        finished_at timestamptz,
        constraint pk_backtest primary key (backtest_id)
    )
    """,
    "create index ix_backtest_policy_id_backtest_id on backtest (policy_id, backtest_id)",
    """
    create table backtest_example (
        backtest_id uuid not null,
        customer_id uuid not null,
        from_tier text,
        to_tier text not null,
        effect text not null,
        net_revenue_minor bigint not null,
        constraint pk_backtest_example primary key (backtest_id, customer_id)
    )
    """,
    "create index ix_backtest_example_customer_id on backtest_example (customer_id)",
    "alter table tier add column manual boolean default false not null",
    "alter table tier_resting add column manual boolean default false not null",
    """
    create table manual_tier (
        customer_id uuid not null,
        tier text not null,
        reason text not null,
        until timestamptz,
        set_by text not null,
        set_at timestamptz default now() not null,
        constraint pk_manual_tier primary key (customer_id)
    )
    """,
    "create index ix_manual_tier_until on manual_tier (until) where until is not null",
)


def upgrade() -> None:
    for statement in STATEMENTS:
        op.execute(statement)


def downgrade() -> None:
    op.execute("drop table backtest, backtest_example, manual_tier")
    op.execute("alter table tier drop column manual")
    op.execute("alter table tier_resting drop column manual")
    op.execute(
        "alter table score drop column window_frequency, drop column window_monetary_minor, drop column qualifying"
    )
    op.execute("alter table calibration drop column reason")
    op.execute("delete from policy where version is null")
    op.execute(
        """
        alter table policy drop constraint pk_policy, drop constraint uq_policy_version, drop column policy_id,
            drop column based_on, drop column note, drop column revision, drop column created_by,
            drop column updated_at, drop column published_at, drop column published_by,
            alter column version set not null, add constraint pk_policy primary key (version)
        """
    )
