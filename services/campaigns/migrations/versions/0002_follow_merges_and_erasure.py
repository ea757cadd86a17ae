"""Merges are followed: who recorded what, points that change hands, and what an unmerge left unpaid."""

from alembic import op

revision = "0002"
down_revision = "0001"

RECORDED = ("redemption", "offer", "delivery", "open_case")

STATEMENTS = (
    "alter table customer add column merged_at timestamptz, add column merged_ever boolean not null default false",
    "create index ix_customer_merged_into on customer (merged_into) where merged_into is not null",
    "create index ix_customer_merged on customer (customer_id) where merged_into is not null",
    "alter table points_account add column own_points bigint not null default 0",
    "update points_account set own_points = balance",
    "alter table movement add column recorded_customer_id uuid",
    "update movement set recorded_customer_id = customer_id",
    "alter table movement alter column recorded_customer_id set not null",
    "alter table movement drop constraint ck_movement_kind",
    """
    alter table movement add constraint ck_movement_kind
        check (kind in ('earned', 'reversed', 'adjusted', 'spent', 'transferred'))
    """,
    "alter table posting drop constraint ck_posting_account",
    """
    alter table posting add constraint ck_posting_account
        check (account in ('customer', 'liability', 'adjustment', 'transfer'))
    """,
    *(
        statement
        for table in RECORDED
        for statement in (
            f"alter table {table} add column recorded_customer_id uuid",
            f"update {table} set recorded_customer_id = customer_id",
            f"alter table {table} alter column recorded_customer_id set not null",
        )
    ),
    "alter table promotion_pause add column recorded_customer_id uuid",
    "update promotion_pause set recorded_customer_id = customer_id",
    "alter table promotion_pause drop constraint pk_promotion_pause",
    "alter table promotion_pause add constraint pk_promotion_pause primary key (recorded_customer_id)",
    "create index ix_promotion_pause_customer_id on promotion_pause (customer_id)",
    """
    create table points_parted (
        parted_id uuid not null,
        customer_id uuid not null,
        loser_id uuid not null,
        merged_at timestamptz not null,
        unmerged_at timestamptz not null,
        returned_points bigint not null,
        spent_points bigint not null,
        balance_left bigint not null,
        constraint pk_points_parted primary key (parted_id)
    )
    """,
    "create index ix_points_parted_customer_id on points_parted (customer_id)",
    "create index ix_points_parted_unmerged_at_parted_id on points_parted (unmerged_at, parted_id)",
)


def upgrade() -> None:
    for statement in STATEMENTS:
        op.execute(statement)


def downgrade() -> None:
    op.drop_table("points_parted")
    op.execute("drop index ix_promotion_pause_customer_id")
    op.execute("delete from promotion_pause where customer_id <> recorded_customer_id")
    op.execute("alter table promotion_pause drop constraint pk_promotion_pause")
    op.execute("alter table promotion_pause add constraint pk_promotion_pause primary key (customer_id)")
    for table in ("promotion_pause", *RECORDED, "movement"):
        op.execute(f"alter table {table} drop column recorded_customer_id")
    op.execute("alter table points_account drop column own_points")
    op.execute("drop index ix_customer_merged, ix_customer_merged_into")
    op.execute("alter table customer drop column merged_at, drop column merged_ever")
