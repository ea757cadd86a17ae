"""Imports of every kind, exports and their approval."""

from alembic import op

revision = "0010"
down_revision = "0009"
branch_labels = None
depends_on = None


def upgrade() -> None:
    # What these hold belongs to imports under way, which read their file again.
    op.execute("drop table import_customer")
    op.execute("drop table import_row")
    op.execute(
        """
        create table import_order (
            job_id uuid not null,
            kind smallint not null,
            order_number text collate "C" not null,
            first_line bigint not null,
            row_count integer not null,
            rows bytea not null,
            constraint pk_import_order primary key (job_id, kind, order_number, first_line)
        )
        """
    )
    # Packed already, read once and thrown away: compressing it again costs more than it spares.
    op.execute("alter table import_order alter column rows set storage external")
    op.execute(
        """
        create table import_customer (
            job_id uuid not null,
            customer text not null,
            country text not null,
            row_count bigint not null,
            first_at timestamptz not null,
            constraint pk_import_customer primary key (job_id, customer, country)
        )
        """
    )
    op.execute(
        """
        create table import_count (
            job_id uuid not null,
            what smallint not null,
            value text collate "C" not null,
            row_count bigint not null,
            constraint pk_import_count primary key (job_id, what, value)
        )
        """
    )
    op.execute(
        """
        create table import_key (
            job_id uuid not null,
            key bytea not null,
            line bigint not null,
            constraint pk_import_key primary key (job_id, key)
        )
        """
    )
    op.execute(
        """
        create table import_fetch (
            source text not null,
            name text not null,
            digest bytea not null,
            job_id uuid,
            fetched_at timestamptz default now() not null,
            constraint pk_import_fetch primary key (source, name)
        )
        """
    )
    op.execute(
        """
        create table export (
            export_id uuid not null,
            kind text not null,
            format text not null,
            byte_order_mark boolean not null,
            fields text[] not null,
            filters jsonb not null,
            personal boolean not null,
            reason text,
            requested_by text not null,
            requested_by_credential text not null,
            requested_at timestamptz default now() not null,
            approved_by text,
            approved_by_credential text,
            approved_at timestamptz,
            row_count bigint default 0 not null,
            byte_count bigint default 0 not null,
            ready_at timestamptz,
            expires_at timestamptz,
            destroyed_at timestamptz,
            constraint pk_export primary key (export_id)
        )
        """
    )
    op.execute(
        """
        create table export_block (
            export_id uuid not null,
            number integer not null,
            sealed bytea not null,
            constraint pk_export_block primary key (export_id, number),
            constraint fk_export_block_export_id foreign key (export_id) references export (export_id) on delete cascade
        )
        """
    )
    op.execute("alter table export_block alter column sealed set storage external")


def downgrade() -> None:
    for table in (
        "export_block",
        "export",
        "import_fetch",
        "import_key",
        "import_count",
        "import_customer",
        "import_order",
    ):
        op.execute(f"drop table {table}")
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
