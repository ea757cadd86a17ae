"""Addresses that are dead, kept by whom they were asked for until profile was told."""

from alembic import op

revision = "0003"
down_revision = "0002"

STATEMENTS = (
    """
    create table bounce (
        delivery_id uuid not null,
        customer_id uuid not null,
        channel text not null,
        reference text,
        outcome text,
        attempts integer not null default 0,
        due_at timestamptz not null default now(),
        refused_at timestamptz not null default now(),
        told_at timestamptz,
        constraint pk_bounce primary key (delivery_id),
        constraint fk_bounce_delivery_id_delivery foreign key (delivery_id) references delivery (delivery_id),
        constraint ck_bounce_outcome check ((told_at is null) = (outcome is null))
    )
    """,
    "create index ix_bounce_customer_id on bounce (customer_id)",
    "create index ix_bounce_due_at on bounce (due_at) where told_at is null",
)


def upgrade() -> None:
    for statement in STATEMENTS:
        op.execute(statement)


def downgrade() -> None:
    op.drop_table("bounce")
