"""The calls that are due: claimed, and settled by what came of them. The database's clock decides.

    pending → delivered | failed (24 hours of tries, or stopped)        a claim is only a due time moved ahead

Whoever claimed a call and died leaves it to be claimed again: at least once, and the receiver tells repeats by
``webhook-id``.
"""

from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta
from typing import Any, NamedTuple
from uuid import UUID

from sqlalchemy import text
from sqlalchemy.orm import Session

from shared import sealing
from shared.messaging import relay
from shared.webhooks import backoff
from shared.webhooks.subscriptions import TEST_TYPE, subject_of

# Longer than a call may take.
LEASE = timedelta(seconds=60)
# Calls at a time to one receiver; to one that fails, a single one at a time finds out whether it is back.
AT_ONCE = 8
KEEP_DELIVERED = timedelta(days=3)
KEEP_FAILED = timedelta(days=14)

# Receivers one by one, so that one with a long queue does not stand in the way of the others.
_CLAIM = text(
    """
    with busy as (select * from unnest(cast(:busy as uuid[]), cast(:calls as integer[])) as b (webhook_id, calls)),
    due as (
        select d.delivery_id, w.webhook_id, w.url, w.secret_sealed,
            case when w.previous_secret_until > now() then w.previous_secret_sealed end as previous_secret_sealed
        from shared.webhook w
        left join busy using (webhook_id)
        cross join lateral (
            select delivery_id from shared.webhook_delivery d
            where d.webhook_id = w.webhook_id and d.state = 'pending' and d.due_at <= now()
            order by d.due_at
            limit greatest(0, case when w.failing_since is null then :at_once else 1 end - coalesce(busy.calls, 0))
            for update skip locked
        ) d
        where w.active
        limit :limit
    )
    update shared.webhook_delivery d set attempts = d.attempts + 1, due_at = now() + cast(:lease as interval),
        give_up_at = coalesce(d.give_up_at, now() + cast(:give_up_after as interval))
    from due where d.delivery_id = due.delivery_id
    returning d.delivery_id, due.webhook_id, due.url, due.secret_sealed, due.previous_secret_sealed, d.event_id,
        d.event_type, d.outbox_id, d.announced_at, d.attempts, now() as sent_at
    """
)
_EVENTS = text(
    """
    select o.id, o.event_id, o.topic, o.type, o.key, o.sequence, o.created_at, o.data::text, o.traceparent,
        o.causation_id
    from unnest(cast(:days as timestamptz[]), cast(:ids as bigint[])) as w (created_at, id)
    cross join lateral (
        select * from shared.outbox o where o.created_at = w.created_at and o.id = w.id offset 0
    ) o
    """
)
_DELIVERED = text(
    """
    with done as (
        update shared.webhook_delivery set state = 'delivered', status_code = :status, error = null, finished_at = now()
        where delivery_id = :id and state = 'pending'
    )
    update shared.webhook set failing_since = null where webhook_id = :webhook_id and failing_since is not null
    """
)
_FAILED = text(
    """
    with done as (
        update shared.webhook_delivery set
            state = case when now() + cast(:pause as interval) > give_up_at then 'failed' else 'pending' end,
            finished_at = case when now() + cast(:pause as interval) > give_up_at then now() end,
            due_at = now() + cast(:pause as interval), status_code = :status, error = :error
        where delivery_id = :id and state = 'pending'
        returning state
    ), counted as (
        update shared.webhook set failing_since = now() where webhook_id = :webhook_id and failing_since is null
    )
    select state from done
    """
)
_STOP = text(
    """
    update shared.webhook set active = false, stopped_reason = :reason, version = version + 1
    where webhook_id = :webhook_id and active
    """
)


class Call(NamedTuple):
    """One call to be made now; ``body`` is the event as it stands on the bus."""

    delivery_id: UUID
    webhook_id: UUID
    url: str
    secrets: Sequence[str]
    event_id: UUID
    body: bytes
    attempts: int
    sent_at: datetime


