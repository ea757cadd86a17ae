"""Where every customer is heading: models, outlooks, stages and their history."""

from alembic import op

revision = "0005"
down_revision = "0004"
branch_labels = None
depends_on = None

STATEMENTS = (
    "create index ix_distribution_calibration_id_measure_worse_count on distribution (calibration_id, measure, worse_count)",
    "alter table calibration add column split_on date",
    """
    alter table calibration_input add column occasions bigint default 0 not null, add column first_on date,
        add column last_on date, add column repeat_minor bigint default 0 not null,
        add column early_occasions bigint default 0 not null, add column early_last_on date
    """,
    """
    create table model (
        calibration_id uuid not null,
        kind text not null,
        reasons text[] not null,
        parameters jsonb not null,
        quality jsonb not null,
        created_at timestamptz default now() not null,
        constraint pk_model primary key (calibration_id, kind)
    )
    """,
    """
    create table outlook (
        customer_id uuid not null,
        calibration_id uuid not null,
        as_of timestamptz not null,
        stage text not null,
        stage_since timestamptz not null,
        churn_band text,
        churn_probability double precision,
        purchases double precision,
        purchases_low double precision,
        purchases_high double precision,
        spend_minor bigint,
        clv_minor bigint,
        clv_low_minor bigint,
        clv_high_minor bigint,
        confidence double precision,
        usual_gap_days double precision,
        gap_spread_days double precision,
        next_on date,
        next_from date,
        next_until date,
        trend text,
        trend_deviation double precision,
        recent_minor bigint not null,
        before_minor bigint not null,
        moves_on date,
        constraint pk_outlook primary key (customer_id)) with (fillfactor = 70)
    """,
    "create index ix_outlook_moves_on on outlook (moves_on) where moves_on is not null",
    """
    create table stage_change (
        stage_change_id bigint generated always as identity,
        customer_id uuid not null,
        stage text not null,
        previous_stage text,
        effective_at timestamptz not null,
        reason text not null,
        initial boolean not null,
        historical boolean not null,
        as_of timestamptz not null,
        constraint pk_stage_change primary key (stage_change_id)
    )
    """,
    "create index ix_stage_change_customer_id_stage_change_id on stage_change (customer_id, stage_change_id)",
)


def upgrade() -> None:
    for statement in STATEMENTS:
        op.execute(statement)


def downgrade() -> None:
    op.execute("drop index ix_distribution_calibration_id_measure_worse_count")
    op.execute("drop table model, outlook, stage_change")
    op.execute("alter table calibration drop column split_on")
    op.execute(
        "alter table calibration_input drop column occasions, drop column first_on, drop column last_on,"
        " drop column repeat_minor, drop column early_occasions, drop column early_last_on"
    )
