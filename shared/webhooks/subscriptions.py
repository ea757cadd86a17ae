"""Who wants to be called: made, changed, given a new secret, tested, and asked what became of its calls."""

from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta
from typing import Any
from uuid import UUID

from sqlalchemy import Row, delete, insert, select, text, tuple_, update
from sqlalchemy.orm import Session

from shared import audit, outbound, sealing
from shared.errors import Conflict, Fault, Invalid, NotFound
from shared.events.catalogue import EVENTS
from shared.events.contracts import service_of
from shared.ids import uuid7
from shared.webhooks.signing import new_secret
from shared.webhooks.tables import webhook, webhook_delivery

TEST_TYPE = "regulars.webhook.test.v1"
# For so long the old secret signs beside the new one.
SECRETS_OVERLAP = timedelta(hours=24)
MOST = 100


def event_types(service: str) -> list[str]:
    """What a service announces, hence what can be subscribed to."""
    return sorted(event.type for event in EVENTS.values() if service_of(event) == service)


def create(
    session: Session, *, url: str, types: Sequence[str], description: str | None, by: str, now: datetime
) -> tuple[Row[Any], str]:
    """The webhook and its secret, which is shown this once. Raises Invalid for an address that may not be called or an
    event that this service does not announce, Conflict ``too_many_webhooks``."""
    _check(session, url, types)
    # One row serialises those who count.
    session.execute(text("select pg_advisory_xact_lock(hashtextextended('webhooks', 0))"))
    if (session.scalar(text("select count(*) from shared.webhook")) or 0) >= MOST:
        raise Conflict("too_many_webhooks", f"there are {MOST} webhooks already")
    webhook_id, secret = uuid7(), new_secret()
    row = session.execute(
        insert(webhook)
        .values(
            webhook_id=webhook_id,
            url=url,
            description=description,
            event_types=sorted(set(types)),
            secret_sealed=sealing.seal(
                session, subject_of(webhook_id), f"webhook.secret:{webhook_id}", secret
            ),
            created_at=now,
            created_by=by,
        )
        .returning(webhook)
    ).one()
    audit.record(session, "webhook_created", by=by, subject=str(webhook_id))
    return row, secret


def listing(session: Session, *, limit: int, after: Sequence[Any] | None) -> Sequence[Row[Any]]:
    """The oldest first."""
    wanted = select(webhook).order_by(webhook.c.created_at, webhook.c.webhook_id).limit(limit)
    if after:
        wanted = wanted.where(tuple_(webhook.c.created_at, webhook.c.webhook_id) > tuple_(*after))
    return session.execute(wanted).all()


def get(session: Session, webhook_id: UUID, *, lock: bool = False) -> Row[Any]:
    """Raises NotFound ``webhook_not_found``."""
    wanted = select(webhook).where(webhook.c.webhook_id == webhook_id)
    row = session.execute(wanted.with_for_update() if lock else wanted).one_or_none()
    if row is None:
        raise NotFound("webhook_not_found", "no such webhook")
    return row


def change(session: Session, row: Row[Any], given: Mapping[str, Any], by: str) -> Row[Any]:
    """Write ``given`` (url, description, event_types, active) over a locked row. What waits is kept while a webhook rests,
    and called once it is active again, unless it is too old by then."""
    _check(session, given.get("url", row.url), given.get("event_types", row.event_types))
    values = dict(given)
    if "event_types" in values:
        values["event_types"] = sorted(set(values["event_types"]))
    if values.get("active"):
        values |= {"stopped_reason": None, "failing_since": None}
    audit.record(session, "webhook_changed", by=by, subject=str(row.webhook_id))
    return session.execute(
        update(webhook)
        .where(webhook.c.webhook_id == row.webhook_id)
        .values(**values, version=webhook.c.version + 1)
        .returning(webhook)
    ).one()


def remove(session: Session, webhook_id: UUID, by: str) -> None:
    """Nothing more is sent; what waited goes with it."""
    get(session, webhook_id, lock=True)
    session.execute(delete(webhook).where(webhook.c.webhook_id == webhook_id))
    sealing.destroy(session, subject_of(webhook_id))
    audit.record(session, "webhook_removed", by=by, subject=str(webhook_id))


