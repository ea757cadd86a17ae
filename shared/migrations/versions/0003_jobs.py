"""Jobs: long and scheduled work."""

from alembic import op

revision = "0003"
down_revision = "0002"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.execute(
        """
        create table shared.job (
            id uuid not null constraint pk_job primary key,
            kind text not null,
            state text not null default 'queued',
            parameters jsonb not null,
            cursor jsonb not null default '{}',
            report jsonb not null default '{}',
            total bigint,
            processed bigint not null default 0,
            failed bigint not null default 0,
            created_by text,
            created_at timestamptz not null default now(),
            due_at timestamptz default now(),
            started_at timestamptz,
            finished_at timestamptz,
            cancel_requested_at timestamptz,
            lease_until timestamptz,
            epoch integer not null default 0,
            attempts integer not null default 0,
            error_code text,
            error_message text,
            constraint ck_job_state check (state in ('queued', 'running', 'succeeded', 'failed', 'cancelled'))
        )
        """
    )
    op.execute("create index ix_job_due_at on shared.job (due_at) where state in ('queued', 'running')")
    op.execute("create index ix_job_created_at_id on shared.job (created_at, id)")
    op.execute(
        """
        create table shared.job_error (
            id bigint generated always as identity constraint pk_job_error primary key,
            job_id uuid not null constraint fk_job_error_job_id references shared.job on delete cascade,
            line bigint,
            column_name text,
            pointer text,
            code text not null,
            message text not null
        )
        """
    )
    op.execute("create index ix_job_error_job_id_id on shared.job_error (job_id, id)")
    op.execute(
        """
        create table shared.upload_block (
            job_id uuid not null constraint fk_upload_block_job_id references shared.job on delete cascade,
            number integer not null,
            sealed bytea not null,
            constraint pk_upload_block primary key (job_id, number)
        )
        """
    )
    # Sealed bytes do not compress: do not let Postgres try.
    op.execute("alter table shared.upload_block alter column sealed set storage external")
    op.execute(
        """
        create table shared.schedule (
            name text not null constraint pk_schedule primary key,
            due_at timestamptz not null,
            started_at timestamptz,
            finished_at timestamptz,
            outcome text
        )
        """
    )


def downgrade() -> None:
    for table in ("schedule", "upload_block", "job_error", "job"):
        op.execute(f"drop table shared.{table}")
