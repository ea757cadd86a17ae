"""The audit log, a chain of hashes."""

from alembic import op

revision = "0004"
down_revision = "0003"


def upgrade() -> None:
    op.execute(
        """
        create table shared.audit_entry (
            number bigint not null constraint pk_audit_entry primary key,
            at timestamptz not null,
            action text not null,
            actor text not null,
            subject text,
            facts jsonb not null,
            hash bytea not null
        )
        """
    )
    op.execute("create index ix_audit_entry_action_number on shared.audit_entry (action, number)")
    op.execute(
        "create index ix_audit_entry_subject_number on shared.audit_entry (subject, number) where subject is not null"
    )
    op.execute(
        """
        create table shared.audit_head (
            "only" boolean not null default true constraint pk_audit_head primary key,
            number bigint not null,
            hash bytea not null,
            constraint ck_audit_head_one_row check ("only")
        )
        """
    )
    op.execute("insert into shared.audit_head (number, hash) values (0, decode(repeat('00', 32), 'hex'))")


def downgrade() -> None:
    op.execute("drop table shared.audit_head")
    op.execute("drop table shared.audit_entry")
