"""By what reports are drilled into, the coarse traits of customers; and the answers that are kept overnight."""

from alembic import op

revision = "0008"
down_revision = "0007"
branch_labels = None
depends_on = None

STATEMENTS = (
    """
    create table trait (
        customer_id uuid not null,
        kind text not null,
        country text,
        region text,
        acquisition_channel text,
        tags text[] not null,
        registered_at timestamptz not null,
        constraint pk_trait primary key (customer_id)
    )
    """,
    """
    create table report (
        key text not null,
        answer jsonb not null,
        made_at timestamptz not null,
        constraint pk_report primary key (key)
    )
    """,
    # The rest comes with the next word about each customer.
    """
    insert into trait (customer_id, kind, country, tags, registered_at)
    select customer_id, kind, country, '{}', registered_at from customer
    where registered_at is not null and state <> 'erased'
    """,
)


def upgrade() -> None:
    for statement in STATEMENTS:
        op.execute(statement)


def downgrade() -> None:
    op.execute("drop table trait, report")
