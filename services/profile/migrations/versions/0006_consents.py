"""Proof and expiry of consents, texts, confirmations by link, suppressions, the sign-up form."""

from alembic import op

revision = "0006"
down_revision = "0005"


def upgrade() -> None:
    op.execute("alter table consent add column if not exists recorded_customer_id uuid")
    op.execute("alter table consent add column if not exists merge_id uuid")
    op.execute("update consent set recorded_customer_id = customer_id where recorded_customer_id is null")
    op.execute("alter table consent alter column recorded_customer_id set not null")
    op.execute("alter table consent add column expires_at timestamptz")
    op.execute("alter table consent add column collected_where text")
    op.execute("alter table consent add column collected_by text")
    op.execute(
        "alter table consent add constraint ck_consent_expires_at check (expires_at is null or state = 'granted')"
    )
    op.execute(
        """
        create table consent_expiry (
            consent_id uuid not null,
            expires_at timestamptz not null,
            constraint pk_consent_expiry primary key (consent_id),
            constraint fk_consent_expiry_consent_id foreign key (consent_id) references consent (consent_id)
        )
        """
    )
    op.execute("create index ix_consent_expiry_expires_at on consent_expiry (expires_at)")
    op.execute(
        """
        create table consent_text (
            purpose text not null,
            version text not null,
            texts jsonb not null,
            valid_days integer,
            created_at timestamptz not null,
            created_by text not null,
            constraint pk_consent_text primary key (purpose, version),
            constraint ck_consent_text_valid_days check (valid_days > 0)
        )
        """
    )
    op.execute(
        """
        create table confirmation (
            confirmation_id uuid not null,
            kind text not null,
            customer_id uuid not null,
            recorded_customer_id uuid not null,
            channel text not null,
            purposes jsonb not null,
            address_token bytea,
            requested_at timestamptz not null,
            requested_by text not null,
            expires_at timestamptz not null,
            confirmed_at timestamptz,
            constraint pk_confirmation primary key (confirmation_id),
            constraint ck_confirmation_kind check (kind in ('opt_in', 'sign_up', 'refresh')),
            constraint fk_confirmation_customer_id foreign key (customer_id) references customer (customer_id)
        )
        """
    )
    op.execute(
        "create index ix_confirmation_customer_id on confirmation (customer_id, requested_at, confirmation_id)"
    )
    op.execute(
        """
        create table suppression (
            suppression_id uuid not null,
            channel text not null,
            reason text not null,
            customer_id uuid,
            recorded_customer_id uuid,
            address_token bytea,
            set_at timestamptz not null,
            set_by text not null,
            lifted_at timestamptz,
            lifted_by text,
            lifted_because text,
            constraint pk_suppression primary key (suppression_id),
            constraint ck_suppression_reason check
                (reason in ('bounce', 'complaint', 'do_not_call', 'manual', 'erasure')),
            constraint ck_suppression_about check ((customer_id is null) <> (address_token is null)),
            constraint ck_suppression_recorded check ((customer_id is null) = (recorded_customer_id is null)),
            constraint ck_suppression_lifted check ((lifted_at is null) = (lifted_by is null)),
            constraint fk_suppression_customer_id foreign key (customer_id) references customer (customer_id)
        )
        """
    )
    op.execute("create index ix_suppression_customer_id on suppression (customer_id, channel)")
    op.execute(
        "create index ix_suppression_address_token on suppression (address_token, channel) where lifted_at is null"
    )
    op.execute("create index ix_suppression_set_at on suppression (set_at, suppression_id)")
    op.execute(
        """
        create table sign_up_source (
            source_id uuid not null,
            name text not null,
            kind text not null,
            reference text,
            purposes text[] not null,
            language text,
            created_at timestamptz not null,
            created_by text not null,
            closed_at timestamptz,
            constraint pk_sign_up_source primary key (source_id),
            constraint ck_sign_up_source_kind check (kind in ('store', 'staff', 'campaign', 'web'))
        )
        """
    )
    op.execute(
        "create index ix_sign_up_source_created_at_source_id on sign_up_source (created_at, source_id)"
    )
    op.execute(
        """
        create table sign_up (
            sign_up_id uuid not null,
            source_id uuid not null,
            customer_id uuid not null,
            recorded_customer_id uuid not null,
            known boolean not null,
            confirmation_id uuid,
            signed_up_at timestamptz not null,
            constraint pk_sign_up primary key (sign_up_id),
            constraint fk_sign_up_source_id foreign key (source_id) references sign_up_source (source_id),
            constraint fk_sign_up_customer_id foreign key (customer_id) references customer (customer_id),
            constraint fk_sign_up_confirmation_id foreign key (confirmation_id)
                references confirmation (confirmation_id)
        )
        """
    )
    op.execute("create index ix_sign_up_customer_id_signed_up_at on sign_up (customer_id, signed_up_at)")
    op.execute("create index ix_sign_up_source_id_signed_up_at on sign_up (source_id, signed_up_at)")


def downgrade() -> None:
    for table in (
        "sign_up",
        "sign_up_source",
        "suppression",
        "confirmation",
        "consent_text",
        "consent_expiry",
    ):
        op.execute(f"drop table {table}")
    op.execute("alter table consent drop constraint ck_consent_expires_at")
    for column in ("expires_at", "collected_where", "collected_by", "recorded_customer_id", "merge_id"):
        op.execute(f"alter table consent drop column if exists {column}")
