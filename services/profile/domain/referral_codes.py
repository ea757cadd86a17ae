"""Codes with which customers bring others, and the terms of doing so."""

import secrets
from collections.abc import Mapping
from datetime import datetime
from typing import Any
from uuid import UUID

from sqlalchemy import Row, func, select, text, update
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.orm import Session

from services.profile.domain import customer_profiles
from services.profile.rules.referrals import ALPHABET, LENGTH, code_of, normal_code, shown
from services.profile.tables import referral_code, referral_programme
from shared.errors import Fault, Invalid, NotFound

_LATEST = text(
    """
    select * from referral_code where customer_id = :customer_id and revoked_at is null
    order by created_at desc, code limit 1
    """
)


def give(session: Session, customer_id: UUID, now: datetime) -> tuple[Row[Any], bool]:
    """The code of a customer, made if there is none; and whether it was. Raises NotFound, Gone."""
    owner = customer_profiles.lock(session, customer_id).customer_id
    while True:
        if found := session.execute(_LATEST, {"customer_id": owner}).one_or_none():
            return found, False
        code = code_of([secrets.randbelow(len(ALPHABET)) for _ in range(LENGTH - 1)])
        made = (
            insert(referral_code)
            .values(code=code, customer_id=owner, recorded_customer_id=owner, created_at=now)
            .on_conflict_do_nothing()
            .returning(referral_code)
        )
        if row := session.execute(made).one_or_none():
            return row, True


def in_use(session: Session, customer_id: UUID) -> Row[Any]:
    """Raises NotFound ``no_referral_code``."""
    owner = customer_profiles.get(session, customer_id).customer_id
    row = session.execute(_LATEST, {"customer_id": owner}).one_or_none()
    if row is None:
        raise NotFound("no_referral_code", "this customer has no code")
    return row


def revoke(session: Session, customer_id: UUID, now: datetime) -> None:
    """The customer's codes bring nobody any more; what they brought stays. Raises NotFound, Gone."""
    owner = customer_profiles.lock(session, customer_id).customer_id
    session.execute(
        update(referral_code)
        .where(referral_code.c.customer_id == owner, referral_code.c.revoked_at.is_(None))
        .values(revoked_at=now)
    )


def find(session: Session, said: str) -> Row[Any]:
    """A code that may be used, however it was written. Raises Invalid ``referral_code_unknown``."""
    code = normal_code(said)
    row = None
    if code is not None:
        wanted = select(referral_code).where(
            referral_code.c.code == code, referral_code.c.revoked_at.is_(None)
        )
        row = session.execute(wanted).one_or_none()
    if row is None:
        message = "nobody has this code"
        raise Invalid(
            "referral_code_unknown", message, faults=[Fault("/code", "referral_code_unknown", message)]
        )
    return row


def programme(session: Session, *, lock: bool = False) -> Row[Any]:
    """The terms; made with its defaults when it is first asked for."""
    wanted = select(referral_programme)
    wanted = wanted.with_for_update() if lock else wanted
    if (found := session.execute(wanted).one_or_none()) is not None:
        return found
    session.execute(insert(referral_programme).values(only=True).on_conflict_do_nothing())
    return session.execute(wanted).one()


def change_programme(session: Session, terms: Mapping[str, Any], by: str) -> Row[Any]:
    values = dict(terms) | {
        "version": referral_programme.c.version + 1,
        "updated_at": func.now(),
        "updated_by": by,
    }
    return session.execute(update(referral_programme).values(**values).returning(referral_programme)).one()


def link(terms: Row[Any], code: str) -> str | None:
    """The address that brings somebody with this code, as the terms say."""
    template: str | None = terms.link_template
    return None if template is None else template.replace("{code}", shown(code))
