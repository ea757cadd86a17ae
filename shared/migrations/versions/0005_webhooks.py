"""Webhooks: who is called, and each call."""

from alembic import op

revision = "0005"
down_revision = "0004"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.execute(
        """
        create table shared.webhook (
            webhook_id uuid not null constraint pk_webhook primary key,
            url text not null,
            description text,
            event_types text[] not null,
            secret_sealed bytea not null,
            previous_secret_sealed bytea,
            previous_secret_until timestamptz,
            active boolean not null default true,
            created_at timestamptz not null default now(),
            created_by text not null,
            version integer not null default 1,
            failing_since timestamptz,
            stopped_reason text
        )
        """
    )
    op.execute("comment on column shared.webhook.event_types is 'empty = all that this service announces'")
    op.execute(
        "comment on column shared.webhook.previous_secret_sealed is 'signs beside the new one until it runs out'"
    )
    op.execute(
        """
        create table shared.webhook_delivery (
            delivery_id uuid not null default gen_random_uuid() constraint pk_webhook_delivery primary key,
            webhook_id uuid not null
                constraint fk_webhook_delivery_webhook_id_webhook references shared.webhook on delete cascade,
            event_id uuid not null,
            event_type text not null,
            outbox_id bigint,
            announced_at timestamptz not null,
            state text not null default 'pending',
            attempts integer not null default 0,
            due_at timestamptz not null default now(),
            give_up_at timestamptz,
            status_code integer,
            error text,
            finished_at timestamptz,
            constraint ck_webhook_delivery_state check (state in ('pending', 'delivered', 'failed'))
        )
        """
    )
    op.execute("comment on column shared.webhook_delivery.announced_at is 'the outbox''s day'")
    op.execute(
        "create index ix_webhook_delivery_due on shared.webhook_delivery (webhook_id, due_at) where state = 'pending'"
    )
    op.execute(
        "create index ix_webhook_delivery_listing on shared.webhook_delivery (webhook_id, announced_at, delivery_id)"
    )
    op.execute(
        "create index ix_webhook_delivery_finished on shared.webhook_delivery (finished_at) where state <> 'pending'"
    )


def downgrade() -> None:
    op.execute("drop table shared.webhook_delivery, shared.webhook")
