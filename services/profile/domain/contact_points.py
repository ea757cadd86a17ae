"""Contact points: given out at the moment of use, for a purpose, if consent or contract allows; every answer audited.

Whoever asks holds the customers, and all suppressions, until the answer is given; whoever withdraws a consent or sets a
suppression waits for that. So an answer never rests on a state that somebody was told had ended, and a withdrawal that
was acknowledged is obeyed by every answer after it.
"""

from collections.abc import Collection, Mapping, Sequence
from datetime import datetime, timedelta
from operator import attrgetter
from typing import Any, NamedTuple
from uuid import UUID

from psycopg.rows import namedtuple_row
from sqlalchemy import text
from sqlalchemy.orm import Session

from services.profile.domain import customer_profiles, identities
from services.profile.domain.disclosures import DIGEST
from services.profile.domain.links import Links, links_of
from services.profile.domain.suppressions import HOLD_SHARED, reference_of
from services.profile.rules.consents import ADDRESSES, CONTRACT_PURPOSES
from shared import audit
from shared.blind_indexes import blind_many
from shared.database import execute_hot
from shared.ids import uuid7

# An answer is good for one sending: a withdrawal is obeyed by whoever asks after it.
VALID_FOR = timedelta(seconds=60)


class ContactPoint(NamedTuple):
    """What may be known for the purpose: the address, or the ``reason`` why not.

    Reasons: ``unknown_customer``, ``erased``, ``suppressed`` (``suppression`` says why), ``no_consent`` (never asked,
    ``consent_state`` null, or refused, or expired), ``no_contact_point`` (nothing to write to on this channel).
    The links are for the message: the customer's preference page, and what takes back the consent it rests on. The
    reference is for whoever finds that the address is dead.
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
    suppression: str | None = None
    valid_until: datetime | None = None
    preferences_url: str | None = None
    unsubscribe_url: str | None = None
    reference: str | None = None


# All but the openids are asked of the driver itself, lists (%b) and rows in binary: with a thousand of each the toolkit's
# way costs twice the CPU.
# The asked and those into whom they were merged, in order. A withdrawal and an edit lock for no key update, which waits
# for this; a purchase and another lookup do not.
_HOLD = """
    select customer_id from customer where customer_id in (
        select unnest(%(ids)b::uuid[])
        union select merged_into from customer where customer_id = any(%(ids)b::uuid[]))
    order by customer_id for share
"""
_ASKED = """
    select a.asked, c.customer_id, c.version, c.kind, c.state, c.language, c.time_zone, {sealed}, s.consent_id,
        s.state as consent_state, p.reason as suppression, clock_timestamp() as at
    from unnest(%(ids)b::uuid[]) as a (asked)
    left join customer l on l.customer_id = a.asked
    left join customer c on c.customer_id = coalesce(l.merged_into, l.customer_id)
    left join lateral (
        select consent_id,
            case when state = 'granted' and expires_at <= clock_timestamp() then 'expired' else state end as state
        from consent
        where consent.customer_id = c.customer_id and purpose = %(purpose)s and channel = %(channel)s and state <> 'expired'
        order by in_force_from desc, (consent.state = 'granted'), consent.state desc, expires_at, number desc limit 1
    ) s on true
    left join lateral (
        select reason from suppression
        where suppression.customer_id = c.customer_id and channel = %(channel)s and lifted_at is null
        order by set_at desc limit 1
    ) p on true
"""
# The WeChat openid that was verified last, of each customer or of anybody merged into it.
_OPENIDS = text(
    """
    select distinct on (w.owner_id) w.owner_id, i.*
    from (
        select customer_id, coalesce(merged_into, customer_id) as owner_id from customer
        where customer_id = any(cast(:owners as uuid[])) or merged_into = any(cast(:owners as uuid[]))
    ) w
    join customer_identity i on i.customer_id = w.customer_id
    where i.namespace = 'wechat_openid' and i.verified_at is not null
    order by w.owner_id, i.verified_at desc, i.identity_id desc
    """
)
_SUPPRESSED = """
    select distinct on (address_token) address_token, reason from suppression
    where address_token = any(%(tokens)b) and channel = %(channel)s and lifted_at is null
    order by address_token, set_at desc
"""
_AUDIT = f"""
    with written as (
        insert into disclosure (lookup_id, asked_at, asked_by, customer_id, purpose, channel, outcome, consent_id)
        select %(lookup)s, %(at)s, %(by)s, d.customer_id, %(purpose)s, %(channel)s, d.outcome, d.consent_id
        from unnest(%(ids)b::uuid[], %(outcomes)b::text[], %(consents)b::uuid[])
            as d (customer_id, outcome, consent_id)
        returning *
    )
    select {DIGEST} from written
