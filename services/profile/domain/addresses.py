"""The address book: where gifts are shipped, engineers visit and invoices go. Everything but country and region is sealed."""

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any
from uuid import UUID

from sqlalchemy import Row, delete, func, insert, select, update
from sqlalchemy.orm import Session

from services.profile.domain import customers
from services.profile.rules.contacts import normal_phone
from services.profile.rules.facts import CustomerRef
from services.profile.tables import customer_address
from shared import sealing
from shared.errors import Conflict, Fault, Invalid, NotFound
from shared.ids import uuid7

# Field of the API → column under seal. The subject is the customer for whom the address was recorded.
PERSONAL = {
    name: f"{name}_sealed" for name in ("recipient", "phone", "street", "district", "city", "postcode")
}
COARSE = ("kind", "country", "region")
# A person has some addresses, an organisation some hundred.
MOST = 500

Given = Mapping[str, Any]
"""Fields as the API names them; absent = not spoken of, None = removed. ``default`` True makes it the one of its kind."""
Shown = dict[str, Any]


def add(session: Session, customer_id: UUID, given: Given, now: datetime) -> Row[Any]:
    """Raises NotFound ``customer_not_found``; Invalid ``phone_invalid``; Conflict ``too_many_addresses``; Gone."""
    known = _lock_owner(session, customer_id)
    count = select(func.count()).where(customer_address.c.customer_id == known.customer_id)
    if session.execute(count).scalar_one() >= MOST:
        raise Conflict("too_many_addresses", f"a customer has at most {MOST} addresses")
    address_id = uuid7()
    values = _normalised(given, None)
    session.execute(
        insert(customer_address).values(
            address_id=address_id,
            customer_id=known.customer_id,
            recorded_customer_id=known.recorded_customer_id,
            **{name: values[name] for name in COARSE if name in values},
            default_since=now if given.get("default") else None,
            created_at=now,
            updated_at=now,
            **_sealed(session, known.recorded_customer_id, address_id, values),
        )
    )
    return _find(session, known.customer_id, address_id)


def lock(session: Session, customer_id: UUID, address_id: UUID) -> Row[Any]:
    """The row to change. Raises NotFound ``customer_not_found``, ``address_not_found``; Gone."""
    owner = _lock_owner(session, customer_id).customer_id
    return _find(session, owner, address_id, lock=True)


def change(session: Session, row: Row[Any], given: Given, now: datetime) -> Row[Any]:
    """Write ``given`` over a locked row; the same again changes nothing."""
    before = shown(session, [row], clear=True)[0]
    values = _normalised(given, row.country)
    written: dict[str, Any] = {
        name: values[name] for name in COARSE if name in values and values[name] != before[name]
    }
    personal = {name: values[name] for name in PERSONAL if name in values and values[name] != before[name]}
    written |= _sealed(session, row.recorded_customer_id, row.address_id, personal)
    if given.get("default") is not None and given["default"] != before["default"]:
        written["default_since"] = now if given["default"] else None
    if not written:
        return row
    session.execute(
        update(customer_address)
        .where(customer_address.c.address_id == row.address_id)
        .values(**written, version=customer_address.c.version + 1, updated_at=now)
    )
    return _find(session, row.customer_id, row.address_id)


def remove(session: Session, row: Row[Any]) -> None:
    session.execute(delete(customer_address).where(customer_address.c.address_id == row.address_id))


def of_customer(session: Session, customer_id: UUID, kinds: Sequence[str] = ()) -> Sequence[Row[Any]]:
    """Defaults first, then the latest. Raises NotFound, Gone."""
    kept = customer_address.c
    rows = select(customer_address).where(kept.customer_id == owner_of(session, customer_id))
    if kinds:
        rows = rows.where(kept.kind.in_(kinds))
    return session.execute(
        rows.order_by(kept.default_since.desc().nulls_last(), kept.address_id.desc())
    ).all()


