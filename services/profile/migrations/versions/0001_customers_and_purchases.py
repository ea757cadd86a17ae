"""Customers, purchases, returns, consents, disclosures, API keys."""

from alembic import op

revision = "0001"
down_revision = None
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.execute(
        """
        create table accounting (
            "only" boolean default true not null,
            currency text not null,
            constraint pk_accounting primary key ("only"),
            constraint ck_accounting_only check ("only")
        )
        """
    )
    op.execute(
        """
        create table api_key (
            api_key_id uuid not null,
            name text not null,
            hmac text not null,
            scopes text[] not null,
            created_at timestamptz not null,
            created_by text not null,
            revoked_at timestamptz,
            revoked_by text,
            constraint pk_api_key primary key (api_key_id),
            constraint uq_api_key_hmac unique (hmac)
        )
        """
    )
    op.execute("create index ix_api_key_created_at_api_key_id on api_key (created_at, api_key_id)")
    op.execute(
        """
        create table customer (
            customer_id uuid not null,
            kind text not null,
            name_sealed bytea,
            email_sealed bytea,
            phone_sealed bytea,
            birth_date_sealed bytea,
            birth_month_day text,
            country text,
            region text,
            language text,
            time_zone text,
            acquisition_channel text,
            tags text[] default '{}' not null,
            registered_at timestamptz not null,
            created_at timestamptz default now() not null,
            updated_at timestamptz default now() not null,
            version integer default 1 not null,
            state text default 'active' not null,
            merged_into uuid,
            constraint pk_customer primary key (customer_id),
            constraint ck_customer_kind check (kind in ('person', 'organisation')),
            constraint ck_customer_state check (state in ('active', 'merged', 'erased')),
            constraint ck_customer_merged_into check ((state = 'merged') = (merged_into is not null)),
            constraint fk_customer_merged_into foreign key (merged_into) references customer (customer_id)
        )
        """
    )
    op.execute(
        "create index ix_customer_country_created_at_customer_id on customer (country, created_at, customer_id)"
    )
    op.execute("create index ix_customer_created_at_customer_id on customer (created_at, customer_id)")
    op.execute(
        """
        create table disclosure (
            disclosure_id bigint generated always as identity,
            asked_at timestamptz not null,
            asked_by text not null,
            customer_id uuid not null,
            purpose text not null,
            channel text not null,
            outcome text not null,
            consent_id uuid,
            constraint pk_disclosure primary key (disclosure_id)
        )
        """
    )
    op.execute("create index ix_disclosure_customer_id_asked_at on disclosure (customer_id, asked_at)")
    op.execute(
        """
        create table consent (
            consent_id uuid not null,
            customer_id uuid not null,
            purpose text not null,
            channel text not null,
            state text not null,
            text_version text,
            evidence_sealed bytea,
            collected_at timestamptz not null,
            in_force_from timestamptz not null,
            recorded_at timestamptz not null,
            recorded_by text not null,
            number bigint generated always as identity,
            constraint pk_consent primary key (consent_id),
            constraint ck_consent_state check (state in ('granted', 'denied', 'withdrawn', 'expired')),
            constraint fk_consent_customer_id foreign key (customer_id) references customer (customer_id)
        )
        """
    )
    op.execute(
        "create index ix_consent_in_force on consent (customer_id, purpose, channel, in_force_from, number)"
    )
    op.execute(
        """
        create table customer_external_id (
            source text not null,
            external_id text not null,
            customer_id uuid not null,
            constraint pk_customer_external_id primary key (source, external_id),
            constraint fk_customer_external_id_customer_id foreign key (customer_id) references customer (customer_id)
        )
        """
    )
    op.execute("create index ix_customer_external_id_customer_id on customer_external_id (customer_id)")
    op.execute(
        """
        create table purchase (
            purchase_id uuid not null,
            source text not null,
            external_id text not null,
            customer_id uuid,
            recorded_customer_id uuid,
            occurred_at timestamptz not null,
            recorded_at timestamptz not null,
            historical boolean not null,
            currency text not null,
            exchange_rate numeric,
            channel text,
            store text,
            staff_id text,
            tender text,
            campaign_id text,
            coupon_codes text[] default '{}' not null,
            total_minor bigint not null,
            accounting_total_minor bigint not null,
            returned_minor bigint default 0 not null,
            accounting_returned_minor bigint default 0 not null,
            fingerprint bytea not null,
            constraint pk_purchase primary key (purchase_id),
            constraint uq_purchase_source_external_id unique (source, external_id),
            constraint ck_purchase_returned_within_total check (returned_minor between 0 and total_minor),
            constraint fk_purchase_customer_id foreign key (customer_id) references customer (customer_id)
        )
        """
    )
    op.execute(
        "create index ix_purchase_customer_id_occurred_at_purchase_id on purchase (customer_id, occurred_at, purchase_id)"
    )
    op.execute(
        """
        create table purchase_line (
            purchase_id uuid not null,
            line integer not null,
            sku text not null,
            description text,
            brand text,
            category text,
            quantity integer not null,
            unit_price numeric not null,
            discount_minor bigint default 0 not null,
            amount_minor bigint not null,
            accounting_amount_minor bigint not null,
            unit_cost_minor bigint,
            returned_quantity integer default 0 not null,
            constraint pk_purchase_line primary key (purchase_id, line),
            constraint ck_purchase_line_amount_not_negative check (amount_minor >= 0),
            constraint ck_purchase_line_returned_within_bought check (returned_quantity between 0 and quantity),
            constraint fk_purchase_line_purchase_id foreign key (purchase_id) references purchase (purchase_id)
        )
        """
    )
    op.execute(
        """
        create table purchase_return (
            return_id uuid not null,
            source text not null,
            external_id text not null,
            purchase_id uuid,
            customer_id uuid,
            recorded_customer_id uuid,
            occurred_at timestamptz not null,
            recorded_at timestamptz not null,
            historical boolean not null,
            currency text not null,
            exchange_rate numeric,
            amount_minor bigint not null,
            accounting_amount_minor bigint not null,
            net_left_minor bigint,
            accounting_net_left_minor bigint,
            replacement_purchase_id uuid,
            fingerprint bytea not null,
            constraint pk_purchase_return primary key (return_id),
            constraint uq_purchase_return_source_external_id unique (source, external_id),
            constraint fk_purchase_return_purchase_id foreign key (purchase_id) references purchase (purchase_id),
            constraint fk_purchase_return_customer_id foreign key (customer_id) references customer (customer_id),
            constraint fk_purchase_return_replacement_purchase_id foreign key (replacement_purchase_id) references purchase (purchase_id)
        )
        """
    )
    op.execute(
        "create index ix_purchase_return_customer_id_occurred_at_return_id on purchase_return (customer_id, occurred_at, return_id)"
    )
    op.execute("create index ix_purchase_return_purchase_id on purchase_return (purchase_id)")
    op.execute(
        """
        create table purchase_return_line (
            return_id uuid not null,
            position integer not null,
            line integer,
            sku text not null,
            quantity integer not null,
            unit_price numeric,
            amount_minor bigint not null,
            accounting_amount_minor bigint not null,
            constraint pk_purchase_return_line primary key (return_id, position),
            constraint ck_purchase_return_line_quantity_positive check (quantity > 0),
            constraint fk_purchase_return_line_return_id foreign key (return_id) references purchase_return (return_id)
        )
        """
    )


def downgrade() -> None:
    for table in (
        "purchase_return_line",
        "purchase_return",
        "purchase_line",
        "purchase",
        "customer_external_id",
        "consent",
        "disclosure",
        "customer",
        "api_key",
        "accounting",
    ):
        op.execute(f"drop table {table}")
