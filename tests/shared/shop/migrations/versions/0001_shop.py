"""What the foundation's tests sell."""

from alembic import op

revision = "0001"
down_revision = None


def upgrade() -> None:
    op.execute(
        "create table item (item_id uuid constraint pk_item primary key, name text not null, price integer not null, "
        "version integer not null default 1, created_at timestamptz not null default now())"
    )
    op.execute(
        "create table sale (sale_id uuid constraint pk_sale primary key, customer_id uuid not null, item text)"
    )


def downgrade() -> None:
    op.execute("drop table sale, item")
