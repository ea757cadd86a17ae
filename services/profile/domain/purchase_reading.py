"""Purchases and returns as they stand, with their lines; and one lock for each purchase."""

from collections import defaultdict
from collections.abc import Sequence
from datetime import datetime
from typing import Any
from uuid import UUID

from sqlalchemy import Row, Select, select, text, tuple_
from sqlalchemy.orm import Session

from services.profile.domain import customers
from services.profile.rules.fingerprint import canonical
from services.profile.tables import purchase, purchase_line, purchase_return, purchase_return_line
from shared.errors import NotFound

Shown = dict[str, Any]


_NAMED = text(
    "select purchase_id, recorded_customer_id from purchase where source = :source and external_id = :external_id"
)
_LOCK = text("select * from purchase where purchase_id = :id for no key update")


def lock(session: Session, source: str, external_id: str) -> Row[Any]:
    """The row of a purchase to which something happens, locked until the end of the transaction: its customer first, as
    everybody does who needs both. Raises NotFound ``purchase_not_found``, Gone ``customer_erased``."""
    found = session.execute(_NAMED, {"source": source, "external_id": external_id}).one_or_none()
    if found is None:
        raise not_found()
    recorded_id = found.recorded_customer_id
    if recorded_id is not None and recorded_id not in customers.lock_owners(session, [recorded_id]):
        raise customers.erased()
    return session.execute(_LOCK, {"id": found.purchase_id}).one()


def not_found() -> NotFound:
    return NotFound("purchase_not_found", "no purchase is known under this name")


def get(session: Session, source: str, external_id: str) -> Shown:
    """Raises NotFound ``purchase_not_found``."""
    wanted = select(purchase).where(purchase.c.source == source, purchase.c.external_id == external_id)
    found = _with_parts(session, wanted)
    if not found:
        raise not_found()
    return found[0]


def of_customer(
    session: Session, customer_id: UUID, after: tuple[datetime, UUID] | None, limit: int
) -> list[Shown]:
    """Latest first, by ``(occurred_at, purchase_id)``."""
    order = (purchase.c.occurred_at, purchase.c.purchase_id)
    wanted = select(purchase).where(purchase.c.customer_id == customer_id)
    if after is not None:
        wanted = wanted.where(tuple_(*order) < tuple_(*after))
    return _with_parts(session, wanted.order_by(*(column.desc() for column in order)).limit(limit))


def get_return(session: Session, source: str, external_id: str) -> Shown:
    """Raises NotFound ``return_not_found``."""
    wanted = select(purchase_return).where(
        purchase_return.c.source == source, purchase_return.c.external_id == external_id
    )
    found = _returns(session, wanted)
    if not found:
        raise NotFound("return_not_found", "no return is known under this name")
    return found[0]


def page_of_returns(
    session: Session,
    after: tuple[datetime, UUID] | None,
    limit: int,
    *,
    matched: bool | None = None,
    customer_id: UUID | None = None,
) -> list[Shown]:
    """Returns, latest recorded first; ``matched`` False = those that name no purchase, for review."""
    order = (purchase_return.c.recorded_at, purchase_return.c.return_id)
    wanted = select(purchase_return)
    if matched is not None:
        wanted = wanted.where(purchase_return.c.purchase_id.is_not(None) == matched)
    if customer_id is not None:
        wanted = wanted.where(purchase_return.c.customer_id == customer_id)
    if after is not None:
        wanted = wanted.where(tuple_(*order) < tuple_(*after))
    return _returns(session, wanted.order_by(*(column.desc() for column in order)).limit(limit))


def _with_parts(session: Session, wanted: Select[Any]) -> list[Shown]:
    rows = session.execute(wanted).all()
    ids = [row.purchase_id for row in rows]
    if not ids:
        return []
    lines: dict[UUID, list[Shown]] = defaultdict(list)
    of = purchase_line.c.purchase_id
    for line in session.execute(select(purchase_line).where(of.in_(ids)).order_by(of, purchase_line.c.line)):
        shown = dict(line._mapping)
        lines[shown.pop("purchase_id")].append(shown | {"unit_price": canonical(line.unit_price)})
    returned: dict[UUID, list[Shown]] = defaultdict(list)
    for one in _returns(session, select(purchase_return).where(purchase_return.c.purchase_id.in_(ids))):
        returned[one["purchase_id"]].append(one)
    return [
        dict(row._mapping)
        | {
            "id": row.purchase_id,
            "exchange_rate": None if row.exchange_rate is None else canonical(row.exchange_rate),
            "net_minor": row.total_minor - row.returned_minor,
            "accounting_net_minor": row.accounting_total_minor - row.accounting_returned_minor,
            "lines": lines[row.purchase_id],
            "returns": sorted(returned[row.purchase_id], key=_age),
        }
        for row in rows
    ]


def _returns(session: Session, wanted: Select[Any]) -> list[Shown]:
    rows: Sequence[Row[Any]] = session.execute(wanted).all()
    ids = [row.return_id for row in rows]
    if not ids:
        return []
    lines: dict[UUID, list[Shown]] = defaultdict(list)
    of = purchase_return_line.c
    for line in session.execute(
        select(purchase_return_line).where(of.return_id.in_(ids)).order_by(of.return_id, of.position)
    ):
        price = None if line.unit_price is None else canonical(line.unit_price)
        lines[line.return_id].append(dict(line._mapping) | {"unit_price": price})
    return [
        dict(row._mapping)
        | {
            "id": row.return_id,
            "exchange_rate": None if row.exchange_rate is None else canonical(row.exchange_rate),
            "lines": lines[row.return_id],
        }
        for row in rows
    ]


def _age(one: Shown) -> tuple[datetime, UUID]:
    return one["recorded_at"], one["id"]
