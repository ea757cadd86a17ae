"""Products, fulfilment, cancellations, exchanges, owned products, address book."""

from alembic import op

revision = "0008"
down_revision = "0007"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.execute(
        """
        create table product (
            product_id uuid not null,
            sku text not null,
            name_zh text,
            name_en text,
            brand text,
            category text collate "C",
            described_as text,
            price_minor bigint,
            currency text,
            stock bigint,
            replenishable boolean default false not null,
            accessory_of text,
            active boolean default true not null,
            complete boolean not null generated always as (
                (name_zh is not null or name_en is not null) and category is not null) stored,
            created_at timestamptz not null,
            updated_at timestamptz not null,
            version integer default 1 not null,
            constraint pk_product primary key (product_id),
            constraint uq_product_sku unique (sku),
            constraint ck_product_price_in_a_currency check ((price_minor is null) = (currency is null)),
            constraint ck_product_accessory_of_another check (accessory_of <> sku)
        )
        """
    )
    op.execute("create index ix_product_incomplete on product (sku) where not complete")
    op.execute("create index ix_product_brand_sku on product (brand, sku)")
    op.execute("create index ix_product_category_sku on product (category, sku)")
    op.execute(
        "create index ix_product_accessory_of on product (accessory_of) where accessory_of is not null"
    )
    op.execute("alter table purchase add column cancelled_at timestamptz")
    op.execute(
        """
        alter table purchase_return add column matched_at timestamptz, add column matched_by text,
            add column told_anonymous boolean default false not null
        """
    )
    op.execute(
        """
        create table fulfilment (
            purchase_id uuid not null,
            shipped_at timestamptz,
            delivered_at timestamptz,
            delivered_on date,
            promised_on date,
            carrier text,
            tracking_number_sealed bytea,
            recorded_at timestamptz not null,
            updated_at timestamptz not null,
            constraint pk_fulfilment primary key (purchase_id),
            constraint ck_fulfilment_delivered_on_a_day check ((delivered_at is null) = (delivered_on is null)),
            constraint fk_fulfilment_purchase_id foreign key (purchase_id) references purchase (purchase_id)
        )
        """
    )
    op.execute(
        """
        create index ix_fulfilment_may_be_late on fulfilment (promised_on, purchase_id)
        where promised_on is not null and (delivered_on is null or delivered_on > promised_on)
        """
    )
    op.execute("create index ix_fulfilment_promised_on_purchase_id on fulfilment (promised_on, purchase_id)")
    op.execute(
        """
        create table purchase_cancellation (
            purchase_id uuid not null,
            occurred_at timestamptz not null,
            recorded_at timestamptz not null,
            historical boolean not null,
            reason text,
            amount_minor bigint not null,
            accounting_amount_minor bigint not null,
            constraint pk_purchase_cancellation primary key (purchase_id),
            constraint fk_purchase_cancellation_purchase_id foreign key (purchase_id) references purchase (purchase_id)
        )
        """
    )
    op.execute(
        """
        create table customer_address (
            address_id uuid not null,
            customer_id uuid not null,
            recorded_customer_id uuid not null,
            kind text not null,
            default_since timestamptz,
            country text,
            region text,
            recipient_sealed bytea,
            phone_sealed bytea,
            street_sealed bytea,
            district_sealed bytea,
            city_sealed bytea,
            postcode_sealed bytea,
            created_at timestamptz not null,
            updated_at timestamptz not null,
            version integer default 1 not null,
            constraint pk_customer_address primary key (address_id),
            constraint ck_customer_address_kind check (kind in ('shipping', 'visit', 'billing')),
            constraint fk_customer_address_recorded_customer_id foreign key (recorded_customer_id) references customer (customer_id)
        )
        """
    )
    op.execute("create index ix_customer_address_customer_id on customer_address (customer_id)")
    op.execute(
        "create index ix_customer_address_recorded_customer_id on customer_address (recorded_customer_id)"
    )
    op.execute(
        """
        create table owned_product (
            owned_product_id uuid not null,
            customer_id uuid not null,
            recorded_customer_id uuid not null,
            sku text not null,
            serial_number_sealed bytea,
            serial_number_token bytea,
            purchase_id uuid,
            line integer,
            acquired_on date,
            warranty_until date,
            registered_at timestamptz not null,
            constraint pk_owned_product primary key (owned_product_id),
            constraint ck_owned_product_from_a_line check ((purchase_id is null) = (line is null)),
            constraint fk_owned_product_recorded_customer_id foreign key (recorded_customer_id) references customer (customer_id),
            constraint fk_owned_product_purchase_id foreign key (purchase_id) references purchase (purchase_id)
        )
        """
    )
    op.execute("create index ix_owned_product_customer_id on owned_product (customer_id)")
    op.execute("create index ix_owned_product_recorded_customer_id on owned_product (recorded_customer_id)")
    op.execute("create index ix_owned_product_purchase_id on owned_product (purchase_id)")
    op.execute(
        """
        create unique index uq_owned_product_serial_number on owned_product (sku, serial_number_token)
        where serial_number_token is not null
        """
    )
    op.execute(
        """
        create index ix_owned_product_warranty_until_owned_product_id on owned_product (warranty_until, owned_product_id)
        where warranty_until is not null
        """
    )
    op.execute(
        """
        create table warranty_extension (
            warranty_extension_id uuid not null,
            owned_product_id uuid not null,
            previous_until date,
            until date not null,
            reason text not null,
            reference text,
            extended_at timestamptz not null,
            extended_by text not null,
            constraint pk_warranty_extension primary key (warranty_extension_id),
            constraint fk_warranty_extension_owned_product_id foreign key (owned_product_id)
                references owned_product (owned_product_id) on delete cascade
        )
        """
    )
    op.execute("create index ix_warranty_extension_owned_product_id on warranty_extension (owned_product_id)")


def downgrade() -> None:
    for table in (
        "warranty_extension",
        "owned_product",
        "customer_address",
        "purchase_cancellation",
        "fulfilment",
    ):
        op.execute(f"drop table {table}")
    op.execute(
        "alter table purchase_return drop column matched_at, drop column matched_by, drop column told_anonymous"
    )
    op.execute("alter table purchase drop column cancelled_at")
    op.execute("drop table product")
