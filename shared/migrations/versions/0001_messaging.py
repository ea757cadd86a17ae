"""Messaging: numbered streams, the outbox by days, watermarks and parked events."""

from alembic import op

revision = "0001"
down_revision = None
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.execute(
        """
        create table shared.stream (
            topic text not null,
            key text not null,
            last bigint not null,
            constraint pk_stream primary key (topic, key)
        ) with (fillfactor = 70)
        """
    )
    op.execute(
        "comment on table shared.stream is 'one row per (topic, key); its lock serialises the writers of a key'"
    )
    op.execute("comment on column shared.stream.last is 'the sequence of the last event announced'")

    # A sequence of its own: identity columns of partitioned tables exist from Postgres 17 only.
    op.execute("create sequence shared.outbox_id_seq")
    op.execute(
        """
        create table shared.outbox (
            created_at timestamptz not null default now(),
            id bigint not null default nextval('shared.outbox_id_seq'),
            event_id uuid not null,
            topic text not null,
            type text not null,
            key text not null,
            sequence bigint not null,
            data jsonb not null,
            traceparent text,
            causation_id uuid,
            constraint pk_outbox primary key (created_at, id)
        ) partition by range (created_at)
        """
    )
    op.execute(
        "comment on table shared.outbox is 'append-only; a partition per day, kept in the schema outbox_days"
        " (shared/messaging/partitions.py)'"
    )
    # The days live in a schema of their own, so that the tables somebody designed can be seen among them.
    op.execute("create schema if not exists outbox_days")
    op.execute(
        """
        do $$
        declare
            midnight timestamptz := date_trunc('day', now() at time zone 'UTC') at time zone 'UTC';
            start timestamptz;
        begin
            for day in -1..30 loop
                start := midnight + make_interval(hours => 24 * day);
                execute format(
                    'create table outbox_days.%I partition of shared.outbox for values from (%L) to (%L)',
                    'd' || to_char(start at time zone 'UTC', 'YYYYMMDD'), start, start + interval '24 hours'
                );
            end loop;
        end $$
        """
    )
    op.execute(
        """
        create table shared.outbox_pending (
            id bigint not null,
            created_at timestamptz not null,
            constraint pk_outbox_pending primary key (id)
        ) with (autovacuum_vacuum_scale_factor = 0, autovacuum_vacuum_threshold = 5000)
        """
    )
    op.execute(
        "comment on table shared.outbox_pending is 'what the bus has not acknowledged yet; narrow, because every row"
        " is written and deleted once'"
    )
    op.execute(
        """
        create table shared.watermark (
            consumer text not null,
            topic text not null,
            key text not null,
            sequence bigint not null,
            constraint pk_watermark primary key (consumer, topic, key)
        ) with (fillfactor = 70)
        """
    )
    op.execute(
        "comment on table shared.watermark is 'how far a consumer has followed a key; at or below it an event is"
        " a repeat'"
    )
    op.execute(
        """
        create table shared.parked_key (
            consumer text not null,
            topic text not null,
            key text not null,
            parked_at timestamptz not null default now(),
            constraint pk_parked_key primary key (consumer, topic, key),
            constraint fk_parked_key_consumer_topic_key foreign key (consumer, topic, key)
                references shared.watermark (consumer, topic, key)
        )
        """
    )
    op.execute(
        "comment on table shared.parked_key is 'keys whose events queue in parked_event; changed only under the lock"
        " of the key''s watermark'"
    )
    op.execute(
        """
        create table shared.parked_event (
            id uuid not null,
            consumer text not null,
            topic text not null,
            key text not null,
            sequence bigint,
            type text,
            partition integer not null,
            position bigint not null,
            value bytea not null,
            digest bytea,
            reason text not null,
            error text,
            attempts integer not null default 0,
            parked_at timestamptz not null default now(),
            next_try_at timestamptz,
            dead_at timestamptz,
            discarded_at timestamptz,
            constraint pk_parked_event primary key (id),
            constraint uq_parked_event_consumer_topic_key_sequence unique (consumer, topic, key, sequence),
            constraint uq_parked_event_consumer_topic_digest unique (consumer, topic, digest)
        )
        """
    )
    for column, comment in {
        "sequence": "null for a record that could not be read",
        "position": "the record''s offset on the bus",
        "digest": "of key and value, for a record that could not be read",
        "reason": "gap, failed, behind, unreadable",
        "dead_at": "after the last try: a dead letter until an operator decides",
        "discarded_at": "an unreadable record stays, so that a replay does not bring it back",
    }.items():
        op.execute(f"comment on column shared.parked_event.{column} is '{comment}'")
    op.execute(
        "create index ix_parked_event_due on shared.parked_event (consumer, next_try_at) where next_try_at is not null"
    )


def downgrade() -> None:
    for table in ("parked_event", "parked_key", "watermark", "outbox_pending", "outbox", "stream"):
        op.execute(f"drop table shared.{table}")
    op.execute("drop sequence shared.outbox_id_seq")
    op.execute("drop schema outbox_days")