def get(session: Session, customer_id: UUID, address_id: UUID) -> Row[Any]:
    """Raises NotFound ``customer_not_found``, ``address_not_found``; Gone."""
    return _find(session, owner_of(session, customer_id), address_id)


def shown(session: Session, rows: Sequence[Row[Any]], *, clear: bool) -> list[Shown]:
    """Addresses as the API shows them, personal fields only if ``clear``."""
    values: list[str | None] = [None] * (len(rows) * len(PERSONAL))
    if clear:
        values = sealing.unseal_many(
            session,
            [
                (str(row.recorded_customer_id), _place(column, row.address_id), getattr(row, column))
                for row in rows
                for column in PERSONAL.values()
            ],
        )
    opened = iter(values)
    defaults = _defaults(session, rows)
    return [
        row._asdict()
        | {name: next(opened) for name in PERSONAL}
        | {"id": row.address_id, "default": defaults.get((row.customer_id, row.kind)) == row.address_id}
        for row in rows
    ]


def owner_of(session: Session, customer_id: UUID) -> UUID:
    """Whom a customer's id means now. Raises NotFound ``customer_not_found``, Gone ``customer_erased``."""
    ref = CustomerRef(customer_id)
    return _known(customers.resolve_many(session, [ref]).get(ref)).customer_id


def _lock_owner(session: Session, customer_id: UUID) -> customers.Known:
    ref = CustomerRef(customer_id)
    return _known(customers.resolve_and_lock(session, [ref]).get(ref))


def _known(known: customers.Known | None) -> customers.Known:
    if known is None:
        raise customers.not_found()
    if known.state != "active":
        raise customers.erased()
    return known


def _find(session: Session, owner: UUID, address_id: UUID, *, lock: bool = False) -> Row[Any]:
    kept = customer_address.c
    wanted = select(customer_address).where(kept.customer_id == owner, kept.address_id == address_id)
    row = session.execute(wanted.with_for_update() if lock else wanted).one_or_none()
    if row is None:
        raise NotFound("address_not_found", "this customer has no such address")
    return row


def _defaults(session: Session, rows: Sequence[Row[Any]]) -> dict[tuple[UUID, str], UUID]:
    """The default of each kind: after a merge there may be two, and the later choice holds."""
    kept = customer_address.c
    chosen = (
        select(kept.customer_id, kept.kind, kept.address_id)
        .where(kept.customer_id.in_({row.customer_id for row in rows}), kept.default_since.is_not(None))
        .order_by(kept.default_since, kept.address_id)
    )
    return {(row.customer_id, row.kind): row.address_id for row in session.execute(chosen)}


def _normalised(given: Given, country: str | None) -> dict[str, Any]:
    values: dict[str, Any] = {
        name: value.strip() or None if isinstance(value, str) else value
        for name, value in given.items()
        if name in PERSONAL or name in COARSE
    }
    if values.get("phone") is not None:
        values["phone"] = normal_phone(values["phone"], values.get("country", country))
        if values["phone"] is None:
            message = "this is no phone number; write it as +86…, or give the country"
            raise Invalid("phone_invalid", message, faults=[Fault("/phone", "phone_invalid", message)])
    if "kind" in values and values["kind"] is None:
        message = "an address has a kind"
        raise Invalid("kind_required", message, faults=[Fault("/kind", "kind_required", message)])
    return values


def _sealed(
    session: Session, subject: UUID, address_id: UUID, values: Mapping[str, str | None]
) -> dict[str, bytes | None]:
    personal = {PERSONAL[name]: value for name, value in values.items() if name in PERSONAL}
    texts = {column: value for column, value in personal.items() if value is not None}
    sealed = sealing.seal_many(
        session, [(str(subject), _place(column, address_id), value) for column, value in texts.items()]
    )
    return dict.fromkeys(personal, None) | dict(zip(texts, sealed, strict=True))


def _place(column: str, address_id: UUID) -> str:
    return f"customer_address.{column}:{address_id}"
