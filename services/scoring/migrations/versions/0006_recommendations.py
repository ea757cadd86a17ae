"""What goes with each product and what sells best, made anew as a whole and put in force at once."""

from alembic import op

revision = "0006"
down_revision = "0005"
branch_labels = None
depends_on = None

STATEMENTS = (
    """
    create table recommendation_set (
        set_id uuid not null,
        as_of timestamptz not null,
        state text not null,
        related_count bigint default 0 not null,
        created_at timestamptz default now() not null,
        effective_at timestamptz,
        constraint pk_recommendation_set primary key (set_id)
    )
    """,
    "create unique index ix_recommendation_set_current on recommendation_set (state) where state = 'current'",
    """
    create table related_product (
        set_id uuid not null,
        sku text not null,
        place smallint not null,
        related_sku text not null,
        score double precision not null,
        buyers bigint not null,
        lift double precision not null,
        constraint pk_related_product primary key (set_id, sku, place)
    )
    """,
    """
    create table bestseller (
        set_id uuid not null,
        segment text not null,
        place smallint not null,
        sku text not null,
        buyers bigint not null,
        revenue_minor bigint not null,
        constraint pk_bestseller primary key (set_id, segment, place)
    )
    """,
    "create index ix_product_accessory_of on product (accessory_of) where accessory_of is not null",
)


def upgrade() -> None:
    for statement in STATEMENTS:
        op.execute(statement)


def downgrade() -> None:
    op.execute("drop index ix_product_accessory_of")
    op.execute("drop table bestseller, related_product, recommendation_set")