"""


def look_up(session: Session, ids: Sequence[UUID], purpose: str, channel: str, by: str) -> list[ContactPoint]:
    """One answer per id, in the order of ``ids``; ``by`` is who asks, for the audit that this transaction writes.

    Eight statements, however many ids. The customers are held until all of it is done. A merged customer's id answers
    with its winner's address and consent.
    """
    asked = _Asked(purpose, channel, ADDRESSES.get(channel))
    rows = _hold(session, asked, sorted(set(ids), key=attrgetter("int")))
    at = max(row.at for row in rows.values())
    clear = _open(session, asked, [row for row in rows.values() if _refusal(row, purpose) is None])
    if channel == "wechat":
        _add_openids(session, clear, {each: rows[each].customer_id for each in clear})
    suppressed = _suppressed(session, asked, clear)
    links = links_of(session)
    answers = {
        each: _answer(links, asked, row, clear.get(each, {}), suppressed.get(each), at)
        for each, row in rows.items()
    }
    lookup = uuid7()
    written = {
        "lookup": lookup,
        "at": at,
        "by": by,
        "purpose": purpose,
        "channel": channel,
        "ids": list(answers),
        "outcomes": [answer.reason or "disclosed" for answer in answers.values()],
        "consents": [answer.consent_id for answer in answers.values()],
    }
    [(digest,)] = execute_hot(session, _AUDIT, written)
    audit.record(
        session,
        "contact_points_asked",
        by=by,
        subject=str(lookup),
        rows=digest,
        purpose=purpose,
        channel=channel,
        asked_count=len(answers),
        disclosed_count=sum(answer.reason is None for answer in answers.values()),
    )
    return [answers[each] for each in ids]


class _Asked(NamedTuple):
    """What for, and the field that holds the address."""

    purpose: str
    channel: str
    field: str | None

    @property
    def personal(self) -> tuple[str, ...]:
        return ("name",) if self.field is None else ("name", self.field)


_Clear = dict[str, str | None]
# A row of _ASKED, as a named tuple.
_Found = Any


def _read(session: Session, asked: _Asked, ids: Sequence[UUID]) -> dict[UUID, _Found]:
    values = {"ids": ids, "purpose": asked.purpose, "channel": asked.channel}
    statement = _ASKED.format(sealed=", ".join(f"c.{name}_sealed" for name in asked.personal))
    found = execute_hot(session, statement, values, binary=True)
    found.row_factory = namedtuple_row
    return {row.asked: row for row in found.fetchall()}


def _open(session: Session, asked: _Asked, allowed: Sequence[_Found]) -> dict[UUID, _Clear]:
    """Name and address of those who may be reached."""
    clear = customer_profiles.personal_of(session, allowed, asked.personal)
    return {row.asked: one for row, one in zip(allowed, clear, strict=True)}


def _hold(session: Session, asked: _Asked, ids: Sequence[UUID]) -> dict[UUID, _Found]:
    """What is known of each, read while all of them are held. Each lock is followed by a statement of its own: only a
    later snapshot sees what those whom the lock waited for have committed."""
    session.execute(HOLD_SHARED)
    held: set[UUID] = set()
    unheld: Collection[UUID] = ids
    while True:
        now_held = execute_hot(session, _HOLD, {"ids": list(unheld)}, binary=True)
        held.update(customer_id for (customer_id,) in now_held.fetchall())
        rows = _read(session, asked, ids)
        unheld = {row.customer_id for row in rows.values() if row.customer_id is not None} - held
        if not unheld:
            return rows
        # A merge came in between: its winner is nobody whom we asked for, and is held now.


def _answer(
    links: Links, asked: _Asked, row: _Found, clear: _Clear, suppressed: str | None, at: datetime
) -> ContactPoint:
    address = clear.get(asked.field or asked.channel)
    reason = _refusal(row, asked.purpose)
    if reason is None and address is None:
        reason = "no_contact_point"
    elif reason is None and suppressed is not None:
        reason = "suppressed"
    if reason is not None:
        return ContactPoint(
            row.asked,
            reason,
            consent_id=row.consent_id,
            consent_state=row.consent_state,
            suppression=(row.suppression or suppressed) if reason == "suppressed" else None,
        )
    return ContactPoint(
        row.asked,
        address=address,
        name=clear["name"],
        kind=row.kind,
        language=row.language,
        time_zone=row.time_zone,
        consent_id=row.consent_id,
        consent_state=row.consent_state,
        valid_until=at + VALID_FOR,
        preferences_url=links.to_preferences(row.customer_id, at),
        unsubscribe_url=None
        if asked.purpose in CONTRACT_PURPOSES
        else links.to_unsubscribe(row.customer_id, asked.purpose, asked.channel),
        reference=reference_of(row),
    )


def _add_openids(session: Session, clear: dict[UUID, _Clear], owners: Mapping[UUID, UUID]) -> None:
    """On WeChat nobody has an address: the openid by which the company's account knows the customer stands for it."""
    found = session.execute(_OPENIDS, {"owners": sorted(set(owners.values()))}).all()
    openids = dict(zip((row.owner_id for row in found), identities.values_of(session, found), strict=True))
    for each, owner_id in owners.items():
        clear[each] = clear[each] | {"wechat": openids.get(owner_id)}


def _suppressed(session: Session, asked: _Asked, clear: dict[UUID, _Clear]) -> dict[UUID, str]:
    """Whose address is suppressed on the channel, and why."""
    if asked.field is None:
        return {}
    addresses = {each: address for each, one in clear.items() if (address := one[asked.field]) is not None}
    if not addresses:
        return {}
    tokens = dict(zip(addresses, blind_many(session, asked.field, addresses.values()), strict=True))
    values = {"tokens": sorted(set(tokens.values())), "channel": asked.channel}
    reasons = dict(execute_hot(session, _SUPPRESSED, values).fetchall())
    return {each: reasons[token] for each, token in tokens.items() if token in reasons}


def _refusal(row: _Found, purpose: str) -> str | None:
    if row.customer_id is None:
        return "unknown_customer"
    if row.state == "erased":
        return "erased"
    if purpose not in CONTRACT_PURPOSES and row.consent_state != "granted":
        return "no_consent"
    if row.suppression is not None:
        return "suppressed"
    return None
