"""Messages on their way: planned by a reaction, claimed by a worker, sent once, recorded.

    pending → claimed (leased) → sending (committed before the server hears of it) → sent | skipped | failed | unknown

A worker that dies while claiming loses its lease and another takes over. One that dies while sending leaves a message
of which nobody knows whether it left: it becomes ``unknown`` and is never sent again by itself. All leases run on the
database's clock.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any
from uuid import UUID

from sqlalchemy import case, select, text, tuple_
from sqlalchemy.orm import Session

from services.campaigns.tables import delivery
from shared.customers import whose
from shared.events.campaigns import MessageSent, MessageSkipped
from shared.ids import uuid7
from shared.messaging.outbox import announce

SURVEY_INVITATION = "survey_invitation"
CASE_REPLY = "case_reply"
# By the kind of what profile asks a customer to confirm.
CONFIRMATIONS = {kind: f"confirmation_{kind}" for kind in ("opt_in", "sign_up", "refresh")}

# Long enough for a worker to ask two services and to get to its last message; each message renews it when its turn
# comes, and one conversation with a mail server is at most four timeouts of ten seconds.
LEASE = timedelta(seconds=120)
FIRST_RETRY = timedelta(seconds=5)
LONGEST_RETRY = timedelta(hours=1)


@dataclass(frozen=True, slots=True)
class Delivery:
    """A message to be sent to a customer, recorded under the same or one merged into it. ``entry`` is what the customer gets it for – once per campaign, customer and entry –,
    ``subject_id`` what it is about (offer, invitation, case message), ``cause_id`` the event that started it."""

    campaign_id: str
    customer_id: UUID
    recorded_customer_id: UUID
    entry: str
    channel: str
    purpose: str
    subject_id: UUID
    cause_id: UUID


def plan(session: Session, deliveries: Sequence[Delivery]) -> None:
    """Put messages on their way; those already planned for the same entry are left alone."""
    if not deliveries:
        return
    session.execute(
        _PLAN,
        {
            "ids": [uuid7() for _ in deliveries],
            "campaigns": [each.campaign_id for each in deliveries],
            "customers": [each.customer_id for each in deliveries],
            "recorded": [each.recorded_customer_id for each in deliveries],
            "entries": [each.entry for each in deliveries],
            "channels": [each.channel for each in deliveries],
            "purposes": [each.purpose for each in deliveries],
            "subjects": [each.subject_id for each in deliveries],
            "causes": [each.cause_id for each in deliveries],
        },
    )


def claim(session: Session, limit: int) -> tuple[UUID, Sequence[Any]]:
    """Take up to ``limit`` due messages under a lease; gives the lease and the deliveries."""
    lease = uuid7()
    found = session.execute(_CLAIM, {"lease": lease, "limit": limit, "span": LEASE}).all()
    return lease, sorted(found, key=lambda row: (row.due_at, row.delivery_id))


def refusals(session: Session, lease: UUID, valid: timedelta) -> Mapping[UUID, str]:
    """Which of the messages under ``lease`` must not go out, and why: ``paused`` (a promotion to a customer who is
    left in peace), ``expired``, ``erased``, ``channel_unavailable``."""
    return {
        row.delivery_id: row.reason
        for row in session.execute(_REFUSALS, {"lease": lease, "valid": valid})
        if row.reason
    }


def begin_sending(
    session: Session, lease: UUID, delivery_id: UUID, consent_id: UUID | None, valid_until: datetime
) -> bool:
    """Say, before the server hears of it, that this message is going out now.

    False = it must not: the lease went to another worker, the contact point's answer is no longer valid, or the
    customer was meanwhile left in peace or turned out to have a dead address. The commit comes before the sending.
    """
    values = {
        "lease": lease,
        "id": delivery_id,
        "consent": consent_id,
        "valid_until": valid_until,
        "span": LEASE,
    }
    return session.scalar(_BEGIN, values) is not None


def record_sent(session: Session, lease: UUID, delivery_id: UUID) -> None:
    """It left. That holds even if the lease ran out meanwhile and the message was taken for lost."""
    row = session.execute(
        _SETTLE,
        {"lease": lease, "id": delivery_id, "state": "sent", "reason": None, "from": ["sending", "unknown"]},
    ).one_or_none()
    if row is not None:
        sent = MessageSent(
            **whose(row.customer_id, row.recorded_customer_id),
            message_id=row.delivery_id,
            campaign_id=row.campaign_id,
            channel=row.channel,
            consent_id=row.consent_id,
            effective_at=row.settled_at,
        )
        announce(session, sent.caused_by(row.cause_id))


def skip(session: Session, lease: UUID, reasons: Mapping[UUID, str]) -> None:
    """These will not be sent, for these reasons."""
    for delivery_id, reason in sorted(reasons.items()):
        values = {
            "lease": lease,
            "id": delivery_id,
            "state": "skipped",
            "reason": reason,
            "from": ["claimed"],
        }
        row = session.execute(_SETTLE, values).one_or_none()
        if row is not None:
            _announce_skipped(session, row)


def cancel(session: Session, recorded: Sequence[UUID], owners: Sequence[UUID]) -> None:
    """Nothing that still waits goes to these erased customers; ``owners`` are those into whom they were merged."""
    ids = {"recorded": list(recorded), "owners": sorted({*recorded, *owners})}
    for row in session.execute(_CANCEL, ids).all():
        _announce_skipped(session, row)


def fail(session: Session, lease: UUID, delivery_id: UUID, reason: str) -> None:
    """The server will never take it."""
    _settle(session, lease, delivery_id, "failed", reason)


def lose(session: Session, lease: UUID, delivery_id: UUID, reason: str) -> None:
    """The connection broke after the message was handed over: whether it left, nobody knows."""
    _settle(session, lease, delivery_id, "unknown", reason)


def postpone(
    session: Session, lease: UUID, delivery_ids: Sequence[UUID], reason: str, attempts: int | None
) -> None:
    """Try again later, after twice the pause each time; past ``attempts`` (None = without limit) it has failed."""
    session.execute(
        _POSTPONE,
        {
            "lease": lease,
            "ids": list(delivery_ids),
            "reason": reason,
            "limit": attempts,
            "first": FIRST_RETRY,
            "longest": LONGEST_RETRY,
        },
    )


def release(session: Session, lease: UUID, delivery_ids: Sequence[UUID]) -> None:
    """Give back, untried, what may be claimed again at once."""
    session.execute(_RELEASE, {"lease": lease, "ids": list(delivery_ids)})


def give_up_lost(session: Session) -> int:
    """Messages whose worker died while sending become ``unknown``; gives how many."""
    return len(session.execute(_GIVE_UP).all())


def of_customer(
    session: Session, customer_id: UUID, after: tuple[datetime, UUID] | None, limit: int
) -> Sequence[Any]:
    """The customer's messages, the latest first."""
    query = select(
        delivery.c.delivery_id.label("id"),
        delivery.c.campaign_id,
        delivery.c.channel,
        delivery.c.purpose,
        # Whoever asks need not know that a worker has its hand on it.
        case((delivery.c.state.in_(("claimed", "sending")), "pending"), else_=delivery.c.state).label(
            "state"
        ),
        delivery.c.reason,
        delivery.c.consent_id,
        delivery.c.created_at,
        delivery.c.settled_at,
    ).where(delivery.c.customer_id == customer_id)
    if after is not None:
        query = query.where(tuple_(delivery.c.created_at, delivery.c.delivery_id) < after)
    return session.execute(
        query.order_by(delivery.c.created_at.desc(), delivery.c.delivery_id.desc()).limit(limit)
    ).all()


