"""What is known about a customer: written whole or in part, personal fields sealed, coarse changes announced."""

from collections.abc import Iterable, Mapping, Sequence
from datetime import date, datetime
from typing import Any
from uuid import UUID

from sqlalchemy import Row, insert, select, tuple_, update
from sqlalchemy.dialects.postgresql import insert as upsert
from sqlalchemy.orm import Session

from services.profile.domain import customers
from services.profile.rules.contacts import normal_email, normal_phone
from services.profile.tables import customer, customer_external_id
from shared import sealing
from shared.errors import Conflict, Fault, Invalid
from shared.events.profile import CustomerFacts, CustomerRegistered, CustomerUpdated, ExternalId
from shared.ids import uuid7
from shared.messaging.outbox import announce

# Field of the API → column under seal. The subject is the customer, the place the column and row.
PERSONAL = {
    "name": "name_sealed",
    "email": "email_sealed",
    "phone": "phone_sealed",
    "birth_date": "birth_date_sealed",
}
COARSE = (
    "kind",
    "country",
    "region",
    "language",
    "time_zone",
    "acquisition_channel",
    "tags",
    "registered_at",
    "birth_month_day",
)

Given = Mapping[str, Any]
"""Fields as the API names them; absent = not spoken of, None = removed."""


def register(session: Session, given: Given, names: Sequence[customers.ExternalName], now: datetime) -> UUID:
    """Make a customer known under ``names`` (may be none). Raises Conflict ``external_id_taken``."""
    customer_id = uuid7()
    if not _create(session, customer_id, given, names, now):
        raise Conflict("external_id_taken", "one of the external ids belongs to another customer")
    return customer_id


def put(session: Session, name: customers.ExternalName, given: Given, now: datetime) -> tuple[Row[Any], bool]:
    """The customer of an external name, made if there is none, with ``given`` written over what is known; and whether
    it was made. Fields that are absent stay as they are. Raises Gone ``customer_erased``."""
    found = customers.find_by_names(session, [name])
    if not found:
        customer_id = uuid7()
        if _create(session, customer_id, given, [name], now):
            return get(session, customer_id), True
        found = customers.find_by_names(session, [name])  # somebody else was faster and has committed
    row = lock(session, found[name][0])
    return change(session, row, given, now), False


def lock(session: Session, customer_id: UUID) -> Row[Any]:
    """The row to change, held until the end of the transaction; a merged customer's id means its winner.
    Raises NotFound, Gone."""
    row = _found(session.execute(_wanted(customer_id).with_for_update(key_share=True)).one_or_none())
    return row if row.merged_into is None else lock(session, row.merged_into)


def get(session: Session, customer_id: UUID) -> Row[Any]:
    """Raises NotFound ``customer_not_found``, Gone ``customer_erased``. A merged customer's id answers as its winner."""
    row = session.execute(_wanted(customer_id)).one_or_none()
    if row is not None and row.merged_into is not None:
        row = session.execute(_wanted(row.merged_into)).one_or_none()
    return _found(row)


def by_name(session: Session, name: customers.ExternalName) -> Row[Any]:
    """The customer behind an external name. Raises NotFound, Gone."""
    found = customers.find_by_names(session, [name])
    if not found:
        raise customers.not_found()
    return get(session, found[name][0])


def change(session: Session, row: Row[Any], given: Given, now: datetime) -> Row[Any]:
    """Write ``given`` over a locked row; the same again changes nothing and announces nothing."""
    before = personal_of(session, [row])[0]
    values = normalised(given, row.country)
    changed = {name: value for name, value in values.items() if name in PERSONAL and value != before[name]}
    written: dict[str, Any] = {
        name: value for name, value in values.items() if name in COARSE and value != getattr(row, name)
    }
    if "birth_date" in changed:
        month_day = _month_day(changed["birth_date"])
        if month_day != row.birth_month_day:
            written["birth_month_day"] = month_day
    if not changed and not written:
        return row
    coarse = bool(written)
    written |= _sealed(session, row.customer_id, changed)
    session.execute(
        update(customer)
        .where(customer.c.customer_id == row.customer_id)
        .values(**written, version=customer.c.version + 1, updated_at=now)
    )
    after = get(session, row.customer_id)
    if coarse:
        _announce(session, CustomerUpdated, after, now)
    return after


def page(
    session: Session,
    after: tuple[datetime, UUID] | None,
    limit: int,
    *,
    countries: Sequence[str] = (),
    kinds: Sequence[str] = (),
    external_ids: Sequence[str] = (),
    sources: Sequence[str] = (),
    created_at_gte: datetime | None = None,
    created_at_lt: datetime | None = None,
) -> Sequence[Row[Any]]:
    """Active customers in the order in which they became known here, by ``(created_at, customer_id)``."""
    rows = select(customer).where(customer.c.state == "active")
    if countries:
        rows = rows.where(customer.c.country.in_(countries))
    if kinds:
        rows = rows.where(customer.c.kind.in_(kinds))
    if external_ids or sources:
        named = select(customer_external_id.c.customer_id)
        if external_ids:
            named = named.where(customer_external_id.c.external_id.in_(external_ids))
        if sources:
            named = named.where(customer_external_id.c.source.in_(sources))
        rows = rows.where(customer.c.customer_id.in_(named))
    if created_at_gte is not None:
        rows = rows.where(customer.c.created_at >= created_at_gte)
    if created_at_lt is not None:
        rows = rows.where(customer.c.created_at < created_at_lt)
    order = (customer.c.created_at, customer.c.customer_id)
    if after is not None:
        rows = rows.where(tuple_(*order) > tuple_(*after))
    return session.execute(rows.order_by(*order).limit(limit)).all()


