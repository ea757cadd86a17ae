"""Consent: append-only records per purpose and channel, from which the state in force is derived."""

from collections.abc import Sequence
from datetime import datetime
from typing import Any, NamedTuple
from uuid import UUID

from sqlalchemy import Row, insert, select, tuple_
from sqlalchemy.dialects.postgresql import distinct_on
from sqlalchemy.orm import Session

from services.profile.domain import customer_profiles
from services.profile.rules.consents import in_force_from
from services.profile.tables import consent
from shared import sealing
from shared.events.profile import ConsentChanged
from shared.ids import uuid7
from shared.messaging.outbox import announce

_LATEST = (consent.c.in_force_from.desc(), consent.c.number.desc())


class GivenConsent(NamedTuple):
    """What a customer said. ``collected_at`` None = now; ``evidence`` is free text and kept under seal."""

    state: str
    text_version: str | None = None
    evidence: str | None = None
    collected_at: datetime | None = None


def record(
    session: Session,
    customer_id: UUID,
    purpose: str,
    channel: str,
    given: GivenConsent,
    by: str,
    now: datetime,
) -> tuple[Row[Any], bool]:
    """Append what was said and announce it if the state in force changed; returns the record, and False if the record
    in force says exactly this already. Raises NotFound, Gone."""
    owner = customer_profiles.lock(session, customer_id).customer_id
    before = in_force(session, owner, purpose, channel)
    if before is not None and _says(session, before, given):
        return before, False

    consent_id = uuid7()
    evidence = given.evidence and sealing.seal(session, str(owner), _place(consent_id), given.evidence)
    collected_at = min(given.collected_at or now, now)
    recorded = session.execute(
        insert(consent)
        .values(
            consent_id=consent_id,
            customer_id=owner,
            purpose=purpose,
            channel=channel,
            state=given.state,
            text_version=given.text_version,
            evidence_sealed=evidence or None,
            collected_at=collected_at,
            in_force_from=in_force_from(given.state, collected_at, now),
            recorded_at=now,
            recorded_by=by,
        )
        .returning(consent)
    ).one()
    after = in_force(session, owner, purpose, channel)
    if after is not None and (before is None or before.state != after.state):
        announce(
            session,
            ConsentChanged(
                customer_id=owner,
                purpose=purpose,
                channel=channel,
                state=after.state,
                consent_id=after.consent_id,
                effective_at=now,
            ),
        )
    return recorded, True


def in_force(session: Session, customer_id: UUID, purpose: str, channel: str) -> Row[Any] | None:
    """The record that stands for one purpose and channel."""
    return session.execute(
        select(consent)
        .where(
            consent.c.customer_id == customer_id, consent.c.purpose == purpose, consent.c.channel == channel
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
        .where(consent.c.customer_id == customer_id)
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
        session, [(str(row.customer_id), _place(row.consent_id), row.evidence_sealed) for row in rows]
    )


def _says(session: Session, record: Row[Any], given: GivenConsent) -> bool:
    return (
        record.state == given.state
        and record.text_version == given.text_version
        and given.collected_at in (None, record.collected_at)
        and evidence_of(session, [record])[0] == given.evidence
    )


def _place(consent_id: UUID) -> str:
    return f"consent.evidence_sealed:{consent_id}"
