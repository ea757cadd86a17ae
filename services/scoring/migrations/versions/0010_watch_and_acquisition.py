"""The watch over sudden changes, with the customers behind them; when customers were acquired, and what that cost.

By which channel those were acquired who are known already, profile tells with their next update, or the topics with a rebuild.
"""

from alembic import op

revision = "0010"
down_revision = "0009"
branch_labels = None
depends_on = None

STATEMENTS = (
    """
    create table watching (
        single boolean default true not null,
        kinds text[] not null,
        open_weekdays smallint[],
        judged_until date,
        version integer default 1 not null,
        constraint pk_watching primary key (single)
    )
    """,
    """
    insert into watching (kinds)
    values ('{company,tier,country,channel,product,churn,satisfaction}')
    """,
    """
    create table alert (
        alert_id uuid not null,
        kind text not null,
        name text not null,
        direction text not null,
        since date not null,
        day date not null,
        observed double precision not null,
        expected double precision not null,
        score double precision not null,
        score_limit double precision not null,
        change double precision,
        created_at timestamptz default now() not null,
        constraint pk_alert primary key (alert_id)
    )
    """,
    "create unique index ix_alert_kind_name_direction_day on alert (kind, name, direction, day)",
    "create index ix_alert_day_alert_id on alert (day, alert_id)",
    """
    create table alert_customer (
        alert_id uuid not null,
        recorded_customer_id uuid not null,
        customer_id uuid not null,
        change double precision not null,
        constraint pk_alert_customer primary key (alert_id, recorded_customer_id)
    )
    """,
    """
    create table acquisition (
        recorded_customer_id uuid not null,
        customer_id uuid not null,
        channel text,
        registered_at timestamptz not null,
        constraint pk_acquisition primary key (recorded_customer_id)
    )
    """,
    "create index ix_acquisition_customer_id on acquisition (customer_id)",
    """
    insert into acquisition (recorded_customer_id, customer_id, registered_at)
    with recursive up as (
        select customer_id as recorded, customer_id as reached from customer
        where registered_at is not null and state <> 'erased'
        union
        select up.recorded, c.merged_into from up join customer c on c.customer_id = up.reached
        where c.merged_into is not null
    )
    select up.recorded, up.reached, own.registered_at
    from up join customer owner on owner.customer_id = up.reached and owner.merged_into is null
    join customer own on own.customer_id = up.recorded
    """,
    """
    create table acquisition_cost (
        channel text not null,
        month date not null,
        amount_minor bigint not null,
        currency text not null,
        note text,
        version integer default 1 not null,
        updated_at timestamptz default now() not null,
        constraint pk_acquisition_cost primary key (channel, month)
    )
    """,
)


def upgrade() -> None:
    for statement in STATEMENTS:
        op.execute(statement)


def downgrade() -> None:
    op.execute("drop table watching, alert, alert_customer, acquisition, acquisition_cost")
