"""What operators see and decide about parked events; the command line and the API call the same functions."""

from collections.abc import Sequence
from datetime import datetime
from typing import Any, NamedTuple
from uuid import UUID

from sqlalchemy import Row, text
from sqlalchemy.orm import Session

from shared import audit
from shared.errors import Conflict, NotFound
from shared.messaging import watermarks


class Parked(NamedTuple):
    """One parked event. ``reason``: gap (an earlier event has not come), failed, behind (another one of its key),
    unreadable. ``sequence`` and ``type`` are null for a record that could not be read."""

    id: UUID
    consumer: str
    topic: str
    key: str
    sequence: int | None
    type: str | None
    reason: str
    error: str | None
    attempts: int
    parked_at: datetime
    next_try_at: datetime | None
    dead_at: datetime | None


class Counts(NamedTuple):
    """``keys`` that are parked, ``events`` in their queues, ``dead_letters`` that wait for an operator."""

    keys: int
    events: int
    dead_letters: int


OPERATOR = "command line"
_COLUMNS = ", ".join(Parked._fields)
_PLACE = "consumer = :consumer and topic = :topic and key = :key"


def listing(
    session: Session,
    *,
    limit: int = 50,
    after: UUID | None = None,
    consumer: str | None = None,
    reasons: Sequence[str] = (),
    dead: bool | None = None,
) -> list[Parked]:
    """Oldest first; ``after`` is the id of the last one seen."""
    rows = session.execute(
        text(
            f"select {_COLUMNS} from shared.parked_event where discarded_at is null"
            " and (cast(:after as uuid) is null or id > :after)"
            " and (cast(:consumer as text) is null or consumer = :consumer)"
            " and (cardinality(cast(:reasons as text[])) = 0 or reason = any(:reasons))"
            " and (cast(:dead as boolean) is null or (dead_at is not null) = :dead)"
            " order by id limit :limit"
        ),
        {"after": after, "consumer": consumer, "reasons": list(reasons), "dead": dead, "limit": limit},
    )
    return [Parked(*row) for row in rows]


def get(session: Session, event_id: UUID) -> Parked:
    """Raises NotFound ``parked_event_not_found``."""
    row = session.execute(
        text(f"select {_COLUMNS} from shared.parked_event where id = :id and discarded_at is null"),
        {"id": event_id},
    ).one_or_none()
    if row is None:
        raise NotFound("parked_event_not_found", "no such event is parked (any more)")
    return Parked(*row)


def counts(session: Session, consumer: str | None = None) -> Counts:
    row = session.execute(
        text(
            "select (select count(*) from shared.parked_key where cast(:consumer as text) is null or consumer = :consumer),"
            " count(*) filter (where sequence is not null), count(*) filter (where dead_at is not null)"
            " from shared.parked_event"
            " where discarded_at is null and (cast(:consumer as text) is null or consumer = :consumer)"
        ),
        {"consumer": consumer},
    ).one()
    return Counts(*row)


def retry(session: Session, event_id: UUID) -> Parked:
    """Ask for another series of tries, at once; the ``react`` process makes them within a second or so.

    For an event behind another the first of its key is tried, because order holds. Raises Conflict ``gap_open`` where
    the queue waits for an event that has not come.
    """
    event = get(session, event_id)
    if event.sequence is None:
        first_id = event.id
    else:
        mark, first = _lock(session, event)
        if first.sequence > mark + 1:
            raise Conflict("gap_open", f"sequence {mark + 1} has not come; accept the gap if it never will")
        first_id = first.id
    session.execute(
        text(
            "update shared.parked_event set next_try_at = now(), dead_at = null, attempts = 0 where id = :id"
        ),
        {"id": first_id},
    )
    return get(session, event_id)


def discard(session: Session, event_id: UUID, by: str = OPERATOR) -> Parked:
    """Give this one event up for this consumer; the events behind it are due at once.

    Raises Conflict ``not_first_in_line`` for an event behind another, ``gap_open`` for one that waits for an earlier.
    """
    event = get(session, event_id)
    if event.sequence is None:
        _record(session, "parked_event_discarded", event, by)
        session.execute(
            text("update shared.parked_event set discarded_at = now(), next_try_at = null where id = :id"),
            {"id": event_id},
        )
        return event
    mark, first = _lock(session, event)
    if first.id != event.id:
        raise Conflict("not_first_in_line", f"sequence {first.sequence} of this key comes first")
    if event.sequence > mark + 1:
        raise Conflict("gap_open", f"sequence {mark + 1} has not come; accept the gap first if it never will")
    _record(session, "parked_event_discarded", event, by)
    watermarks.put(session, event.consumer, {(event.topic, event.key): event.sequence})
    session.execute(text("delete from shared.parked_event where id = :id"), {"id": event_id})
    _next_is_due(session, event)
    return event


def accept_gap(session: Session, event_id: UUID, by: str = OPERATOR) -> Parked:
    """Go on without the events that never came before the first of this key.

    Raises Conflict ``no_gap`` where nothing is missing.
    """
    event = get(session, event_id)
    if event.sequence is None:
        raise Conflict("no_gap", "a record without a sequence waits for no other")
    mark, first = _lock(session, event)
    if first.sequence <= mark + 1:
        raise Conflict("no_gap", "no event is missing before the first of this key")
    _record(session, "gap_accepted", event, by)
    watermarks.put(session, event.consumer, {(event.topic, event.key): first.sequence - 1})
    session.execute(text("update shared.parked_event set reason = 'behind' where id = :id"), {"id": first.id})
    _next_is_due(session, event)
    return get(session, event_id)


def _record(session: Session, action: str, event: Parked, by: str) -> None:
    """In the audit log: an event of this key will never have its effect here."""
    audit.record(
        session,
        action,
        by=by,
        subject=str(event.id),
        consumer=event.consumer,
        topic=event.topic,
        sequence=event.sequence,
    )


def _lock(session: Session, event: Parked) -> tuple[int, Row[Any]]:
    """The key's watermark, locked, and the first event of its queue."""
    stream = (event.topic, event.key)
    mark = watermarks.lock(session, event.consumer, [stream])[stream]
    first = session.execute(
        text(
            f"select id, sequence from shared.parked_event where {_PLACE} and sequence is not null"
            " order by sequence limit 1"
        ),
        {"consumer": event.consumer, "topic": event.topic, "key": event.key},
    ).one_or_none()
    if first is None:  # applied while we waited for the lock
        raise NotFound("parked_event_not_found", "no such event is parked (any more)")
    return mark, first


def _next_is_due(session: Session, event: Parked) -> None:
    place = {"consumer": event.consumer, "topic": event.topic, "key": event.key}
    first = session.execute(
        text(
            f"update shared.parked_event set next_try_at = now() where id = (select id from shared.parked_event"
            f" where {_PLACE} and sequence is not null order by sequence limit 1) returning id"
        ),
        place,
    ).one_or_none()
    if first is None:
        session.execute(text(f"delete from shared.parked_key where {_PLACE}"), place)
