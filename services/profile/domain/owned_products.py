"""What customers own: things with a serial number and a warranty, registered by them or from what they bought."""

from collections.abc import Mapping, Sequence
from datetime import date, datetime
from typing import Any, NamedTuple
from uuid import UUID

from sqlalchemy import Row, delete, insert, select, text, tuple_, update
from sqlalchemy.dialects.postgresql import insert as upsert
from sqlalchemy.orm import Session

from services.profile.domain import addresses, customers, products
from services.profile.rules.facts import CustomerRef
from services.profile.rules.fulfilments import day_of
from services.profile.tables import owned_product, warranty_extension
from shared import blind_indexes, sealing
from shared.errors import Conflict, Fault, Invalid, NotFound
from shared.ids import uuid7

Shown = dict[str, Any]
_FIELD = "owned_product.serial_number"


class Registration(NamedTuple):
    """A thing as somebody registers it: of a line of a purchase (``purchase``: source, external_id, line), or of a sku."""

    sku: str | None = None
    purchase: tuple[str, str, int] | None = None
    serial_number: str | None = None
    acquired_on: date | None = None
    warranty_until: date | None = None


_LINE = text(
    """
    select p.purchase_id, p.customer_id, p.recorded_customer_id, p.occurred_at, p.cancelled_at, l.sku,
        l.quantity - l.returned_quantity as kept,
        (select count(*) from owned_product o where o.purchase_id = p.purchase_id and o.line = l.line) as registered
    from purchase p join purchase_line l using (purchase_id)
    where p.source = :source and p.external_id = :external_id and l.line = :line
    for no key update of p
    """
)


def register(
    session: Session, customer_id: UUID, facts: Registration, now: datetime
) -> tuple[Row[Any], bool]:
    """Register a thing; the row, and False if this customer had registered its serial number before.

    Raises NotFound ``customer_not_found``; Invalid ``purchase_unknown``, ``sku_required``, ``sku_differs``; Conflict
    ``purchase_of_another_customer``, ``purchase_cancelled``, ``all_registered`` (as many as were bought and kept),
    ``serial_number_taken``; Gone.
    """
    ref = CustomerRef(customer_id)
    known = customers.resolve_and_lock(session, [ref]).get(ref)
    if known is None:
        raise customers.not_found()
    if known.state != "active":
        raise customers.erased()
    serial = (facts.serial_number or "").strip().upper() or None
    token = None if serial is None else blind_indexes.blind(session, _FIELD, serial)
    bought = None if facts.purchase is None else _bought(session, facts, known)
    sku = facts.sku or (bought and bought.sku)
    if sku is None:
        raise _invalid("sku", "sku_required", "name the sku, or the purchase's line")
    if token is not None and (before := _by_token(session, sku, token)):
        return _repeated(before, known), False
    if bought is not None and bought.registered >= bought.kept:
        raise Conflict("all_registered", "as many of this line are registered as were bought and kept")

    owned_product_id = uuid7()
    # Where its purchase goes when a merge is undone, it goes, too.
    recorded_id = (bought and bought.recorded_customer_id) or known.recorded_customer_id
    acquired = facts.acquired_on
    if acquired is None and bought is not None:
        acquired = day_of(bought.occurred_at, session.info["settings"].time_zone)
    sealed = None
    if serial is not None:
        place = _place(owned_product_id)
        sealed = sealing.seal(session, str(recorded_id), place, serial)
    row = upsert(owned_product).values(
        owned_product_id=owned_product_id,
        customer_id=known.customer_id,
        recorded_customer_id=recorded_id,
        sku=sku,
        serial_number_sealed=sealed,
        serial_number_token=token,
        purchase_id=bought and bought.purchase_id,
        line=facts.purchase and facts.purchase[2],
        acquired_on=acquired,
        warranty_until=facts.warranty_until,
        registered_at=now,
    )
    made = session.execute(row.on_conflict_do_nothing().returning(owned_product)).one_or_none()
    if made is None:  # somebody else registered this serial number in this moment
        assert token is not None
        taken = _by_token(session, sku, token)
        assert taken is not None
        return _repeated(taken, known), False
    products.mention(session, sku, now)
    return made, True


def extend(
    session: Session,
    owned_product_id: UUID,
    until: date,
    reason: str,
    reference: str | None,
    by: str,
    now: datetime,
) -> Row[Any]:
    """Let the warranty end later. Raises NotFound; Conflict ``warranty_not_extended`` if it ends then or later already."""
    row = _find(session, owned_product_id, lock=True)
    if row.warranty_until is not None and row.warranty_until >= until:
        raise Conflict("warranty_not_extended", "the warranty ends no earlier than that already")
    session.execute(
        insert(warranty_extension).values(
            warranty_extension_id=uuid7(),
            owned_product_id=owned_product_id,
            previous_until=row.warranty_until,
            until=until,
            reason=reason,
            reference=reference,
            extended_at=now,
            extended_by=by,
        )
    )
    of = owned_product.c.owned_product_id
    session.execute(update(owned_product).where(of == owned_product_id).values(warranty_until=until))
    return _find(session, owned_product_id)