def _announce_skipped(session: Session, row: Any) -> None:
    skipped = MessageSkipped(
        **whose(row.customer_id, row.recorded_customer_id),
        message_id=row.delivery_id,
        campaign_id=row.campaign_id,
        channel=row.channel,
        reason=row.reason,
        effective_at=row.settled_at,
    )
    announce(session, skipped.caused_by(row.cause_id))


def _settle(session: Session, lease: UUID, delivery_id: UUID, state: str, reason: str) -> None:
    values = {
        "lease": lease,
        "id": delivery_id,
        "state": state,
        "reason": reason,
        "from": ["claimed", "sending"],
    }
    session.execute(_SETTLE, values)


_PLAN = text("""
    insert into delivery
        (delivery_id, campaign_id, customer_id, recorded_customer_id, entry, channel, purpose, subject_id, cause_id)
    select * from unnest(
        cast(:ids as uuid[]), cast(:campaigns as text[]), cast(:customers as uuid[]), cast(:recorded as uuid[]),
        cast(:entries as text[]), cast(:channels as text[]), cast(:purposes as text[]), cast(:subjects as uuid[]), cast(:causes as uuid[]))
    on conflict (campaign_id, customer_id, entry) do nothing
""")

# A customer whose address is dead, of which profile was not told yet: the next message waits for what profile says then.
_UNTOLD = """
    exists (select from bounce b where b.customer_id = d.customer_id and b.channel = d.channel and b.told_at is null)
"""

