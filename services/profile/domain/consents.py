"""Consent: append-only records per purpose and channel, from which the state in force is derived."""

from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import Any, NamedTuple
from uuid import UUID

from sqlalchemy import Row, func, insert, select, text, tuple_
from sqlalchemy.dialects.postgresql import distinct_on
from sqlalchemy.orm import Session

from services.profile.domain import customer_profiles
from services.profile.rules.consents import in_force_from, state_of
from services.profile.tables import consent, consent_expiry, consent_text
from shared import sealing
from shared.errors import Fault, Invalid
from shared.events.profile import ConsentChanged
from shared.ids import uuid7
from shared.messaging.outbox import announce

# As rules/consents.standing: the latest, of two at once the stricter.
_LATEST = (
    consent.c.in_force_from.desc(),
    (consent.c.state == "granted").asc(),
    consent.c.state.desc(),
    consent.c.expires_at.asc().nulls_last(),
    consent.c.number.desc(),
)
_SAID = consent.c.state != "expired"


class GivenConsent(NamedTuple):
    """What a customer said. ``collected_at`` None = now; ``evidence`` is free text and kept under seal; ``expires_at``
    None = as long as the text says that was agreed to, else without end."""

    state: str
    text_version: str | None = None
    evidence: str | None = None
    collected_at: datetime | None = None
    collected_where: str | None = None
    collected_by: str | None = None
    expires_at: datetime | None = None


def record(
    session: Session, customer_id: UUID, purpose: str, channel: str, given: GivenConsent, by: str
) -> tuple[Row[Any], bool]:
    """Append what was said and announce it if the state in force changed; returns the record, and False if the record
    in force says exactly this already. Raises NotFound, Gone, Invalid.

    The record is dated by the database's clock once the customer is held, not by the transaction's begin: of two that
    were told at once, the one acknowledged later is the later one.
    """
    owner = customer_profiles.lock(session, customer_id).customer_id
    told_at = clock(session)
    before = in_force(session, owner, purpose, channel)
    if before is not None and _says(session, before, given, told_at):
        return before, False

    consent_id = uuid7()
    place = _place(consent_id)
    evidence = given.evidence and sealing.seal(session, str(customer_id), place, given.evidence)
    collected_at = min(given.collected_at or told_at, told_at)
    expires_at = _end(session, purpose, given, collected_at)
    recorded = session.execute(
        insert(consent)
        .values(
            consent_id=consent_id,
            customer_id=owner,
            recorded_customer_id=customer_id,
            purpose=purpose,
            channel=channel,
            state=given.state,
            text_version=given.text_version,
            evidence_sealed=evidence or None,
            collected_at=collected_at,
            collected_where=given.collected_where,
            collected_by=given.collected_by,
            in_force_from=in_force_from(given.state, collected_at, told_at),
            expires_at=expires_at,
            recorded_at=told_at,
            recorded_by=by,
        )
        .returning(consent)
    ).one()
    if expires_at is not None:
        session.execute(insert(consent_expiry).values(consent_id=consent_id, expires_at=expires_at))
    after = in_force(session, owner, purpose, channel)
    if after is not None and state_of(before, told_at) != state_of(after, told_at):
        announce(session, _changed(after, customer_id, state_of(after, told_at), told_at))
    return recorded, True


def in_force(session: Session, customer_id: UUID, purpose: str, channel: str) -> Row[Any] | None:
    """The record that stands for one purpose and channel; what it means now says rules/consents.state_of."""
    return session.execute(
        select(consent)
        .where(
            consent.c.customer_id == customer_id,
            consent.c.purpose == purpose,
            consent.c.channel == channel,
            _SAID,
        )
        .order_by(*_LATEST)
        .limit(1)
    ).one_or_none()


def all_in_force(session: Session, customer_id: UUID) -> Sequence[Row[Any]]:
    """The record that stands for each purpose and channel that was ever spoken of."""
    key = (consent.c.purpose, consent.c.channel)
    return session.execute(
        select(consent)
        .ext(distinct_on(*key))
        .where(consent.c.customer_id == customer_id, _SAID)
        .order_by(*key, *_LATEST)
    ).all()


def history(session: Session, customer_id: UUID, after: tuple[int] | None, limit: int) -> Sequence[Row[Any]]:
    """Every record ever made, newest first, by ``number``."""
    rows = select(consent).where(consent.c.customer_id == customer_id)
    if after is not None:
        rows = rows.where(tuple_(consent.c.number) < tuple_(*after))
    return session.execute(rows.order_by(consent.c.number.desc()).limit(limit)).all()


def evidence_of(session: Session, rows: Sequence[Row[Any]]) -> list[str | None]:
    return sealing.unseal_many(
        session,
        [(str(row.recorded_customer_id), _place(row.consent_id), row.evidence_sealed) for row in rows],
    )


