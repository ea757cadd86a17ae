"""Idempotency keys, the copy of the key list, the data keys of sealed subjects."""

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

revision = "0002"
down_revision = "0001"
branch_labels = None
depends_on = None

TIMESTAMPTZ = sa.DateTime(timezone=True)


def upgrade() -> None:
    op.create_table(
        "idempotency_key",
        sa.Column("request_hash", sa.LargeBinary, comment="credential, operation and key, hashed"),
        sa.Column("fingerprint", sa.LargeBinary, nullable=False, comment="path, query and body, hashed"),
        sa.Column("status", sa.SmallInteger, nullable=False),
        sa.Column("sealed_reply", sa.LargeBinary, nullable=False),
        sa.Column("created_at", TIMESTAMPTZ, nullable=False, server_default=sa.func.now()),
        sa.Column("expires_at", TIMESTAMPTZ, comment="null: kept for ever"),
        sa.PrimaryKeyConstraint("request_hash", name="pk_idempotency_key"),
        schema="shared",
    )
    op.create_index(
        "ix_idempotency_key_expires_at",
        "idempotency_key",
        ["expires_at"],
        schema="shared",
        postgresql_where=sa.text("expires_at is not null"),
    )
    op.create_table(
        "credential",
        sa.Column("credential_id", sa.Text),
        sa.Column("name", sa.Text, nullable=False),
        sa.Column("scopes", postgresql.ARRAY(sa.Text), nullable=False),
        sa.Column("hmac", sa.Text, nullable=False),
        sa.PrimaryKeyConstraint("credential_id", name="pk_credential"),
        schema="shared",
    )
    op.create_table(
        "credential_check",
        sa.Column("only", sa.Boolean, server_default=sa.text("true")),
        sa.Column("checked_at", TIMESTAMPTZ, nullable=False, server_default=sa.func.now()),
        sa.PrimaryKeyConstraint("only", name="pk_credential_check"),
        sa.CheckConstraint('"only"', name=op.f("ck_credential_check_one_row")),
        schema="shared",
    )
    op.create_table(
        "subject_key",
        sa.Column("subject", sa.Text),
        sa.Column("key_id", sa.Text, nullable=False, comment="which key of the environment wraps this one"),
        sa.Column("wrapped", sa.LargeBinary, comment="null: destroyed, for ever"),
        sa.Column("created_at", TIMESTAMPTZ, nullable=False, server_default=sa.func.now()),
        sa.Column("destroyed_at", TIMESTAMPTZ),
        sa.PrimaryKeyConstraint("subject", name="pk_subject_key"),
        sa.CheckConstraint(
            "(wrapped is null) = (destroyed_at is not null)", name=op.f("ck_subject_key_destroyed")
        ),
        schema="shared",
    )
    op.create_index(
        "ix_subject_key_key_id",
        "subject_key",
        ["key_id"],
        schema="shared",
        postgresql_where=sa.text("wrapped is not null"),
    )


def downgrade() -> None:
    op.drop_table("subject_key", schema="shared")
    op.drop_table("credential_check", schema="shared")
    op.drop_table("credential", schema="shared")
    op.drop_table("idempotency_key", schema="shared")
