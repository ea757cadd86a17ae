"""People who sign up by themselves on the hosted form, and where its links stand.

Nobody learns from the form whether an address is known: the answer is the same, and a known customer changes only by the
link that goes to the address.
"""

from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import Any, NamedTuple
from uuid import UUID

from sqlalchemy import Row, func, insert, select, text, tuple_, update
from sqlalchemy.orm import Session

from services.profile.domain import confirmations, consents, customer_profiles, search
from services.profile.domain.consents import GivenConsent
from services.profile.domain.links import settings_of
from services.profile.rules.consents import state_of
from services.profile.rules.contacts import normal_email, normal_phone
from services.profile.tables import sign_up, sign_up_source
from shared.blind_indexes import blind
from shared.errors import Conflict, Fault, Gone, Invalid, NotFound, TooManyRequests
from shared.ids import uuid7

CHANNEL = "email"


class Form(NamedTuple):
    """What somebody entered; ``agree`` is purpose → version of the text that was read."""

    name: str
    email: str
    phone: str
    language: str
    agree: dict[str, str]


class NewSource(NamedTuple):
    """Where the form's link is to stand. ``kind``: store, staff, campaign or web; ``reference`` which one of these."""

    name: str
    kind: str
    reference: str | None
    purposes: Sequence[str]
    language: str | None


def sign(session: Session, source_id: UUID, form: Form, now: datetime) -> None:
    """Take a form: makes the customer or finds the one of this address; what was agreed to holds at once for a new
    customer if the company wants no confirmation, and else when the link in the message is opened.

    Raises Invalid with the fields at fault, NotFound, Gone ``sign_up_closed``, TooManyRequests ``sign_ups_busy``.
    """
    source = open_source(session, source_id)
    values = _read(form)
    settings = settings_of(session)
    if _taken_since(session, source_id, now - timedelta(hours=1)) >= settings.sign_ups_per_hour:
        raise TooManyRequests("sign_ups_busy", "too many forms from here", headers={"Retry-After": "600"})
    # Two forms with one new address at once make one customer.
    lock = int.from_bytes(blind(session, "email", values["email"])[:8], "big", signed=True)
    session.execute(text("select pg_advisory_xact_lock(:lock)"), {"lock": lock})
    found = search.find(session, {"email": values["email"]}, None, 1)
    known = bool(found)
    if known:
        customer_id = found[0].customer_id
    else:
        given = values | {"acquisition_channel": source.kind}
        told = customer_profiles.Told("sign-up form")
        customer_id = customer_profiles.register(session, given, [], now, told=told)
    wanted = _not_yet_granted(
        session, customer_id, {name: form.agree[name] for name in source.purposes if name in form.agree}
    )
    confirmation_id = None
    if wanted and (known or settings.sign_up_double_opt_in):
        confirmation_id = _ask(session, customer_id, sorted(wanted), source, now)
    else:
        _grant(session, customer_id, wanted, source)
    session.execute(
        insert(sign_up).values(
            sign_up_id=uuid7(),
            source_id=source_id,
            customer_id=customer_id,
            recorded_customer_id=customer_id,
            known=known,
            confirmation_id=confirmation_id,
            signed_up_at=now,
        )
    )


def open_source(session: Session, source_id: UUID) -> Row[Any]:
    """The source of a link. Raises NotFound, Gone ``sign_up_closed``."""
    source = get_source(session, source_id)
    if source.closed_at is not None:
        raise Gone("sign_up_closed", "nobody can sign up here any more")
    return source


def create_source(session: Session, new: NewSource, by: str, now: datetime) -> Row[Any]:
    values = new._asdict() | {"purposes": sorted(set(new.purposes))}
    return session.execute(
        insert(sign_up_source)
        .values(source_id=uuid7(), created_at=now, created_by=by, **values)
        .returning(sign_up_source)
    ).one()


def close_source(session: Session, source_id: UUID, now: datetime) -> Row[Any]:
    """The form behind its link is no longer open. The same again changes nothing."""
    get_source(session, source_id)
    return session.execute(
        update(sign_up_source)
        .where(sign_up_source.c.source_id == source_id)
        .values(closed_at=func.coalesce(sign_up_source.c.closed_at, now))
        .returning(sign_up_source)
    ).one()


def get_source(session: Session, source_id: UUID) -> Row[Any]:
    row = session.execute(select(sign_up_source).where(sign_up_source.c.source_id == source_id)).one_or_none()
    if row is None:
        raise NotFound("sign_up_source_not_found", "no such source")
    return row


def page_of_sources(session: Session, after: tuple[Any, ...] | None, limit: int) -> Sequence[Row[Any]]:
    """By ``(created_at, source_id)``."""
    order = (sign_up_source.c.created_at, sign_up_source.c.source_id)
    rows = select(sign_up_source)
    if after is not None:
        rows = rows.where(tuple_(*order) > tuple_(*after))
    return session.execute(rows.order_by(*order).limit(limit)).all()


def counts(session: Session, source_ids: Sequence[UUID]) -> dict[UUID, int]:
    """How many forms came in by each source."""
    rows = session.execute(
        select(sign_up.c.source_id, func.count().label("count"))
        .where(sign_up.c.source_id.in_(source_ids))
        .group_by(sign_up.c.source_id)
    )
    return {row.source_id: row._mapping["count"] for row in rows}


def _read(form: Form) -> dict[str, Any]:
    email = normal_email(form.email)
    phone = normal_phone(form.phone, None) if form.phone else None
    name = form.name.strip()
    wrong = [
        field
        for field, fine in (
            ("name", len(name) <= 200),
            ("email", email is not None),
            ("phone", not form.phone or phone is not None),
        )
        if not fine
    ]
    if wrong:
        faults = [Fault(f"/{field}", f"{field}_invalid", "cannot be taken") for field in wrong]
        raise Invalid("sign_up_invalid", "the form cannot be taken", faults=faults)
    values = {
        "kind": "person",
        "name": name or None,
        "email": email,
        "phone": phone,
        "language": form.language,
    }
    return {field: value for field, value in values.items() if value is not None}


def _not_yet_granted(session: Session, customer_id: UUID, wanted: dict[str, str]) -> dict[str, str]:
    now = consents.clock(session)
    return {
        purpose: version
        for purpose, version in wanted.items()
        if state_of(consents.in_force(session, customer_id, purpose, CHANNEL), now) != "granted"
    }


def _ask(
    session: Session, customer_id: UUID, purposes: Sequence[str], source: Row[Any], now: datetime
) -> UUID | None:
    """A confirmation by the link that goes to the address; None if one was asked for within the hour."""
    by = f"sign-up:{source.source_id}"
    try:
        asked = confirmations.ask(session, customer_id, "sign_up", CHANNEL, purposes, by, now)
    except Conflict:
        return None
    confirmation_id: UUID = asked.confirmation_id
    return confirmation_id


def _grant(session: Session, customer_id: UUID, wanted: dict[str, str], source: Row[Any]) -> None:
    for purpose, version in sorted(wanted.items()):
        given = GivenConsent(
            "granted",
            text_version=version,
            evidence=f"Ticked on the sign-up form of source {source.source_id}.",
            collected_where=f"sign-up form: {source.name}"[:100],
            collected_by=source.reference if source.kind == "staff" else None,
        )
        consents.record(session, customer_id, purpose, CHANNEL, given, "customer")


def _taken_since(session: Session, source_id: UUID, since: datetime) -> int:
    return (
        session.scalar(
            select(func.count())
            .select_from(sign_up)
            .where(sign_up.c.source_id == source_id, sign_up.c.signed_up_at > since)
        )
        or 0
    )
