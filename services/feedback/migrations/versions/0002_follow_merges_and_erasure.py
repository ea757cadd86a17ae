"""Merges are followed: trees of customers, and satisfaction by the customer who said so."""

from alembic import op

revision = "0002"
down_revision = "0001"

STATEMENTS = (
    "alter table customer add column merged_at timestamptz, add column merged_ever boolean not null default false",
    "create index ix_customer_merged_into on customer (merged_into) where merged_into is not null",
    "create index ix_customer_merged on customer (customer_id) where merged_into is not null",
    "alter table satisfaction add column recorded_customer_id uuid",
    "update satisfaction set recorded_customer_id = customer_id",
    "alter table satisfaction drop constraint pk_satisfaction",
    "alter table satisfaction add constraint pk_satisfaction primary key (recorded_customer_id)",
    "create index ix_satisfaction_customer_id on satisfaction (customer_id)",
)


def upgrade() -> None:
    for statement in STATEMENTS:
        op.execute(statement)


def downgrade() -> None:
    op.execute("drop index ix_satisfaction_customer_id")
    op.execute("delete from satisfaction where customer_id <> recorded_customer_id")
    op.execute("alter table satisfaction drop constraint pk_satisfaction")
    op.execute("alter table satisfaction add constraint pk_satisfaction primary key (customer_id)")
    op.execute("alter table satisfaction drop column recorded_customer_id")
    op.execute("drop index ix_customer_merged, ix_customer_merged_into")
    op.execute("alter table customer drop column merged_at, drop column merged_ever")
