"""Suppressions: whom nobody writes to or calls, whatever was agreed and whatever the contract says.

About a customer, or about an address whoever has it; an address is kept as a blind token. A bounce or a complaint is
about the address: whoever gets another one can be reached again.
"""

from collections.abc import Sequence
from typing import Any
from uuid import UUID

from sqlalchemy import Row, insert, or_, select, text, tuple_, update
from sqlalchemy.orm import Session

from services.profile.domain import customer_profiles
from services.profile.domain.consents import clock
from services.profile.rules.consents import ADDRESSES
from services.profile.rules.contacts import normal_email, normal_phone
from services.profile.tables import suppression
from shared import audit
from shared.blind_indexes import blind
from shared.errors import Conflict, Fault, Invalid, NotFound
from shared.ids import uuid7

OF_ADDRESSES = ("bounce", "complaint")

# Whoever looks up contact points holds this shared until the answer is given: a suppression that was acknowledged was
# there for every answer that came after it.
_LOCK = 0x5EA1_0FF5
HOLD_SHARED = text(f"select pg_advisory_xact_lock_shared({_LOCK})")
_HOLD = text(f"select pg_advisory_xact_lock({_LOCK})")


def reference_of(row: Any) -> str:
    """What names the addresses of a customer as they are now, and says nothing about them: whose they are (the winner's,
    after a merge) and in which version. Whoever was merged or edited since has another."""
    return f"{row.customer_id}.{row.version}"


def suppress_customer(
    session: Session, customer_id: UUID, channel: str, reason: str, by: str, reference: str | None = None
) -> tuple[Row[Any], bool]:
    """Reach the customer on this channel no more; for a bounce or a complaint at the address that is known now, which
    ``reference`` says is still the one meant. Returns the suppression, and False if it was in force already. Raises
    NotFound, Gone, Invalid, Conflict ``contact_point_changed``."""
    row = customer_profiles.lock(session, customer_id)
    if reference is not None and reference != reference_of(row):
        raise Conflict("contact_point_changed", "this customer was changed since the address was given out")
    if reason in OF_ADDRESSES:
        address = address_of(session, row, channel)
        if address is None:
            raise _unusable(
                "no_contact_point", "this customer has no address on this channel", "/customer_id"
            )
        return _set(session, channel, reason, by, {"address_token": address_token(session, channel, address)})
    about = {"customer_id": row.customer_id, "recorded_customer_id": customer_id}
    return _set(session, channel, reason, by, about)


def suppress_address(
    session: Session, address: str, channel: str, reason: str, by: str
) -> tuple[Row[Any], bool]:
    """Write to this address, or call this number, no more, whoever has it. Raises Invalid."""
    normal = normal_address(channel, address)
    if normal is None:
        raise _unusable("address_invalid", "this is no address of this channel", "/address")
    return _set(session, channel, reason, by, {"address_token": address_token(session, channel, normal)})


def lift(session: Session, suppression_id: UUID, because: str, by: str) -> Row[Any]:
    """End a suppression. Raises NotFound, Conflict ``suppression_lifted``."""
    session.execute(_HOLD)
    lifted = session.execute(
        update(suppression)
        .where(suppression.c.suppression_id == suppression_id, suppression.c.lifted_at.is_(None))
        .values(lifted_at=clock(session), lifted_by=by, lifted_because=because)
        .returning(suppression)
    ).one_or_none()
    if lifted is None:
        get(session, suppression_id)
        raise Conflict("suppression_lifted", "this suppression was lifted before")
    audit.record(
        session,
        "suppression_lifted",
        by=by,
        subject=str(lifted.customer_id) if lifted.customer_id else None,
        suppression_id=str(suppression_id),
        channel=lifted.channel,
        reason=lifted.reason,
    )
    return lifted


def get(session: Session, suppression_id: UUID) -> Row[Any]:
    row = session.execute(
        select(suppression).where(suppression.c.suppression_id == suppression_id)
    ).one_or_none()
    if row is None:
        raise NotFound("suppression_not_found", "no such suppression")
    return row


def page(
    session: Session,
    after: tuple[Any, ...] | None,
    limit: int,
    *,
    channels: Sequence[str] = (),
    reasons: Sequence[str] = (),
    lifted: bool | None = None,
) -> Sequence[Row[Any]]:
    """Suppressions, the latest first, by ``(set_at, suppression_id)``."""
    rows = select(suppression)
    if channels:
        rows = rows.where(suppression.c.channel.in_(channels))
    if reasons:
        rows = rows.where(suppression.c.reason.in_(reasons))
    if lifted is not None:
        rows = rows.where(
            suppression.c.lifted_at.is_not(None) if lifted else suppression.c.lifted_at.is_(None)
        )
    order = (suppression.c.set_at, suppression.c.suppression_id)
    if after is not None:
        rows = rows.where(tuple_(*order) < tuple_(*after))
    return session.execute(rows.order_by(*(column.desc() for column in order)).limit(limit)).all()


def of_customer(session: Session, customer_id: UUID) -> Sequence[Row[Any]]:
    """What was ever set for the customer or for an address that the customer has now, the latest first. Raises
    NotFound, Gone."""
    row = customer_profiles.get(session, customer_id)
    mine = suppression.c.customer_id == row.customer_id
    addresses = [(channel, address_of(session, row, channel)) for channel in ADDRESSES]
    theirs = [
        (suppression.c.channel == channel)
        & (suppression.c.address_token == address_token(session, channel, known))
        for channel, known in addresses
        if known is not None
    ]
    order = (suppression.c.set_at.desc(), suppression.c.suppression_id.desc())
    return session.execute(select(suppression).where(or_(mine, *theirs)).order_by(*order)).all()


def address_of(session: Session, row: Row[Any], channel: str) -> str | None:
    """The customer's address on a channel, in clear; None where there is none."""
    field = ADDRESSES.get(channel)
    return None if field is None else customer_profiles.personal_of(session, [row], [field])[0][field]


def address_token(session: Session, channel: str, address: str) -> bytes:
    """The blind token of a normalised address, the same for all channels that use it."""
    return blind(session, ADDRESSES[channel], address)


def normal_address(channel: str, address: str) -> str | None:
    match ADDRESSES.get(channel):
        case "email":
            return normal_email(address)
        case "phone":
            return normal_phone(address, None)
    return None


def _set(
    session: Session, channel: str, reason: str, by: str, about: dict[str, Any]
) -> tuple[Row[Any], bool]:
    session.execute(_HOLD)
    key, value = next(iter(about.items()))
    found = session.execute(
        select(suppression).where(
            suppression.c[key] == value,
            suppression.c.channel == channel,
            suppression.c.reason == reason,
            suppression.c.lifted_at.is_(None),
        )
    ).first()
    if found is not None:
        return found, False
    made = session.execute(
        insert(suppression)
        .values(
            suppression_id=uuid7(), channel=channel, reason=reason, set_at=clock(session), set_by=by, **about
        )
        .returning(suppression)
    ).one()
    return made, True


def _unusable(code: str, message: str, pointer: str) -> Invalid:
    return Invalid(code, message, faults=[Fault(pointer, code, message)])
