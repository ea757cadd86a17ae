"""The people of an organisation: who they are there, and how they are reached."""

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any
from uuid import UUID

from sqlalchemy import Row, delete, func, insert, select, tuple_, update
from sqlalchemy.orm import Session

from services.profile.domain import customer_profiles, search
from services.profile.domain.customer_values import normalised
from services.profile.tables import contact
from shared import sealing
from shared.errors import Conflict, Fault, Invalid, NotFound
from shared.ids import uuid7

PERSONAL = {"name": "name_sealed", "email": "email_sealed", "phone": "phone_sealed"}
MOST_CONTACTS = 1_000

Given = Mapping[str, Any]
"""role, language, name, email, phone; absent = not spoken of, None = removed."""


def add(session: Session, customer_id: UUID, given: Given, now: datetime) -> Row[Any]:
    """Raises Conflict ``not_an_organisation``, ``too_many_contacts``, Invalid ``contact_empty`` and what is wrong with an
    address or number."""
    owner = customer_profiles.lock(session, customer_id)
    if owner.kind != "organisation":
        raise Conflict("not_an_organisation", "only organisations have contacts")
    table = contact
    known = session.scalar(
        select(func.count()).select_from(table).where(table.c.customer_id == owner.customer_id)
    )
    if (known or 0) >= MOST_CONTACTS:
        raise Conflict("too_many_contacts", f"an organisation has at most {MOST_CONTACTS} contacts")
    values = normalised(given, owner.country)
    contact_id = uuid7()
    personal = {name: values.get(name) for name in PERSONAL}
    _refuse_empty(personal)
    row = session.execute(
        insert(table)
        .values(
            contact_id=contact_id,
            customer_id=owner.customer_id,
            recorded_customer_id=customer_id,  # told under an alias, it is the alias's
            role=values.get("role"),
            language=values.get("language"),
            created_at=now,
            updated_at=now,
            **_sealed(session, customer_id, contact_id, personal),
        )
        .returning(table)
    ).one()
    search.remember(session, [search.Terms(customer_id, contact_id, personal)], new=True)
    return row


def change(session: Session, row: Row[Any], given: Given, now: datetime) -> Row[Any]:
    """Write ``given`` over a locked contact; the same again changes nothing."""
    owner = customer_profiles.get(session, row.customer_id)
    values = normalised(given, owner.country)
    before = personal_of(session, [row])[0]
    personal = {name: values[name] for name in PERSONAL if name in values and values[name] != before[name]}
    written = {
        name: values[name]
        for name in ("role", "language")
        if name in values and values[name] != getattr(row, name)
    }
    if not personal and not written:
        return row
    _refuse_empty(before | personal)
    table = contact
    after = session.execute(
        update(table)
        .where(table.c.contact_id == row.contact_id)
        .values(
            **written,
            **_sealed(session, row.recorded_customer_id, row.contact_id, personal),
            version=table.c.version + 1,
            updated_at=now,
        )
        .returning(table)
    ).one()
    if personal:
        search.remember(session, [search.Terms(row.recorded_customer_id, row.contact_id, personal)])
    return after


def remove(session: Session, row: Row[Any]) -> None:
    session.execute(delete(contact).where(contact.c.contact_id == row.contact_id))
    gone: dict[str, str | None] = dict.fromkeys(PERSONAL)
    search.remember(session, [search.Terms(row.recorded_customer_id, row.contact_id, gone)])


def lock(session: Session, customer_id: UUID, contact_id: UUID) -> Row[Any]:
    """The contact to change, its organisation held first. Raises NotFound ``contact_not_found``, Gone."""
    owner = customer_profiles.lock(session, customer_id)
    return _found(
        session.execute(
            select(contact)
            .where(contact.c.contact_id == contact_id, contact.c.customer_id == owner.customer_id)
            .with_for_update()
        ).one_or_none()
    )


def get(session: Session, customer_id: UUID, contact_id: UUID) -> Row[Any]:
    owner = customer_profiles.get(session, customer_id)
    return _found(
        session.execute(
            select(contact).where(
                contact.c.contact_id == contact_id, contact.c.customer_id == owner.customer_id
            )
        ).one_or_none()
    )


def page(
    session: Session, customer_id: UUID, after: tuple[datetime, UUID] | None, limit: int
) -> Sequence[Row[Any]]:
    """By ``(created_at, contact_id)``."""
    owner = customer_profiles.get(session, customer_id)
    order = (contact.c.created_at, contact.c.contact_id)
    wanted = select(contact).where(contact.c.customer_id == owner.customer_id)
    if after is not None:
        wanted = wanted.where(tuple_(*order) > tuple_(*after))
    return session.execute(wanted.order_by(*order).limit(limit)).all()


def personal_of(session: Session, rows: Sequence[Row[Any]]) -> list[dict[str, str | None]]:
    """Name, e-mail and phone of each contact in clear."""
    places = [
        (str(row.recorded_customer_id), _place(column, row.contact_id), getattr(row, column))
        for row in rows
        for column in PERSONAL.values()
    ]
    clear = iter(sealing.unseal_many(session, places))
    return [{field: next(clear) for field in PERSONAL} for _ in rows]


def _sealed(
    session: Session, recorded_id: UUID, contact_id: UUID, personal: Mapping[str, str | None]
) -> dict[str, bytes | None]:
    texts = {PERSONAL[name]: value for name, value in personal.items() if value is not None}
    sealed = sealing.seal_many(
        session, [(str(recorded_id), _place(column, contact_id), value) for column, value in texts.items()]
    )
    return {PERSONAL[name]: None for name in personal} | dict(zip(texts, sealed, strict=True))


def _place(column: str, contact_id: UUID) -> str:
    return f"contact.{column}:{contact_id}"


def _refuse_empty(personal: Mapping[str, str | None]) -> None:
    if not any(personal.values()):
        message = "a contact has a name, an e-mail address or a phone number"
        raise Invalid("contact_empty", message, faults=[Fault("/name", "contact_empty", message)])


def _found(row: Row[Any] | None) -> Row[Any]:
    if row is None:
        raise NotFound("contact_not_found", "this organisation has no such contact")
    return row
