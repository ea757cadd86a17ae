"""Contact points: given out at the moment of use, for a purpose, if consent or contract allows; every answer audited."""

from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import Any, NamedTuple
from uuid import UUID

from sqlalchemy import Row, text
from sqlalchemy.orm import Session

from services.profile.domain import customer_profiles
from services.profile.rules.consents import ADDRESSES, CONTRACT_PURPOSES

# An answer is good for one sending: a withdrawal is obeyed by whoever asks after it.
VALID_FOR = timedelta(seconds=60)


class ContactPoint(NamedTuple):
    """What may be known for the purpose: the address, or the ``reason`` why not.

    Reasons: ``unknown_customer``, ``erased``, ``no_consent`` (never asked, ``consent_state`` null, or refused),
    ``no_contact_point`` (nothing to write to on this channel).
    """

    customer_id: UUID
    reason: str | None = None
    address: str | None = None
    name: str | None = None
    kind: str | None = None
    language: str | None = None
    time_zone: str | None = None
    consent_id: UUID | None = None
    consent_state: str | None = None
    valid_until: datetime | None = None


_ASKED = text(
    """
    select a.asked, c.customer_id, c.kind, c.state, c.language, c.time_zone, c.name_sealed, c.email_sealed,
        c.phone_sealed, s.consent_id, s.state as consent_state
    from unnest(cast(:ids as uuid[])) as a (asked)
    left join customer l on l.customer_id = a.asked
    left join customer c on c.customer_id = coalesce(l.merged_into, l.customer_id)
    left join lateral (
        select consent_id, state from consent
        where consent.customer_id = c.customer_id and purpose = :purpose and channel = :channel
        order by in_force_from desc, number desc limit 1
    ) s on true
    """
)
_AUDIT = text(
    """
    insert into disclosure (asked_at, asked_by, customer_id, purpose, channel, outcome, consent_id)
    select cast(:now as timestamptz), :by, d.customer_id, :purpose, :channel, d.outcome, d.consent_id
    from unnest(cast(:ids as uuid[]), cast(:outcomes as text[]), cast(:consents as uuid[]))
        as d (customer_id, outcome, consent_id)
    """
)


def look_up(
    session: Session, ids: Sequence[UUID], purpose: str, channel: str, by: str, now: datetime
) -> list[ContactPoint]:
    """One answer per id, in the order of ``ids``; ``by`` is who asks, for the audit that this transaction writes.

    Two statements and the opening of seals, however many ids. A merged customer's id answers with its winner's
    address and consent.
    """
    rows = {
        row.asked: row
        for row in session.execute(_ASKED, {"ids": list(set(ids)), "purpose": purpose, "channel": channel})
    }
    allowed = [row for row in rows.values() if _refusal(row, purpose) is None]
    field = ADDRESSES.get(channel)
    fields = ["name"] if field is None else ["name", field]
    clear = {
        row.asked: personal
        for row, personal in zip(
            allowed, customer_profiles.personal_of(session, allowed, fields), strict=True
        )
    }
    answers = {
        asked: _answer(row, _refusal(row, purpose), clear.get(asked, {}), field, now)
        for asked, row in rows.items()
    }
    given = [answers[asked] for asked in ids]
    session.execute(
        _AUDIT,
        {
            "now": now,
            "by": by,
            "purpose": purpose,
            "channel": channel,
            "ids": [answer.customer_id for answer in answers.values()],
            "outcomes": [answer.reason or "disclosed" for answer in answers.values()],
            "consents": [answer.consent_id for answer in answers.values()],
        },
    )
    return given


def _refusal(row: Row[Any], purpose: str) -> str | None:
    if row.customer_id is None:
        return "unknown_customer"
    if row.state == "erased":
        return "erased"
    if purpose not in CONTRACT_PURPOSES and row.consent_state != "granted":
        return "no_consent"
    return None


def _answer(
    row: Row[Any], reason: str | None, personal: dict[str, str | None], field: str | None, now: datetime
) -> ContactPoint:
    address = personal.get(field) if field is not None else None
    if reason is None and address is None:
        reason = "no_contact_point"
    if reason is not None:
        return ContactPoint(row.asked, reason, consent_id=row.consent_id, consent_state=row.consent_state)
    return ContactPoint(
        row.asked,
        None,
        address,
        personal["name"],
        row.kind,
        row.language,
        row.time_zone,
        row.consent_id,
        row.consent_state,
        now + VALID_FOR,
    )