_CLAIM = text(f"""
    with fresh as (
        select delivery_id from delivery d where state = 'pending' and due_at <= clock_timestamp() and not {_UNTOLD}
        order by due_at limit :limit for update skip locked
    ), left_behind as (
        select delivery_id from delivery where state = 'claimed' and leased_until < clock_timestamp()
        order by leased_until limit :limit for update skip locked
    )
    update delivery d set state = 'claimed', lease = :lease, leased_until = clock_timestamp() + :span,
        attempts = d.attempts + 1
    from (select delivery_id from fresh union all select delivery_id from left_behind) due
    where d.delivery_id = due.delivery_id
    returning d.delivery_id, d.campaign_id, d.customer_id, d.channel, d.purpose, d.subject_id, d.due_at
""")

_REFUSALS = text("""
    select d.delivery_id, case
        when c.state = 'erased' then 'erased'
        when d.created_at < clock_timestamp() - cast(:valid as interval) then 'expired'
        when d.channel <> 'email' then 'channel_unavailable'
        when d.purpose = 'marketing' and exists (
            select from promotion_pause p where p.customer_id = d.customer_id and p.paused) then 'paused'
    end as reason
    from delivery d
    left join customer c on c.customer_id = d.customer_id
    where d.lease = :lease and d.state = 'claimed'
""")

_BEGIN = text(f"""
    update delivery d set state = 'sending', consent_id = :consent, leased_until = clock_timestamp() + :span
    where d.delivery_id = :id and d.lease = :lease and d.state = 'claimed' and clock_timestamp() < :valid_until
        and not (d.purpose = 'marketing' and exists (
            select from promotion_pause p where p.customer_id = d.customer_id and p.paused))
        and not {_UNTOLD}
    returning d.delivery_id
""")

_SETTLE = text("""
    update delivery set state = :state, reason = :reason, leased_until = null, settled_at = clock_timestamp()
    where delivery_id = :id and lease = :lease and state = any(cast(:from as text[]))
    returning delivery_id, campaign_id, customer_id, recorded_customer_id, channel, reason, consent_id, cause_id,
        settled_at
""")

_CANCEL = text("""
    update delivery set state = 'skipped', reason = 'erased', lease = null, leased_until = null,
        settled_at = clock_timestamp()
    where customer_id = any(cast(:owners as uuid[])) and state in ('pending', 'claimed')
        and (recorded_customer_id = any(cast(:recorded as uuid[])) or customer_id = any(cast(:recorded as uuid[])))
    returning delivery_id, campaign_id, customer_id, recorded_customer_id, channel, reason, cause_id, settled_at
""")

_POSTPONE = text("""
    update delivery set
        state = case when attempts >= :limit then 'failed' else 'pending' end,
        settled_at = case when attempts >= :limit then clock_timestamp() end,
        reason = :reason,
        due_at = clock_timestamp() + least(
            cast(:first as interval) * power(2, least(attempts - 1, 20)), cast(:longest as interval)),
        lease = null, leased_until = null
    where delivery_id = any(cast(:ids as uuid[])) and lease = :lease and state in ('claimed', 'sending')
""")

_RELEASE = text("""
    update delivery set state = 'pending', attempts = attempts - 1, lease = null, leased_until = null
    where delivery_id = any(cast(:ids as uuid[])) and lease = :lease and state = 'claimed'
""")

_GIVE_UP = text("""
    update delivery set state = 'unknown', reason = 'worker_lost', settled_at = clock_timestamp(), leased_until = null
    where state = 'sending' and leased_until < clock_timestamp()
    returning delivery_id
""")
