"""A copy of everything that the suite holds about a person (GDPR 15 and 20, PIPL 45), gathered once, kept sealed for days.

It is gathered section by section into blocks sealed under a key of the request's own, which is destroyed with it. A copy
belongs to whom it was gathered for: who was merged or unmerged since gets a new one, so that two people's data never mix.
"""

import json
from collections.abc import Iterator, Mapping, Sequence
from datetime import date, datetime, timedelta
from decimal import Decimal
from typing import Any
from uuid import UUID

from sqlalchemy import Row, and_, func, insert, select, text, tuple_, update
from sqlalchemy.orm import Session
from sqlalchemy.types import BigInteger, Integer, LargeBinary
from sqlalchemy.types import Uuid as UuidType

from services.profile.domain import customers, erasure
from services.profile.domain.holdings import HOLDINGS, Holding
from services.profile.tables import access_block, access_request
from shared import audit, sealing
from shared.errors import Conflict, Gone, NotFound
from shared.jobs import jobs

KIND = "access_request"
KEPT_FOR = timedelta(days=7)
# A request whose job was cancelled or given up leaves nothing behind for longer than this.
UNFINISHED_FOR = timedelta(days=14)
ROWS = 1_000

Rows = list[dict[str, Any]]


def request(session: Session, customer_id: UUID, by: str, now: datetime) -> UUID:
    """Begin to gather; the id of the request and of its job. Raises NotFound, Gone."""
    row = customers.lock_root(session, customer_id)
    request_id = jobs.create(session, KIND, {"customer_id": str(row.customer_id)}, created_by=by)
    session.execute(
        insert(access_request).values(
            request_id=request_id, customer_id=row.customer_id, requested_at=now, requested_by=by
        )
    )
    audit.record(session, "access_requested", by=by, subject=str(row.customer_id), request=str(request_id))
    return request_id


def get(session: Session, request_id: UUID) -> Row[Any]:
    """Raises NotFound ``access_request_not_found``."""
    row = session.execute(
        select(access_request).where(access_request.c.request_id == request_id)
    ).one_or_none()
    if row is None:
        raise NotFound("access_request_not_found", "no such access request")
    return row


def person(session: Session, customer_id: UUID) -> list[UUID]:
    """All who are one customer with this one, sorted. Raises Gone ``customer_erased``."""
    rows = session.execute(
        text(
            """
            select c.customer_id, c.state from customer c, customer asked
            where asked.customer_id = :id
                and coalesce(c.merged_into, c.customer_id) = coalesce(asked.merged_into, asked.customer_id)
            order by c.customer_id
            """
        ),
        {"id": customer_id},
    ).all()
    if any(row.state == "erased" for row in rows):
        raise customers.erased()
    return [row.customer_id for row in rows]


def root(session: Session, customer_id: UUID) -> UUID:
    """The id under which the person answers now."""
    found: UUID = session.scalars(
        text("select coalesce(merged_into, customer_id) from customer where customer_id = :id"),
        {"id": customer_id},
    ).one()
    return found


def begin(session: Session, request_id: UUID) -> list[UUID]:
    """Note whose data are gathered; what was gathered before for somebody else (a merge meanwhile) is thrown away."""
    row = session.execute(
        select(access_request).where(access_request.c.request_id == request_id).with_for_update()
    ).one()
    if row.destroyed_at is not None:
        raise Gone("access_request_expired", "this copy was destroyed; ask for a new one")
    ids = person(session, row.customer_id)
    if row.person != ids:
        session.execute(
            update(access_request).where(access_request.c.request_id == request_id).values(person=ids)
        )
        session.execute(access_block.delete().where(access_block.c.request_id == request_id))
    return ids


def is_same_person(session: Session, request_id: UUID) -> bool:
    """Whether nobody was merged or unmerged since the gathering began. Raises Gone."""
    row = get(session, request_id)
    if row.destroyed_at is not None:
        raise Gone("access_request_expired", "this copy was destroyed; ask for a new one")
    return bool(row.person == person(session, row.customer_id))


def keep(session: Session, request_id: UUID, number: int, service: str, section: str, rows: Rows) -> None:
    """Seal one block of a section."""
    content = json.dumps(rows, ensure_ascii=False, separators=(",", ":"), default=_plain)
    sealed = sealing.seal(session, erasure.copy_subject(request_id), _place(request_id, number), content)
    session.execute(
        insert(access_block).values(
            request_id=request_id, number=number, service=service, section=section, sealed=sealed
        )
    )


def finish(session: Session, request_id: UUID) -> None:
    session.execute(
        update(access_request)
        .where(access_request.c.request_id == request_id)
        .values(gathered_at=func.now(), expires_at=func.now() + KEPT_FOR)
    )