def replace_secret(session: Session, webhook_id: UUID, by: str, now: datetime) -> tuple[Row[Any], str]:
    """A new secret, shown this once; the old one signs beside it for a day."""
    row = get(session, webhook_id, lock=True)
    secret = new_secret()
    place = f"webhook.secret:{webhook_id}"
    changed = session.execute(
        update(webhook)
        .where(webhook.c.webhook_id == webhook_id)
        .values(
            secret_sealed=sealing.seal(session, subject_of(webhook_id), place, secret),
            previous_secret_sealed=row.secret_sealed,
            previous_secret_until=now + SECRETS_OVERLAP,
        )
        .returning(webhook)
    ).one()
    audit.record(session, "webhook_secret_replaced", by=by, subject=str(webhook_id))
    return changed, secret


def test(session: Session, webhook_id: UUID, now: datetime) -> Row[Any]:
    """Have one call made that is about nothing, to see whether it arrives. Raises Conflict ``webhook_inactive``."""
    if not get(session, webhook_id).active:
        raise Conflict("webhook_inactive", "this webhook is not active")
    return session.execute(
        insert(webhook_delivery)
        .values(
            delivery_id=uuid7(),
            webhook_id=webhook_id,
            event_id=uuid7(),
            event_type=TEST_TYPE,
            announced_at=now,
            due_at=now,
        )
        .returning(webhook_delivery)
    ).one()


def deliveries(
    session: Session,
    webhook_id: UUID,
    *,
    limit: int,
    after: Sequence[Any] | None,
    states: Sequence[str] = (),
) -> Sequence[Row[Any]]:
    """The newest first. Raises NotFound."""
    get(session, webhook_id)
    columns = webhook_delivery.c
    wanted = (
        select(webhook_delivery)
        .where(columns.webhook_id == webhook_id)
        .order_by(columns.announced_at.desc(), columns.delivery_id.desc())
        .limit(limit)
    )
    if states:
        wanted = wanted.where(columns.state.in_(states))
    if after:
        wanted = wanted.where(tuple_(columns.announced_at, columns.delivery_id) < tuple_(*after))
    return session.execute(wanted).all()


def redeliver(session: Session, webhook_id: UUID, delivery_id: UUID, now: datetime) -> Row[Any]:
    """Have one call made again, whatever became of it. Raises NotFound, Conflict ``event_expired`` when the event is no
    longer kept."""
    get(session, webhook_id)
    row = session.execute(
        select(webhook_delivery)
        .where(webhook_delivery.c.webhook_id == webhook_id, webhook_delivery.c.delivery_id == delivery_id)
        .with_for_update()
    ).one_or_none()
    if row is None:
        raise NotFound("delivery_not_found", "no such delivery")
    kept = row.outbox_id is None or session.scalar(
        text("select true from shared.outbox where created_at = :day and id = :id"),
        {"day": row.announced_at, "id": row.outbox_id},
    )
    if not kept:
        raise Conflict("event_expired", "the event is no longer kept")
    return session.execute(
        update(webhook_delivery)
        .where(webhook_delivery.c.delivery_id == delivery_id)
        .values(state="pending", attempts=0, due_at=now, give_up_at=None, finished_at=None)
        .returning(webhook_delivery)
    ).one()


def redeliver_failed(session: Session, webhook_id: UUID, since: datetime, now: datetime) -> int:
    """Have every call made again that failed and whose event was announced since then; returns how many."""
    get(session, webhook_id)
    again = session.execute(
        text(
            """
            update shared.webhook_delivery d set state = 'pending', attempts = 0, due_at = :now, give_up_at = null,
                finished_at = null
            where webhook_id = :webhook_id and state = 'failed' and announced_at >= :since
              and (outbox_id is null or exists (
                  select from shared.outbox o where o.created_at = d.announced_at and o.id = d.outbox_id))
            """
        ),
        {"webhook_id": webhook_id, "since": since, "now": now},
    )
    return again.rowcount  # type: ignore[attr-defined,no-any-return]


def subject_of(webhook_id: UUID) -> str:
    """Whose data key seals the secret."""
    return f"webhook:{webhook_id}"


def _check(session: Session, url: str, types: Sequence[str]) -> None:
    try:
        outbound.check_url(url, allowed=session.info["settings"].outbound_networks)
    except outbound.Refused as refused:
        raise Invalid(
            "url_refused", str(refused), faults=[Fault("/url", "url_refused", str(refused))]
        ) from None
    known = event_types(session.info["settings"].service)
    faults = [
        Fault(f"/event_types/{at}", "event_type_unknown", f"this service announces {', '.join(known)}")
        for at, one in enumerate(types)
        if one not in known
    ]
    if faults:
        raise Invalid("event_type_unknown", "this service does not announce that", faults=faults)
