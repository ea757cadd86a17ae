"""Imports: saved mappings, staged rows."""

from alembic import op

revision = "0002"
down_revision = "0001"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.execute(
        """
        create table import_mapping (
            name text not null,
            version integer default 1 not null,
            definition jsonb not null,
            created_at timestamptz default now() not null,
            updated_at timestamptz default now() not null,
            updated_by text not null,
            constraint pk_import_mapping primary key (name)
        )
        """
    )
    op.execute(
        """
        create table import_row (
            job_id uuid not null,
            kind smallint not null,
            order_number text collate "C" not null,
            line bigint not null,
            customer text,
            sku text not null,
            quantity integer not null,
            unit_price numeric not null,
            occurred_at timestamptz not null,
            description text,
            category text,
            country text,
            currency text not null,
            exchange_rate numeric,
            discount numeric,
            channel text,
            store text,
            constraint pk_import_row primary key (job_id, kind, order_number, line)
        )
        """
    )
    op.execute(
        """
        create table import_customer (
            job_id uuid not null,
            customer text not null,
            country text,
            country_count integer not null,
            first_at timestamptz not null,
            constraint pk_import_customer primary key (job_id, customer)
        )
        """
    )


def downgrade() -> None:
    for table in ("import_customer", "import_row", "import_mapping"):
        op.execute(f"drop table {table}")