def remove(session: Session, owned_product_id: UUID) -> None:
    """Forget a thing: given away, thrown away, registered in error. Raises NotFound ``owned_product_not_found``."""
    row = _find(session, owned_product_id, lock=True)
    of = owned_product.c.owned_product_id
    session.execute(delete(owned_product).where(of == row.owned_product_id))


def get(session: Session, owned_product_id: UUID) -> Row[Any]:
    """Raises NotFound ``owned_product_not_found``."""
    return _find(session, owned_product_id)


def of_customer(
    session: Session, customer_id: UUID, after: tuple[datetime, UUID] | None, limit: int
) -> Sequence[Row[Any]]:
    """Latest registered first. Raises NotFound ``customer_not_found``, Gone."""
    kept = owned_product.c
    order = (kept.registered_at, kept.owned_product_id)
    rows = select(owned_product).where(kept.customer_id == addresses.owner_of(session, customer_id))
    if after is not None:
        rows = rows.where(tuple_(*order) < tuple_(*after))
    return session.execute(rows.order_by(*(column.desc() for column in order)).limit(limit)).all()


def page(
    session: Session,
    after: tuple[date, UUID] | None,
    limit: int,
    *,
    sku: str | None = None,
    serial_number: str | None = None,
    warranty_until_gte: date | None = None,
    warranty_until_lt: date | None = None,
) -> Sequence[Row[Any]]:
    """Things with a warranty, the earliest end first; or, by its ``serial_number``, the one that bears it."""
    kept = owned_product.c
    rows = select(owned_product)
    if sku is not None:
        rows = rows.where(kept.sku == sku)
    if serial_number is not None:
        token = blind_indexes.blind(session, _FIELD, serial_number.strip().upper())
        return session.execute(rows.where(kept.serial_number_token == token).limit(limit)).all()
    order = (kept.warranty_until, kept.owned_product_id)
    rows = rows.where(kept.warranty_until.is_not(None))
    if warranty_until_gte is not None:
        rows = rows.where(kept.warranty_until >= warranty_until_gte)
    if warranty_until_lt is not None:
        rows = rows.where(kept.warranty_until < warranty_until_lt)
    if after is not None:
        rows = rows.where(tuple_(*order) > tuple_(*after))
    return session.execute(rows.order_by(*order).limit(limit)).all()


def shown(session: Session, rows: Sequence[Row[Any]], *, clear: bool) -> list[Shown]:
    """Things as the API shows them, with the extensions of their warranty; serial numbers only if ``clear``."""
    serials: list[str | None] = [None] * len(rows)
    if clear:
        serials = sealing.unseal_many(
            session,
            [
                (str(row.recorded_customer_id), _place(row.owned_product_id), row.serial_number_sealed)
                for row in rows
            ],
        )
    extensions: dict[UUID, list[Mapping[str, Any]]] = {row.owned_product_id: [] for row in rows}
    of = warranty_extension.c
    wanted = select(warranty_extension).where(of.owned_product_id.in_(extensions))
    for one in session.execute(wanted.order_by(of.extended_at, of.until)):
        extensions[one.owned_product_id].append(one._asdict())
    return [
        row._asdict()
        | {
            "id": row.owned_product_id,
            "serial_number": serial,
            "extensions": extensions[row.owned_product_id],
        }
        for row, serial in zip(rows, serials, strict=True)
    ]


def _bought(session: Session, facts: Registration, known: customers.Known) -> Row[Any]:
    assert facts.purchase is not None
    source, external_id, line = facts.purchase
    named = {"source": source, "external_id": external_id, "line": line}
    bought = session.execute(_LINE, named).one_or_none()
    if bought is None:
        raise _invalid("purchase", "purchase_unknown", "no such line of a purchase is known")
    if bought.customer_id not in (None, known.customer_id):
        raise Conflict("purchase_of_another_customer", "the purchase was recorded for another customer")
    if bought.cancelled_at is not None:
        raise Conflict("purchase_cancelled", "this purchase was called off")
    if facts.sku not in (None, bought.sku):
        raise _invalid("sku", "sku_differs", "the line of the purchase is of another sku")
    return bought


def _repeated(before: Row[Any], known: customers.Known) -> Row[Any]:
    if before.customer_id != known.customer_id:
        raise Conflict("serial_number_taken", "another customer registered this serial number")
    return before


def _by_token(session: Session, sku: str, token: bytes) -> Row[Any] | None:
    kept = owned_product.c
    wanted = select(owned_product).where(kept.sku == sku, kept.serial_number_token == token)
    return session.execute(wanted).one_or_none()


def _find(session: Session, owned_product_id: UUID, *, lock: bool = False) -> Row[Any]:
    wanted = select(owned_product).where(owned_product.c.owned_product_id == owned_product_id)
    row = session.execute(wanted.with_for_update() if lock else wanted).one_or_none()
    if row is None:
        raise NotFound("owned_product_not_found", "no such thing is registered")
    return row


def _place(owned_product_id: UUID) -> str:
    return f"owned_product.serial_number_sealed:{owned_product_id}"


def _invalid(field: str, code: str, message: str) -> Invalid:
    return Invalid(code, message, faults=[Fault(f"/{field}", code, message)])
