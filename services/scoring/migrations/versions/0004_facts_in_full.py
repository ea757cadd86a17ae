"""Facts in full: where and how somebody bought, line by line, what it cost; the rhythm of the occasions.

Purchases known before have no lines until the service is rebuilt from the topics; their rhythm is made here.
"""

from alembic import op

revision = "0004"
down_revision = "0003"
branch_labels = None
depends_on = None

STATEMENTS = (
    "alter table accounting alter column currency drop not null, add column time_zone text default 'UTC' not null",
    "alter table accounting alter column time_zone drop default",
    """
    alter table purchase add column channel text, add column store text, add column campaign_id text,
        add column coupon_count smallint default 0 not null
    """,
    """
    create table purchase_line (
        purchase_id uuid not null,
        line integer not null,
        sku text not null,
        category text,
        brand text,
        quantity integer not null,
        amount_minor bigint not null,
        discount_minor bigint not null,
        cost_minor bigint,
        constraint pk_purchase_line primary key (purchase_id, line)
    )
    """,
    "create index ix_purchase_line_sku on purchase_line (sku)",
    """
    create table purchase_return_line (
        return_id uuid not null,
        position integer not null,
        line integer,
        sku text not null,
        quantity integer not null,
        amount_minor bigint not null,
        constraint pk_purchase_return_line primary key (return_id, position)
    )
    """,
    """
    create table product (
        sku text not null,
        product_id uuid not null,
        name_zh text,
        name_en text,
        category text,
        brand text,
        price_minor bigint,
        currency text,
        stock integer,
        replenishable boolean not null,
        accessory_of text,
        active boolean not null,
        effective_at timestamptz not null,
        constraint pk_product primary key (sku)
    )
    """,
    """
    alter table metrics add column occasions bigint default 0 not null,
        add column gap_square_sum bigint default 0 not null, add column recent_days date[] default '{}' not null
    """,
    """
    update metrics m set occasions = rhythm.occasions, gap_square_sum = rhythm.gap_square_sum,
        recent_days = rhythm.recent_days
    from (
        select customer_id, count(*) as occasions, coalesce(sum(gap * gap), 0) as gap_square_sum,
               (array_agg(day order by day desc))[1:3] as recent_days
        from (
            select customer_id, day, (day - lag(day) over (partition by customer_id order by day))::bigint as gap
            from (
                select distinct customer_id, (occurred_at at time zone 'UTC')::date as day
                from purchase where amount_minor > returned_minor) day) gap
        group by customer_id) rhythm
    where rhythm.customer_id = m.customer_id
    """,
    """
    alter table metrics alter column occasions drop default, alter column gap_square_sum drop default,
        alter column recent_days drop default
    """,
    # Rows of before were never told in which time zone the days are to be: a first row says so where there is none.
    """
    insert into accounting (time_zone) select 'UTC' where exists (select from purchase) on conflict do nothing
    """,
)


def upgrade() -> None:
    for statement in STATEMENTS:
        op.execute(statement)


def downgrade() -> None:
    op.execute("delete from accounting where currency is null")
    op.execute("alter table accounting drop column time_zone, alter column currency set not null")
    op.execute("drop table purchase_line, purchase_return_line, product")
    op.execute(
        "alter table purchase drop column channel, drop column store, drop column campaign_id, drop column coupon_count"
    )
    op.execute(
        "alter table metrics drop column occasions, drop column gap_square_sum, drop column recent_days"
    )
