"""Access exports, erasure, suppression of returning persons."""

from alembic import op

revision = "0007"
down_revision = "0006"


def upgrade() -> None:
    op.execute(
        """
        create table erasure (
            customer_id uuid not null constraint pk_erasure primary key,
            root_id uuid not null,
            erased_at timestamptz not null,
            erased_by text not null
        )
        """
    )
    op.execute("create index ix_erasure_root_id on erasure (root_id)")
    op.execute("create index ix_erasure_erased_at_customer_id on erasure (erased_at, customer_id)")
    op.execute(
        """
        create table erasure_receipt (
            customer_id uuid not null
                constraint fk_erasure_receipt_customer_id references erasure (customer_id),
            service text not null,
            completed_at timestamptz,
            constraint pk_erasure_receipt primary key (customer_id, service)
        )
        """
    )
    op.execute(
        "create index ix_erasure_receipt_outstanding on erasure_receipt (customer_id) where completed_at is null"
    )
    op.execute(
        """
        create table forgotten_name (
            token bytea not null,
            customer_id uuid not null,
            field text not null,
            forgotten_at timestamptz not null,
            lifted_at timestamptz,
            lifted_by text,
            constraint pk_forgotten_name primary key (token, customer_id)
        )
        """
    )
    op.execute(
        """
        create table access_request (
            request_id uuid not null constraint pk_access_request primary key,
            customer_id uuid not null
                constraint fk_access_request_customer_id references customer (customer_id),
            person uuid[],
            requested_at timestamptz not null,
            requested_by text not null,
            gathered_at timestamptz,
            expires_at timestamptz,
            destroyed_at timestamptz
        )
        """
    )
    op.execute(
        "create index ix_access_request_customer_id_requested_at on access_request (customer_id, requested_at)"
    )
    op.execute(
        "create index ix_access_request_kept on access_request (requested_at) where destroyed_at is null"
    )
    op.execute(
        """
        create table access_block (
            request_id uuid not null
                constraint fk_access_block_request_id references access_request (request_id),
            number integer not null,
            service text not null,
            section text not null,
            sealed bytea not null,
            constraint pk_access_block primary key (request_id, number)
        )
        """
    )
    op.execute("alter table access_block alter column sealed set storage external")

    # Nobody has disclosed anything yet where this runs for the first time.
    op.execute("alter table disclosure add column lookup_id uuid not null")
    op.execute("create index ix_disclosure_lookup_id on disclosure (lookup_id)")


def downgrade() -> None:
    op.execute("alter table disclosure drop column lookup_id")
    for table in ("access_block", "access_request", "forgotten_name", "erasure_receipt", "erasure"):
        op.execute(f"drop table {table}")
