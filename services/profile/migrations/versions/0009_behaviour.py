"""Activities, interactions, referrals, tags, region sets."""

from alembic import op

revision = "0009"
down_revision = "0008"


def upgrade() -> None:
    op.execute(
        """
        create table activity_type (
            name text not null,
            description text,
            properties jsonb default '{}' not null,
            updated_at timestamptz default now() not null,
            updated_by text not null,
            constraint pk_activity_type primary key (name)
        )
        """
    )
    op.execute(
        """
        create table activity (
            activity_id uuid not null,
            source text,
            external_id text,
            type text not null,
            customer_id uuid,
            recorded_customer_id uuid,
            device_token bytea,
            occurred_at timestamptz not null,
            recorded_at timestamptz not null,
            historical boolean not null,
            channel text,
            sku text,
            category text,
            page text,
            query_sealed bytea,
            result_count integer,
            quantity integer,
            campaign_id text,
            properties jsonb,
            fingerprint bytea not null,
            constraint pk_activity primary key (activity_id),
            constraint uq_activity_source_external_id unique (source, external_id),
            constraint ck_activity_named_whole check ((source is null) = (external_id is null)),
            constraint ck_activity_somebodys check (num_nonnulls(customer_id, device_token) > 0),
            constraint fk_activity_recorded_customer_id foreign key(recorded_customer_id) references customer (customer_id)
        )
        """
    )
    op.execute(
        """
        create index ix_activity_customer_id_occurred_at_activity_id on activity (customer_id, occurred_at, activity_id)
        """
    )
    op.execute("create index ix_activity_occurred_at on activity (occurred_at)")
    op.execute(
        """
        create index ix_activity_unattached on activity (device_token, occurred_at) where customer_id is null
        """
    )
    op.execute(
        """
        create index ix_activity_views on activity (sku, customer_id, occurred_at) where type = 'product_view' and customer_id is not null
        """
    )
    op.execute(
        """
        create table interaction (
            interaction_id uuid not null,
            source text,
            external_id text,
            customer_id uuid not null,
            recorded_customer_id uuid not null,
            kind text not null,
            direction text not null,
            channel text,
            store text,
            staff_id text,
            outcome text,
            case_id uuid,
            notes_sealed bytea,
            occurred_at timestamptz not null,
            recorded_at timestamptz not null,
            recorded_by text not null,
            historical boolean not null,
            next_step_sealed bytea,
            next_step_due_at timestamptz,
            next_step_done_at timestamptz,
            next_step_done_by text,
            constraint pk_interaction primary key (interaction_id),
            constraint uq_interaction_source_external_id unique (source, external_id),
            constraint ck_interaction_named_whole check ((source is null) = (external_id is null)),
            constraint ck_interaction_kind check (kind in ('call', 'email', 'visit', 'chat', 'letter', 'other')),
            constraint ck_interaction_direction check (direction in ('inbound', 'outbound')),
            constraint ck_interaction_done_was_due check (next_step_done_at is null or next_step_due_at is not null),
            constraint fk_interaction_recorded_customer_id foreign key(recorded_customer_id) references customer (customer_id)
        )
        """
    )
    op.execute(
        """
        create index ix_interaction_customer_id_occurred_at_interaction_id on interaction (customer_id, occurred_at, interaction_id)
        """
    )
    op.execute(
        """
        create index ix_interaction_due on interaction (next_step_due_at, interaction_id) where next_step_due_at is not null and next_step_done_at is null
        """
    )
    op.execute(
        """
        create index ix_interaction_due_of_staff on interaction (staff_id, next_step_due_at, interaction_id) where next_step_due_at is not null and next_step_done_at is null
        """
    )
    op.execute(
        """
        create table referral_programme (
            "only" boolean default true not null,
            link_template text,
            most_per_period integer,
            period_days integer default 30 not null,
            qualify_within_days integer,
            version integer default 1 not null,
            updated_at timestamptz,
            updated_by text,
            constraint pk_referral_programme primary key ("only"),
            constraint ck_referral_programme_only check ("only")
        )
        """
    )
    op.execute(
        """
        create table referral_code (
            code text not null,
            customer_id uuid not null,
            recorded_customer_id uuid not null,
            created_at timestamptz not null,
            revoked_at timestamptz,
            constraint pk_referral_code primary key (code),
            constraint fk_referral_code_customer_id foreign key(customer_id) references customer (customer_id)
        )
        """
    )
    op.execute("create index ix_referral_code_customer_id on referral_code (customer_id)")
    op.execute(
        """
        create unique index uq_referral_code_in_use on referral_code (recorded_customer_id) where revoked_at is null
        """
    )
    op.execute(
        """
        create table referral (
            referral_id uuid not null,
            code text not null,
            state text default 'pending' not null,
            flags text[] default '{}' not null,
            review text,
            reviewed_at timestamptz,
            reviewed_by text,
            device_token bytea,
            referred_at timestamptz not null,
            recorded_at timestamptz not null,
            qualify_until timestamptz,
            purchase_id uuid,
            state_since timestamptz not null,
            constraint pk_referral primary key (referral_id),
            constraint ck_referral_state check (state in ('pending', 'qualified', 'voided')),
            constraint ck_referral_review check (review in ('required', 'approved', 'rejected')),
            constraint fk_referral_code foreign key(code) references referral_code (code)
        )
        """
    )
    op.execute(
        """
        create index ix_referral_for_review on referral (recorded_at, referral_id) where review = 'required'
        """
    )
    op.execute(
        """
        create table referral_party (
            referral_id uuid not null,
            role text not null,
            customer_id uuid not null,
            recorded_customer_id uuid not null,
            referred_at timestamptz not null,
            constraint pk_referral_party primary key (referral_id, role),
            constraint ck_referral_party_role check (role in ('referrer', 'referee')),
            constraint fk_referral_party_referral_id foreign key(referral_id) references referral (referral_id),
            constraint fk_referral_party_recorded_customer_id foreign key(recorded_customer_id) references customer (customer_id)
        )
        """
    )
    op.execute(
        """
        create index ix_referral_party_customer_id_referred_at_referral_id on referral_party (customer_id, referred_at, referral_id)
        """
    )
    op.execute(
        """
        create unique index uq_referral_party_referee on referral_party (recorded_customer_id) where role = 'referee'
        """
    )
    op.execute(
        """
        create table customer_tag (
            recorded_customer_id uuid not null,
            tag text not null,
            source text not null,
            customer_id uuid not null,
            since timestamptz not null,
            expires_at timestamptz,
            given_by text not null,
            constraint pk_customer_tag primary key (recorded_customer_id, tag, source),
            constraint fk_customer_tag_customer_id foreign key(customer_id) references customer (customer_id)
        )
        """
    )
    op.execute("create index ix_customer_tag_customer_id on customer_tag (customer_id)")
    op.execute(
        """
        create index ix_customer_tag_expires_at on customer_tag (expires_at) where expires_at is not null
        """
    )
    op.execute("create index ix_customer_tag_source_customer_id on customer_tag (source, customer_id)")
    op.execute(
        """
        create table tag_change (
            change_id bigint generated always as identity,
            customer_id uuid not null,
            recorded_customer_id uuid not null,
            tag text not null,
            action text not null,
            source text not null,
            expires_at timestamptz,
            changed_at timestamptz not null,
            changed_by text not null,
            constraint pk_tag_change primary key (change_id),
            constraint ck_tag_change_action check (action in ('added', 'removed', 'expired'))
        )
        """
    )
    op.execute("create index ix_tag_change_customer_id_change_id on tag_change (customer_id, change_id)")
    op.execute(
        """
        create table tag_rule (
            name text not null,
            tag text not null,
            conditions jsonb not null,
            enabled boolean default true not null,
            version integer default 1 not null,
            created_at timestamptz default now() not null,
            updated_at timestamptz default now() not null,
            updated_by text not null,
            evaluated_at timestamptz,
            tagged_count integer,
            constraint pk_tag_rule primary key (name)
        )
        """
    )
    op.execute(
        """
        create table region_set (
            name text not null,
            kind text not null,
            title text,
            version integer default 1 not null,
            created_at timestamptz default now() not null,
            updated_at timestamptz default now() not null,
            updated_by text not null,
            constraint pk_region_set primary key (name),
            constraint ck_region_set_kind check (kind in ('sales_area', 'climate_zone', 'income_level', 'other'))
        )
        """
    )
    op.execute(
        """
        create table region_place (
            region_set text not null,
            country text not null,
            region text default '' not null,
            city text default '' not null,
            area text not null,
            constraint pk_region_place primary key (region_set, country, region, city),
            constraint fk_region_place_region_set foreign key(region_set) references region_set (name) on delete cascade
        )
        """
    )
    op.execute(
        """
        create index ix_consent_customer_id_collected_at_consent_id on consent (customer_id, collected_at, consent_id)
        """
    )


def downgrade() -> None:
    op.execute("drop index ix_consent_customer_id_collected_at_consent_id")
    for table in (
        "region_place",
        "region_set",
        "tag_rule",
        "tag_change",
        "customer_tag",
        "referral_party",
        "referral",
        "referral_code",
        "referral_programme",
        "interaction",
        "activity",
        "activity_type",
    ):
        op.execute(f"drop table {table}")