_DUE = text(
    """
    select e.consent_id, c.customer_id from consent_expiry e join consent c using (consent_id)
    where e.expires_at <= clock_timestamp() order by e.expires_at limit :most for update of e skip locked
    """
)
_HOLD = text(
    """
    select customer_id from customer where customer_id = any(cast(:ids as uuid[])) and state = 'active'
    order by customer_id for no key update
    """
)
_RAN_OUT = text(
    """
    select c.*, s.consent_id = c.consent_id as stands from consent c cross join lateral (
        select consent_id from consent o
        where o.customer_id = c.customer_id and o.purpose = c.purpose and o.channel = c.channel and o.state <> 'expired'
        order by o.in_force_from desc, (o.state = 'granted'), o.state desc, o.expires_at, o.number desc limit 1
    ) s
    where c.consent_id = any(cast(:ids as uuid[])) order by c.number
    """
)
_LOOKED_AT = text("delete from consent_expiry where consent_id = any(cast(:ids as uuid[]))")


def expire(session: Session, most: int = 500) -> int:
    """Record and announce the grants whose end has come, and forget the ends of those that no longer stand; how many
    were due. Nobody waits for this: whoever asks for the state looks at the grant's own end."""
    due = session.execute(_DUE, {"most": most}).all()
    if not due:
        return 0
    held = set(session.scalars(_HOLD, {"ids": sorted({row.customer_id for row in due})}))
    now = clock(session)
    grants = session.execute(_RAN_OUT, {"ids": [row.consent_id for row in due]}).all()
    over = [grant for grant in grants if grant.stands and grant.customer_id in held]
    if over:
        session.execute(insert(consent), [_expired(grant, now) for grant in over])
        announce(session, *(_changed(grant, grant.recorded_customer_id, "expired", now) for grant in over))
    # A merge in between gave it to somebody who is not held: its turn comes again.
    owners = {row.consent_id: row.customer_id for row in due}
    moved = {
        grant.consent_id for grant in grants if grant.customer_id not in {*held, owners[grant.consent_id]}
    }
    done = [row.consent_id for row in due if row.consent_id not in moved]
    session.execute(_LOOKED_AT, {"ids": done})
    return len(done)


def clock(session: Session) -> datetime:
    """The database's time at this moment, not that of the transaction's begin."""
    now = session.scalar(select(func.clock_timestamp()))
    assert isinstance(now, datetime)
    return now


def _expired(grant: Row[Any], now: datetime) -> dict[str, Any]:
    return {
        "consent_id": uuid7(),
        "customer_id": grant.customer_id,
        "recorded_customer_id": grant.recorded_customer_id,
        "purpose": grant.purpose,
        "channel": grant.channel,
        "state": "expired",
        "text_version": grant.text_version,
        "collected_at": grant.expires_at,
        "in_force_from": grant.expires_at,
        "recorded_at": now,
        "recorded_by": "expiry",
    }


def _changed(record: Row[Any], told_of: UUID, state: str | None, now: datetime) -> ConsentChanged:
    return ConsentChanged(
        customer_id=record.customer_id,
        recorded_customer_id=told_of if told_of != record.customer_id else None,
        purpose=record.purpose,
        channel=record.channel,
        state=state or "unknown",
        consent_id=record.consent_id,
        effective_at=now,
    )


def _end(session: Session, purpose: str, given: GivenConsent, collected_at: datetime) -> datetime | None:
    """When a grant ends; None = never."""
    if given.state != "granted":
        if given.expires_at is not None:
            raise _unusable("only_grants_expire", "a refusal holds until the customer says something else")
        return None
    if given.expires_at is not None:
        if given.expires_at <= collected_at:
            raise _unusable("expires_too_early", "a consent ends after it was collected")
        return given.expires_at
    if given.text_version is None:
        return None
    valid_days = session.scalar(
        select(consent_text.c.valid_days).where(
            consent_text.c.purpose == purpose, consent_text.c.version == given.text_version
        )
    )
    return None if valid_days is None else collected_at + timedelta(days=valid_days)


def _says(session: Session, record: Row[Any], given: GivenConsent, now: datetime) -> bool:
    return (
        state_of(record, now) == given.state
        and record.text_version == given.text_version
        and given.collected_at in (None, record.collected_at)
        and given.expires_at in (None, record.expires_at)
        and (record.collected_where, record.collected_by) == (given.collected_where, given.collected_by)
        and evidence_of(session, [record])[0] == given.evidence
    )


def _unusable(code: str, message: str) -> Invalid:
    return Invalid(code, message, faults=[Fault("/expires_at", code, message)])


def _place(consent_id: UUID) -> str:
    return f"consent.evidence_sealed:{consent_id}"