def names_of(session: Session, ids: Iterable[UUID]) -> dict[UUID, list[customers.ExternalName]]:
    """The external names of customers, sorted."""
    names: dict[UUID, list[customers.ExternalName]] = {customer_id: [] for customer_id in ids}
    table = customer_external_id.c
    rows = select(table.customer_id, table.source, table.external_id).where(table.customer_id.in_(names))
    for row in session.execute(rows.order_by(table.source, table.external_id)):
        names[row.customer_id].append((row.source, row.external_id))
    return names


def personal_of(
    session: Session, rows: Sequence[Row[Any]], fields: Iterable[str] = PERSONAL
) -> list[dict[str, str | None]]:
    """The personal ``fields`` of each row in clear: for callers who may see them, and for nobody's log."""
    wanted = tuple(fields)
    places = [
        (str(row.customer_id), place(PERSONAL[field], row.customer_id), getattr(row, PERSONAL[field]))
        for row in rows
        for field in wanted
    ]
    clear = iter(sealing.unseal_many(session, places))
    return [{field: next(clear) for field in wanted} for _ in rows]


def place(column: str, customer_id: UUID) -> str:
    return f"customer.{column}:{customer_id}"


def normalised(given: Given, country: str | None) -> dict[str, Any]:
    """``given`` in the forms that are stored; a phone number without + is one of the customer's country.

    Raises Invalid ``email_invalid``, ``phone_invalid``.
    """
    values = dict(given)
    if values.get("email") is not None:
        values["email"] = normal_email(values["email"])
        if values["email"] is None:
            raise _unusable("email", "email_invalid", "this is no e-mail address")
    if values.get("phone") is not None:
        values["phone"] = normal_phone(values["phone"], values.get("country", country))
        if values["phone"] is None:
            raise _unusable(
                "phone", "phone_invalid", "this is no phone number; write it as +86…, or give the country"
            )
    if isinstance(values.get("birth_date"), date):
        values["birth_date"] = values["birth_date"].isoformat()
    if values.get("name") is not None:
        values["name"] = values["name"].strip() or None
    if "tags" in values:
        values["tags"] = sorted(set(values["tags"] or ()))
    if values.get("kind", "") is None or values.get("registered_at", "") is None:
        raise _unusable("kind", "not_removable", "kind and registered_at cannot be removed")
    return values


def _create(
    session: Session, customer_id: UUID, given: Given, names: Sequence[customers.ExternalName], now: datetime
) -> bool:
    """False, and nothing written, if one of the names is taken."""
    values = normalised(given, None)
    personal = {name: values[name] for name in PERSONAL if values.get(name) is not None}
    coarse = {name: values[name] for name in COARSE if values.get(name) is not None}
    coarse.setdefault("kind", "person")
    coarse["registered_at"] = min(coarse.get("registered_at", now), now)
    with session.begin_nested() as savepoint:
        session.execute(
            insert(customer).values(
                customer_id=customer_id,
                **coarse,
                birth_month_day=_month_day(personal.get("birth_date")),
                created_at=now,
                updated_at=now,
                **_sealed(session, customer_id, personal),
            )
        )
        if names:
            rows = [
                {"source": source, "external_id": external_id, "customer_id": customer_id}
                for source, external_id in sorted(set(names))
            ]
            named = upsert(customer_external_id).values(rows).on_conflict_do_nothing()
            taken = len(session.scalars(named.returning(customer_external_id.c.source)).all()) < len(rows)
            if taken:
                savepoint.rollback()
                return False
    _announce(session, CustomerRegistered, get(session, customer_id), now)
    return True


def _announce(session: Session, event: type[CustomerFacts], row: Row[Any], now: datetime) -> None:
    names = names_of(session, [row.customer_id])[row.customer_id]
    announce(
        session,
        event(
            customer_id=row.customer_id,
            kind=row.kind,
            external_ids=tuple(ExternalId(source=source, external_id=name) for source, name in names),
            country=row.country,
            region=row.region,
            language=row.language,
            time_zone=row.time_zone,
            birth_month_day=row.birth_month_day,
            acquisition_channel=row.acquisition_channel,
            tags=tuple(row.tags),
            registered_at=row.registered_at,
            historical=customers.is_historical(session, row.registered_at, now),
        ),
    )


def _sealed(
    session: Session, customer_id: UUID, personal: Mapping[str, str | None]
) -> dict[str, bytes | None]:
    texts = {PERSONAL[name]: value for name, value in personal.items() if value is not None}
    sealed = sealing.seal_many(
        session, [(str(customer_id), place(column, customer_id), value) for column, value in texts.items()]
    )
    removed: dict[str, bytes | None] = {
        PERSONAL[name]: None for name, value in personal.items() if value is None
    }
    return removed | dict(zip(texts, sealed, strict=True))


def _wanted(customer_id: UUID) -> Any:
    return select(customer).where(customer.c.customer_id == customer_id)


def _found(row: Row[Any] | None) -> Row[Any]:
    if row is None:
        raise customers.not_found()
    if row.state == "erased":
        raise customers.erased()
    return row


def _month_day(birth_date: str | None) -> str | None:
    return None if birth_date is None else birth_date[5:]


def _unusable(field: str, code: str, message: str) -> Invalid:
    return Invalid(code, message, faults=[Fault(f"/{field}", code, message)])
