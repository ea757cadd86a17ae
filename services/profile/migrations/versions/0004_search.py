"""Blind indexes and what lists filter by."""

from alembic import op

revision = "0004"
down_revision = "0003"


def upgrade() -> None:
    # Each fact as one text, so that one index answers any combination of them. Lists first: most customers have none.
    op.execute(
        """
        create function customer_facets(
            kind text, birth_month_day text, country text, region text, city text, gender text, education text,
            income_band text, industry text, organisation_size text, lifestyle text, language text, time_zone text,
            acquisition_channel text, tier text, interests text[], personal_values text[], tags text[],
            staff_ids text[], teams text[], stores text[], attributes jsonb
        ) returns text[] language plpgsql immutable parallel safe as $$
        declare
            facets text[] := '{}';
        begin
            if interests <> '{}' then
                facets := facets || array(select 'interest=' || each from unnest(interests) each);
            end if;
            if personal_values <> '{}' then
                facets := facets || array(select 'personal_value=' || each from unnest(personal_values) each);
            end if;
            if tags <> '{}' then
                facets := facets || array(select 'tag=' || each from unnest(tags) each);
            end if;
            if staff_ids <> '{}' then
                facets := facets || array(select 'staff_id=' || each from unnest(staff_ids) each);
            end if;
            if teams <> '{}' then
                facets := facets || array(select 'team=' || each from unnest(teams) each);
            end if;
            if stores <> '{}' then
                facets := facets || array(select 'store=' || each from unnest(stores) each);
            end if;
            if attributes <> '{}' then
                facets := facets || array(
                    select 'attribute.' || key || '=' || one
                    from jsonb_each(attributes) as a (key, value)
                    cross join lateral (
                        select jsonb_array_elements_text(value) as one where jsonb_typeof(value) = 'array'
                        union all
                        select value #>> '{}' where jsonb_typeof(value) not in ('array', 'object', 'null')
                    ) each
                );
            end if;
            return facets || array_remove(array[
                'kind=' || kind, 'birthday=' || birth_month_day, 'country=' || country, 'region=' || region,
                'city=' || city, 'gender=' || gender, 'education=' || education, 'income_band=' || income_band,
                'industry=' || industry, 'organisation_size=' || organisation_size, 'lifestyle=' || lifestyle,
                'language=' || language, 'time_zone=' || time_zone,
                'acquisition_channel=' || acquisition_channel, 'tier=' || tier
            ], null);
        end
        $$
        """
    )
    # Whose customer it is: what a member of staff's token reaches.
    op.execute(
        """
        alter table customer
            add staff_ids text[] not null default '{}',
            add teams text[] not null default '{}',
            add stores text[] not null default '{}'
        """
    )
    op.execute(
        """
        alter table customer add facets text[] generated always as (
            customer_facets(kind, birth_month_day, country, region, city, gender, education, income_band, industry,
                organisation_size, lifestyle, language, time_zone, acquisition_channel, tier, interests,
                personal_values, tags, staff_ids, teams, stores, attributes)
        ) stored
        """
    )
    op.execute("create index ix_customer_facets on customer using gin (facets)")
    op.execute("drop index ix_customer_country_created_at_customer_id")
    op.execute("create index ix_customer_external_id_external_id on customer_external_id (external_id)")
    op.execute(
        """
        create table customer_token (
            token bytea not null,
            customer_id uuid not null,
            holder_id uuid not null,
            field text not null,
            constraint pk_customer_token primary key (token, customer_id, holder_id),
            constraint fk_customer_token_customer_id foreign key (customer_id)
                references customer (customer_id)
        )
        """
    )
    op.execute(
        "create index ix_customer_token_customer_id_holder_id on customer_token (customer_id, holder_id)"
    )
    # Who bought in a span of time, without looking at the purchases themselves.
    op.execute("create index ix_purchase_occurred_at_customer_id on purchase (occurred_at, customer_id)")


def downgrade() -> None:
    op.execute("drop index ix_purchase_occurred_at_customer_id")
    op.execute("drop table customer_token")
    op.execute("drop index ix_customer_external_id_external_id")
    op.execute(
        "create index ix_customer_country_created_at_customer_id on customer (country, created_at, customer_id)"
    )
    op.execute("alter table customer drop facets, drop staff_ids, drop teams, drop stores")
    op.execute("drop function customer_facets")
