"""All sides of a customer: facts, defined attributes, contacts, how fresh it all is."""

from alembic import op

revision = "0003"
down_revision = "0002"


def upgrade() -> None:
    op.execute(
        """
        alter table customer
            add postcode_sealed bytea,
            add city text,
            add gender text,
            add education text,
            add income_band text,
            add industry text,
            add organisation_size text,
            add interests text[] default '{}' not null,
            add lifestyle text,
            add personal_values text[] default '{}' not null,
            add attributes jsonb default '{}' not null,
            add attributes_sealed bytea,
            add provenance jsonb default '{}' not null,
            add completeness smallint default 0 not null,
            add due_at timestamptz default now(),
            add tier text
        """
    )
    op.execute("create index ix_customer_due on customer (due_at, customer_id) where state = 'active'")
    op.execute(
        """
        create table attribute_definition (
            name text collate "C" not null,
            type text not null,
            description text,
            allowed_values text[] default '{}' not null,
            personal boolean not null,
            required boolean not null,
            created_at timestamptz not null,
            updated_at timestamptz not null,
            retired_at timestamptz,
            version integer default 1 not null,
            constraint pk_attribute_definition primary key (name),
            constraint ck_attribute_definition_type
                check (type in ('text', 'number', 'boolean', 'date', 'choice', 'list'))
        )
        """
    )
    op.execute(
        """
        create table customer_measure (
            customer_id uuid not null,
            name text not null,
            value numeric not null,
            constraint pk_customer_measure primary key (customer_id, name),
            constraint fk_customer_measure_customer_id foreign key (customer_id)
                references customer (customer_id)
        )
        """
    )
    op.execute(
        "create index ix_customer_measure_name_value_customer_id on customer_measure (name, value, customer_id)"
    )
    op.execute(
        """
        create table upkeep_policy (
            kind text not null,
            expected text[] not null,
            stale_after_days integer not null,
            stale_after_days_of jsonb default '{}' not null,
            updated_at timestamptz default now() not null,
            version integer default 1 not null,
            assessed_by text,
            constraint pk_upkeep_policy primary key (kind),
            constraint ck_upkeep_policy_kind check (kind in ('person', 'organisation'))
        )
        """
    )
    op.execute(
        """
        insert into upkeep_policy (kind, expected, stale_after_days, stale_after_days_of) values
            ('person', '{name, email, phone, birth_date, country, language}', 730,
                '{"name": null, "birth_date": null}'),
            ('organisation', '{name, email, phone, country, industry, organisation_size}', 730, '{"name": null}')
        """
    )
    op.execute(
        """
        create table contact (
            contact_id uuid not null,
            customer_id uuid not null,
            recorded_customer_id uuid not null,
            role text,
            name_sealed bytea,
            email_sealed bytea,
            phone_sealed bytea,
            language text,
            created_at timestamptz not null,
            updated_at timestamptz not null,
            version integer default 1 not null,
            constraint pk_contact primary key (contact_id),
            constraint fk_contact_customer_id foreign key (customer_id) references customer (customer_id)
        )
        """
    )
    op.execute(
        "create index ix_contact_customer_id_created_at_contact_id on contact (customer_id, created_at, contact_id)"
    )


def downgrade() -> None:
    op.execute("drop table contact")
    op.execute("drop table upkeep_policy")
    op.execute("drop table customer_measure")
    op.execute("drop table attribute_definition")
    op.execute(
        """
        alter table customer
            drop postcode_sealed, drop city, drop gender, drop education, drop income_band, drop industry,
            drop organisation_size, drop interests, drop lifestyle, drop personal_values, drop attributes,
            drop attributes_sealed, drop provenance, drop completeness, drop due_at, drop tier
        """
    )