def claim(session: Session, limit: int, busy: Mapping[UUID, int]) -> list[Call]:
    """Take up to ``limit`` calls that are due; ``busy`` counts those that are being made, by webhook. A call whose event
    is no longer kept has failed (``event_expired``)."""
    rows = session.execute(
        _CLAIM,
        {
            "busy": list(busy),
            "calls": list(busy.values()),
            "at_once": AT_ONCE,
            "limit": limit,
            "lease": LEASE,
            "give_up_after": backoff.GIVE_UP_AFTER,
        },
    ).all()
    if not rows:
        return []
    bodies = _bodies(session, rows)
    _settle_expired(session, [row.delivery_id for row in rows if row.delivery_id not in bodies])
    live = sorted(
        (row for row in rows if row.delivery_id in bodies),
        key=lambda row: (row.announced_at, row.outbox_id or 0),
    )
    secrets = _secrets(session, live)
    return [
        Call(
            row.delivery_id,
            row.webhook_id,
            row.url,
            secrets[row.webhook_id],
            row.event_id,
            bodies[row.delivery_id],
            row.attempts,
            row.sent_at,
        )
        for row in live
    ]


def settle_delivered(session: Session, call: Call, status: int) -> None:
    """It arrived, and so the receiver is well."""
    session.execute(_DELIVERED, {"id": call.delivery_id, "webhook_id": call.webhook_id, "status": status})


def settle_failed(
    session: Session, call: Call, status: int | None, error: str, asked: timedelta | None = None
) -> str:
    """It did not arrive: again after a while, or never (``failed``) when 24 hours are over. Returns the new state."""
    values = {
        "id": call.delivery_id,
        "webhook_id": call.webhook_id,
        "status": status,
        "error": error,
        "pause": backoff.pause_after(call.attempts, asked),
    }
    return session.scalar(_FAILED, values) or "failed"


def stop(session: Session, webhook_id: UUID, reason: str) -> None:
    """Call this receiver no more until somebody activates it again."""
    session.execute(_STOP, {"webhook_id": webhook_id, "reason": reason})


def forget_finished(session: Session, limit: int = 10_000) -> int:
    """Delete what was delivered three days ago or failed two weeks ago, and what a resting webhook has missed for as
    long; returns how many."""
    session.execute(
        text(
            "delete from shared.webhook_delivery d using shared.webhook w where d.webhook_id = w.webhook_id"
            " and not w.active and d.announced_at < now() - cast(:missed as interval)"
        ),
        {"missed": KEEP_FAILED},
    )
    return session.execute(  # type: ignore[attr-defined,no-any-return]
        text(
            """
            delete from shared.webhook_delivery where delivery_id in (
                select delivery_id from shared.webhook_delivery
                where state <> 'pending' and finished_at < now() - case state
                    when 'delivered' then cast(:delivered as interval) else cast(:failed as interval) end
                order by finished_at limit :limit)
            """
        ),
        {"delivered": KEEP_DELIVERED, "failed": KEEP_FAILED, "limit": limit},
    ).rowcount


def _bodies(session: Session, rows: Sequence[Any]) -> dict[UUID, bytes]:
    announced = {row.outbox_id: row for row in rows if row.outbox_id is not None}
    events = session.execute(
        _EVENTS,
        {"days": [row.announced_at for row in announced.values()], "ids": list(announced)},
    ).all()
    by_event = {event[1]: relay.message(*event[1:]).value for event in events}
    bodies = {row.delivery_id: by_event[row.event_id] for row in rows if row.event_id in by_event}
    bodies |= {row.delivery_id: _test_body(row) for row in rows if row.event_type == TEST_TYPE}
    return bodies


def _test_body(row: Any) -> bytes:
    return relay.message(
        row.event_id, "", TEST_TYPE, str(row.webhook_id), 1, row.announced_at, "{}", None, None
    ).value


def _secrets(session: Session, rows: Sequence[Any]) -> dict[UUID, list[str]]:
    """What calls are signed with, by webhook: its secret, and for a while the one before."""
    webhooks = {row.webhook_id: row for row in rows}
    sealed = [
        (subject_of(webhook_id), f"webhook.secret:{webhook_id}", secret)
        for webhook_id, row in webhooks.items()
        for secret in (row.secret_sealed, row.previous_secret_sealed)
    ]
    opened = iter(sealing.unseal_many(session, sealed))
    return {
        webhook_id: [secret for secret in (next(opened), next(opened)) if secret is not None]
        for webhook_id in webhooks
    }


def _settle_expired(session: Session, delivery_ids: Sequence[UUID]) -> None:
    if delivery_ids:
        session.execute(
            text(
                "update shared.webhook_delivery set state = 'failed', error = 'event_expired', finished_at = now()"
                " where delivery_id = any(cast(:ids as uuid[]))"
            ),
            {"ids": list(delivery_ids)},
        )
