"""The points ledger, rewards, offers and deliveries."""

from alembic import op

revision = "0001"
down_revision = None
branch_labels = None
depends_on = None

STATEMENTS = (
    """
    create table customer (
        customer_id uuid not null,
        natural_key text not null default '-',
        kind text not null default 'unknown',
        country text,
        language text,
        time_zone text,
        state text not null default 'active',
        merged_into uuid,
        registered_at timestamptz,
        constraint pk_customer primary key (customer_id)
    )
    """,
    """
    create table points_account (
        customer_id uuid not null,
        balance bigint not null default 0,
        constraint pk_points_account primary key (customer_id)
    )
    """,
    """
    create table movement (
        movement_id uuid not null,
        position bigint generated always as identity,
        cause text not null,
        kind text not null,
        customer_id uuid not null,
        balance_after bigint not null,
        source text not null,
        reason text not null,
        historical boolean not null,
        effective_at timestamptz not null,
        booked_at timestamptz not null default now(),
        constraint pk_movement primary key (movement_id),
        constraint uq_movement_cause unique (cause),
        constraint ck_movement_kind check (kind in ('earned', 'reversed', 'adjusted', 'spent'))
    )
    """,
    "create index ix_movement_customer_id_position on movement (customer_id, position)",
    """
    create table posting (
        movement_id uuid not null,
        account text not null,
        customer_id uuid,
        points bigint not null,
        constraint pk_posting primary key (movement_id, account),
        constraint ck_posting_account check (account in ('customer', 'liability', 'adjustment')),
        constraint ck_posting_customer check ((account = 'customer') = (customer_id is not null)),
        constraint ck_posting_points check (points <> 0)
    )
    """,
    """
    create table purchase (
        purchase_id uuid not null,
        customer_id uuid not null,
        recorded_customer_id uuid not null,
        source text,
        external_id text,
        recorded_at timestamptz,
        historical boolean not null,
        minor_per_unit integer not null,
        total_minor bigint,
        net_left_minor bigint,
        percent integer not null,
        points bigint not null,
        constraint pk_purchase primary key (purchase_id)
    )
    """,
    "create index ix_purchase_customer_id_recorded_at on purchase (customer_id, recorded_at)",
    """
    create table unmatched_return (
        return_id uuid not null,
        customer_id uuid not null,
        recorded_customer_id uuid not null,
        source text not null,
        external_id text not null,
        recorded_at timestamptz not null,
        points bigint not null,
        constraint pk_unmatched_return primary key (return_id)
    )
    """,
    "create index ix_unmatched_return_customer_id on unmatched_return (customer_id)",
    """
    create table tier_change (
        event_id uuid not null,
        position bigint generated always as identity,
        customer_id uuid not null,
        tier text not null,
        effective_at timestamptz not null,
        constraint pk_tier_change primary key (event_id)
    )
    """,
    """
    create index ix_tier_change_customer_id_effective_at_position
        on tier_change (customer_id, effective_at, position)
    """,
    """
    create table reward (
        reward_id uuid not null,
        name text not null,
        points_price bigint not null,
        stock bigint,
        redeemed_count bigint not null default 0,
        created_at timestamptz not null default now(),
        constraint pk_reward primary key (reward_id),
        constraint ck_reward_points_price check (points_price > 0),
        constraint ck_reward_stock check (stock >= 0)
    )
    """,
    "create index ix_reward_created_at_reward_id on reward (created_at, reward_id)",
    """
    create table redemption (
        redemption_id uuid not null,
        customer_id uuid not null,
        reward_id uuid not null,
        points bigint not null,
        redeemed_at timestamptz not null default now(),
        constraint pk_redemption primary key (redemption_id),
        constraint fk_redemption_reward_id foreign key (reward_id) references reward (reward_id)
    )
    """,
    """
    create index ix_redemption_customer_id_redeemed_at_redemption_id
        on redemption (customer_id, redeemed_at, redemption_id)
    """,
    "create index ix_redemption_reward_id on redemption (reward_id)",
    """
    create table offer (
        offer_id uuid not null,
        campaign_id text not null,
        customer_id uuid not null,
        entry text not null,
        kind text not null,
        percent integer not null,
        tier text not null,
        code text not null,
        issued_at timestamptz not null default now(),
        expires_at timestamptz,
        constraint pk_offer primary key (offer_id),
        constraint uq_offer_campaign_id_customer_id_entry unique (campaign_id, customer_id, entry),
        constraint uq_offer_code unique (code)
    )
    """,
    "create index ix_offer_customer_id_issued_at_offer_id on offer (customer_id, issued_at, offer_id)",
    """
    create table delivery (
        delivery_id uuid not null,
        campaign_id text not null,
        customer_id uuid not null,
        entry text not null,
        channel text not null,
        purpose text not null,
        subject_id uuid not null,
        state text not null default 'pending',
        reason text,
        attempts integer not null default 0,
        due_at timestamptz not null default now(),
        lease uuid,
        leased_until timestamptz,
        consent_id uuid,
        cause_id uuid not null,
        created_at timestamptz not null default now(),
        settled_at timestamptz,
        constraint pk_delivery primary key (delivery_id),
        constraint uq_delivery_campaign_id_customer_id_entry unique (campaign_id, customer_id, entry),
        constraint ck_delivery_state check
            (state in ('pending', 'claimed', 'sending', 'sent', 'skipped', 'failed', 'unknown')),
        constraint ck_delivery_purpose check (purpose in ('marketing', 'survey', 'service'))
    )
    """,
    """
    create index ix_delivery_customer_id_created_at_delivery_id
        on delivery (customer_id, created_at, delivery_id)
    """,
    "create index ix_delivery_due_at on delivery (due_at) where state = 'pending'",
    "create index ix_delivery_leased_until on delivery (leased_until) where state in ('claimed', 'sending')",
    """
    create table promotion_pause (
        customer_id uuid not null,
        satisfaction text not null,
        paused boolean not null,
        changed_at timestamptz not null,
        constraint pk_promotion_pause primary key (customer_id)
    )
    """,
    """
    create table open_case (
        case_id uuid not null,
        customer_id uuid not null,
        constraint pk_open_case primary key (case_id)
    )
    """,
    "create index ix_open_case_customer_id on open_case (customer_id)",
    """
    create table held_back (
        position bigint generated always as identity,
        trigger text not null,
        reason text not null,
        count bigint not null,
        constraint pk_held_back primary key (position)
    )
    """,
)


def upgrade() -> None:
    for statement in STATEMENTS:
        op.execute(statement)


def downgrade() -> None:
    for table in (
        "held_back",
        "open_case",
        "promotion_pause",
        "delivery",
        "offer",
        "redemption",
        "reward",
        "tier_change",
        "unmatched_return",
        "purchase",
        "posting",
        "movement",
        "points_account",
        "customer",
    ):
        op.drop_table(table)
