"""Identities, logins on devices, merges, likely duplicates; a fact's owner is not a foreign key."""

from alembic import op

revision = "0005"
down_revision = "0004"


def upgrade() -> None:
    op.execute(
        """
        create table customer_identity (
            identity_id uuid not null,
            customer_id uuid not null,
            namespace text not null,
            value_sealed bytea not null,
            token bytea not null,
            verified_at timestamptz,
            added_at timestamptz not null,
            added_by text not null,
            constraint pk_customer_identity primary key (identity_id),
            constraint uq_customer_identity_customer_id_namespace_token unique (customer_id, namespace, token),
            constraint ck_customer_identity_namespace check (namespace in
                ('email', 'phone', 'wechat_openid', 'wechat_unionid', 'pos_card', 'cookie', 'device')),
            constraint fk_customer_identity_customer_id foreign key (customer_id) references customer (customer_id)
        )
        """
    )
    op.execute(
        """
        create unique index uq_customer_identity_verified on customer_identity (namespace, token)
        where verified_at is not null and namespace not in ('cookie', 'device')
        """
    )
    op.execute("create index ix_customer_identity_token on customer_identity (token)")
    op.execute(
        """
        create table device_session (
            session_id uuid not null,
            device_token bytea not null,
            customer_id uuid not null,
            began_at timestamptz not null,
            ended_at timestamptz,
            constraint pk_device_session primary key (session_id),
            constraint ck_device_session_ends_after_it_began check (ended_at >= began_at),
            constraint fk_device_session_customer_id foreign key (customer_id) references customer (customer_id)
        )
        """
    )
    op.execute(
        "create unique index uq_device_session_open on device_session (device_token) where ended_at is null"
    )
    op.execute("create index ix_device_session_customer_id on device_session (customer_id)")
    op.execute(
        "create index ix_device_session_device_token_began_at on device_session (device_token, began_at)"
    )
    op.execute(
        """
        create table merge (
            merge_id uuid not null,
            winner_id uuid not null,
            loser_id uuid not null,
            origin text not null,
            strategies jsonb default '{}' not null,
            changes_sealed bytea,
            last_consent bigint not null,
            merged_at timestamptz not null,
            merged_by text not null,
            undo_until timestamptz not null,
            undone_at timestamptz,
            undone_by text,
            constraint pk_merge primary key (merge_id),
            constraint ck_merge_origin check (origin in ('person', 'identity')),
            constraint ck_merge_two_customers check (winner_id <> loser_id),
            constraint ck_merge_undone check ((undone_at is null) = (undone_by is null)),
            constraint fk_merge_winner_id foreign key (winner_id) references customer (customer_id),
            constraint fk_merge_loser_id foreign key (loser_id) references customer (customer_id)
        )
        """
    )
    op.execute("create unique index uq_merge_loser_id on merge (loser_id) where undone_at is null")
    op.execute("create index ix_merge_winner_id on merge (winner_id)")
    op.execute("create index ix_merge_loser_id_merged_at on merge (loser_id, merged_at)")
    op.execute("create index ix_merge_merged_at_merge_id on merge (merged_at, merge_id)")
    op.execute(
        """
        create table duplicate (
            duplicate_id uuid not null,
            first_id uuid not null,
            second_id uuid not null,
            evidence text[] not null,
            score smallint not null,
            found_at timestamptz not null,
            dismissed_at timestamptz,
            dismissed_by text,
            constraint pk_duplicate primary key (duplicate_id),
            constraint uq_duplicate_first_id_second_id unique (first_id, second_id),
            constraint ck_duplicate_in_order check (first_id < second_id),
            constraint ck_duplicate_dismissed check ((dismissed_at is null) = (dismissed_by is null)),
            constraint fk_duplicate_first_id foreign key (first_id) references customer (customer_id),
            constraint fk_duplicate_second_id foreign key (second_id) references customer (customer_id)
        )
        """
    )
    op.execute("create index ix_duplicate_second_id on duplicate (second_id)")
    op.execute("create index ix_duplicate_open on duplicate (score, duplicate_id) where dismissed_at is null")
    op.execute("create index ix_customer_merged_into on customer (merged_into) where merged_into is not null")
    # Whoever records a fact locks the customer under whom it is recorded, and that row alone. A foreign key of the owner
    # would lock a second row, in an order that nobody chose, and would be checked again for every row that a merge moves.
    for table in ("purchase", "purchase_return"):
        op.execute(f"alter table {table} drop constraint fk_{table}_customer_id")
        op.execute(
            f"alter table {table} add constraint fk_{table}_recorded_customer_id "
            "foreign key (recorded_customer_id) references customer (customer_id)"
        )


def downgrade() -> None:
    for table in ("purchase", "purchase_return"):
        op.execute(f"alter table {table} drop constraint fk_{table}_recorded_customer_id")
        op.execute(
            f"alter table {table} add constraint fk_{table}_customer_id "
            "foreign key (customer_id) references customer (customer_id)"
        )
    op.execute("drop index ix_customer_merged_into")
    for table in ("duplicate", "merge", "device_session", "customer_identity"):
        op.execute(f"drop table {table}")