def hand_out(session: Session, request_id: UUID, by: str) -> tuple[Row[Any], dict[str, dict[str, Rows]]]:
    """The copy: service → section → rows. It is in the audit log who took it.

    Raises NotFound, Gone ``access_request_expired``, Conflict ``access_request_not_ready``, ``customer_changed``.
    """
    row = get(session, request_id)
    if row.destroyed_at is not None or (row.expires_at is not None and _is_over(session, row.expires_at)):
        raise Gone("access_request_expired", "this copy was destroyed; ask for a new one")
    if row.gathered_at is None:
        raise Conflict(
            "access_request_not_ready", "the copy is still being gathered; its job says how far it is"
        )
    if not is_same_person(session, request_id):
        raise Conflict("customer_changed", "customers were merged or unmerged since; ask for a new copy")
    copy: dict[str, dict[str, Rows]] = {}
    for service, section, rows in _blocks(session, request_id):
        copy.setdefault(service, {}).setdefault(section, []).extend(rows)
    audit.record(
        session, "personal_data_handed_out", by=by, subject=str(row.customer_id), request=str(request_id)
    )
    return row, copy


def forget_old(session: Session, limit: int = 100) -> int:
    """Destroy the copies whose time is over; how many there were."""
    over = session.scalars(
        select(access_request.c.request_id)
        .where(
            access_request.c.destroyed_at.is_(None),
            func.coalesce(access_request.c.expires_at, access_request.c.requested_at + UNFINISHED_FOR)
            < func.now(),
        )
        .limit(limit)
        .with_for_update(skip_locked=True)
    ).all()
    erasure.destroy_copies(session, over)
    return len(over)


def section_of(
    session: Session, holding: Holding, ids: Sequence[UUID], after: Sequence[Any] | None, limit: int = ROWS
) -> tuple[Rows, list[Any] | None]:
    """Up to ``limit`` rows of one section in clear, and the key to go on after; None at the end."""
    table, bound = holding.table, holding.bound_to
    source: Any = table
    if holding.parent is not None:
        source = table.join(bound, table.c[holding.parent[1]] == bound.primary_key.columns.values()[0])
    subject = bound.c[holding.subject].label("sealed_for")
    rows = (
        select(*table.columns, subject)
        .select_from(source)
        .where(and_(*(bound.c[owner].in_(ids) for owner in holding.owners)))
        .order_by(*holding.key)
        .limit(limit)
    )
    if after is not None:
        key = [_typed(column, value) for column, value in zip(holding.key, after, strict=True)]
        rows = rows.where(tuple_(*holding.key) > tuple_(*key))
    found: Any = session.execute(rows).all()
    last = [_plain(found[-1]._mapping[column]) for column in holding.key] if len(found) == limit else None
    return _shown(session, holding, found), last


def _shown(session: Session, holding: Holding, rows: Sequence[Row[Any]]) -> Rows:
    places = [
        (
            str(row.sealed_for),
            f"{holding.table_name}.{column}:{row._mapping[holding.key[0]]}",
            getattr(row, column),
        )
        for row in rows
        for column in holding.sealed
    ]
    clear = iter(sealing.unseal_many(session, places))
    shown = []
    for row in rows:
        opened = {column: next(clear) for column in holding.sealed}
        shown.append(
            {
                _name(holding, column): opened[column] if column in opened else getattr(row, column)
                for column in holding.shown
            }
        )
    return shown


def _name(holding: Holding, column: str) -> str:
    """As the API calls it. Where one name has an open and a sealed half (attributes), the sealed one says so."""
    name = column.removesuffix("_sealed")
    return f"personal_{name}" if name != column and name in holding.table.columns else name


def _blocks(session: Session, request_id: UUID) -> Iterator[tuple[str, str, Rows]]:
    rows = session.execute(
        select(access_block).where(access_block.c.request_id == request_id).order_by(access_block.c.number)
    )
    for row in rows:
        content = sealing.unseal(
            session, erasure.copy_subject(request_id), _place(request_id, row.number), row.sealed
        )
        if content is not None:
            yield row.service, row.section, json.loads(content)


def _place(request_id: UUID, number: int) -> str:
    return f"access_block.sealed:{request_id}/{number}"


def _is_over(session: Session, moment: datetime) -> bool:
    return bool(session.scalar(select(func.now() >= moment)))


def _plain(value: Any) -> Any:
    """A value of the database as JSON has it."""
    if isinstance(value, datetime | date):
        return value.isoformat()
    if isinstance(value, Decimal | UUID):
        return str(value)
    if isinstance(value, bytes | memoryview):
        return bytes(value).hex()
    return value


def _typed(column: Any, value: Any) -> Any:
    if isinstance(column.type, UuidType):
        return UUID(value)
    if isinstance(column.type, BigInteger | Integer):
        return int(value)
    return bytes.fromhex(value) if isinstance(column.type, LargeBinary) else value


SECTIONS: Mapping[str, Holding] = {holding.section: holding for holding in HOLDINGS}
