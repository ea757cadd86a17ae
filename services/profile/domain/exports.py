"""Exports: asked for, allowed by a second person where they hold personal data, written into sealed blocks, forgotten."""

from collections.abc import Iterator, Mapping, Sequence
from datetime import datetime, timedelta
from typing import Any
from uuid import UUID

from sqlalchemy import Row, delete, func, insert, select, tuple_, update
from sqlalchemy.orm import Session

from services.profile.domain import customer_lists, customer_profiles, customer_values
from services.profile.domain.customer_lists import Range
from services.profile.rules.exports import is_personal
from services.profile.tables import (
    consent,
    erasure,
    export,
    export_block,
    product,
    purchase,
    purchase_line,
    purchase_return,
)
from shared import audit, sealing
from shared.database import Sessions
from shared.errors import Conflict, Forbidden, Gone, NotFound
from shared.jobs import jobs
from shared.jobs.tables import job

# How long a file can be fetched once it is written.
KEPT = timedelta(hours=24)

Place = Sequence[Any]
"""Where a list goes on: the order's values of the last row, as JSON."""


def request(
    session: Session,
    *,
    kind: str,
    form: str,
    byte_order_mark: bool,
    fields: Sequence[str],
    filters: Mapping[str, Any],
    reason: str | None,
    by: str,
    credential: str,
) -> UUID:
    """Ask for an export; its job starts at once, or with the approval if it holds personal data."""
    personal = is_personal(kind, fields)
    parameters = {"kind": kind, "format": form, "fields": list(fields), "personal": personal}
    export_id = jobs.create(session, "export", parameters, created_by=by, held=personal)
    session.execute(
        insert(export).values(
            export_id=export_id,
            kind=kind,
            format=form,
            byte_order_mark=byte_order_mark,
            fields=list(fields),
            filters=dict(filters),
            personal=personal,
            reason=reason,
            requested_by=by,
            requested_by_credential=credential,
        )
    )
    audit.record(
        session,
        "export_requested",
        by=by,
        subject=str(export_id),
        kind=kind,
        personal=personal,
        fields=",".join(fields),
    )
    return export_id


def approve(session: Session, export_id: UUID, *, by: str, credential: str) -> Row[Any]:
    """Allow an export of personal data; it starts. Told again by the same person it changes nothing.

    Raises NotFound, Forbidden ``own_request``, Conflict ``approval_not_needed``, ``export_cancelled`` or
    ``already_approved``.
    """
    found = get(session, export_id, lock=True)
    if not found.personal:
        raise Conflict("approval_not_needed", "this export holds no personal data")
    if found.requested_by_credential == credential:
        raise Forbidden("own_request", "somebody else than who asked for it has to approve")
    if found.approved_at is not None:
        if found.approved_by_credential == credential:
            return found
        raise Conflict("already_approved", "somebody else has approved it")
    if jobs.get(session, export_id, lock=True)["state"] != "queued":
        raise Conflict("export_cancelled", "the export was cancelled")
    session.execute(
        update(export)
        .where(export.c.export_id == export_id)
        .values(approved_by=by, approved_by_credential=credential, approved_at=func.now())
    )
    jobs.release(session, export_id)
    audit.record(session, "export_approved", by=by, subject=str(export_id), requested_by=found.requested_by)
    return get(session, export_id)


def get(session: Session, export_id: UUID, *, lock: bool = False) -> Row[Any]:
    """Raises NotFound ``export_not_found``."""
    statement = select(export).where(export.c.export_id == export_id)
    found = session.execute(statement.with_for_update() if lock else statement).one_or_none()
    if found is None:
        raise NotFound("export_not_found", "there is no such export")
    return found


def page(session: Session, after: tuple[datetime, UUID] | None, limit: int) -> Sequence[Row[Any]]:
    """Exports, latest first, by ``(requested_at, export_id)``."""
    order = (export.c.requested_at, export.c.export_id)
    rows = select(export)
    if after is not None:
        rows = rows.where(tuple_(*order) < tuple_(*after))
    return session.execute(rows.order_by(*(column.desc() for column in order)).limit(limit)).all()


def open_file(session: Session, export_id: UUID, by: str) -> Row[Any]:
    """The export whose file is about to be read; noted in the audit log. Raises NotFound, Conflict ``export_not_ready``,
    Gone ``export_expired``."""
    found = get(session, export_id)
    if found.ready_at is None:
        raise Conflict("export_not_ready", "the file is not written yet")
    if found.destroyed_at is not None or found.expires_at <= clock(session):
        raise Gone("export_expired", "the file was kept for a day and is forgotten")
    audit.record(session, "export_fetched", by=by, subject=str(export_id), personal=found.personal)
    return found


def blocks(sessions: Sessions, export_id: UUID) -> Iterator[bytes]:
    """The file, a block in memory at a time and no transaction held between them."""
    number = 0
    while True:
        with sessions.begin() as session:
            wanted = select(export_block.c.sealed).where(
                export_block.c.export_id == export_id, export_block.c.number == number
            )
            sealed = session.scalar(wanted)
            block = sealing.unseal_bytes(session, _subject(export_id), _place(export_id, number), sealed)
        if block is None:
            return
        yield block
        number += 1


def keep(session: Session, export_id: UUID, number: int, block: bytes, rows: int) -> None:
    """Keep block ``number`` of the file."""
    sealed = sealing.seal_bytes(session, _subject(export_id), _place(export_id, number), block)
    session.execute(insert(export_block).values(export_id=export_id, number=number, sealed=sealed))
    session.execute(
        update(export)
        .where(export.c.export_id == export_id)
        .values(row_count=export.c.row_count + rows, byte_count=export.c.byte_count + len(block))
    )


def clock(session: Session) -> datetime:
    """The database's time of the transaction."""
    now: datetime = session.execute(select(func.now())).scalar_one()
    return now


def was_erased(session: Session, since: datetime) -> bool:
    """Whether somebody was erased since then: a file that was begun before may still tell of the person."""
    return (
        session.scalar(select(erasure.c.customer_id).where(erasure.c.erased_at >= since).limit(1)) is not None
    )


def begin_anew(session: Session, export_id: UUID) -> None:
    """Forget what is written."""
    session.execute(delete(export_block).where(export_block.c.export_id == export_id))
    session.execute(update(export).where(export.c.export_id == export_id).values(row_count=0, byte_count=0))


def finish(session: Session, export_id: UUID) -> None:
    """The file is whole; from now on it can be fetched, for a day."""
    session.execute(
        update(export)
        .where(export.c.export_id == export_id)
        .values(ready_at=func.now(), expires_at=func.now() + KEPT)
    )


def forget(session: Session, limit: int = 100) -> int:
    """Destroy files whose time is over, and what failed or was cancelled left; returns how many."""
    stopped = (
        select(job.c.id)
        .where(job.c.kind == "export", job.c.state.in_(("failed", "cancelled")))
        .where(job.c.finished_at < func.now() - KEPT)
    )
    over = (
        select(export.c.export_id)
        .where(export.c.destroyed_at.is_(None))
        .where((export.c.expires_at <= func.now()) | export.c.export_id.in_(stopped))
        .limit(limit)
        .with_for_update(skip_locked=True)
    )
    gone = list(session.scalars(over))
    for export_id in gone:
        session.execute(delete(export_block).where(export_block.c.export_id == export_id))
        sealing.destroy(session, _subject(export_id))
        session.execute(update(export).where(export.c.export_id == export_id).values(destroyed_at=func.now()))
    return len(gone)


def rows_of(
    session: Session, wanted: Row[Any], after: Place | None, limit: int
) -> tuple[list[dict[str, Any]], Place | None]:
    """The next rows of an export, and where it goes on; None after the last."""
    if wanted.kind == "customers":
        return _customers(session, wanted, after, limit)
    rows, order = _READ[wanted.kind](wanted.filters)
    if after is not None:
        place = [UUID(value) if isinstance(value, str) else value for value in after]
        rows = rows.where(tuple_(*order) > tuple_(*place))
    found = [dict(row._mapping) for row in session.execute(rows.order_by(*order).limit(limit))]
    if len(found) < limit:
        return found, None
    last = [found[-1][column.key] for column in order]
    return found, [value if isinstance(value, int) else str(value) for value in last]


def _customers(
    session: Session, wanted: Row[Any], after: Place | None, limit: int
) -> tuple[list[dict[str, Any]], Place | None]:
    filters = wanted.filters
    asked = customer_lists.Filter(
        facets=customer_lists.facets_of(
            {name: filters.get(name) or () for name in ("country", "kind", "tag")}
        ),
        sources=tuple(filters.get("source") or ()),
        created_at=Range(_moment(filters.get("created_at_gte")), _moment(filters.get("created_at_lt"))),
    )
    place = None if after is None else (datetime.fromisoformat(after[0]), UUID(after[1]))
    rows = customer_lists.page(session, asked, place, limit)
    names = customer_profiles.names_of(session, [row.customer_id for row in rows])
    personal = [name for name in customer_values.PERSONAL if name in wanted.fields]
    clear = customer_values.personal_of(session, rows, personal) if personal else [{} for _ in rows]
    shown = [
        dict(row._mapping)
        | known
        | {"id": row.customer_id}
        | {"external_ids": [f"{source}:{name}" for source, name in names[row.customer_id]]}
        for row, known in zip(rows, clear, strict=True)
    ]
    if len(rows) < limit:
        return shown, None
    return shown, [rows[-1].created_at.isoformat(), str(rows[-1].customer_id)]


def _purchases(filters: Mapping[str, Any]) -> tuple[Any, tuple[Any, ...]]:
    rows = select(purchase, purchase.c.purchase_id.label("id"))
    return _within(rows, purchase, filters), (purchase.c.purchase_id,)


def _purchase_lines(filters: Mapping[str, Any]) -> tuple[Any, tuple[Any, ...]]:
    of = purchase.c
    rows = select(purchase_line, of.source, of.external_id, of.customer_id, of.occurred_at, of.currency).join(
        purchase, of.purchase_id == purchase_line.c.purchase_id
    )
    return _within(rows, purchase, filters), (purchase_line.c.purchase_id, purchase_line.c.line)


def _returns(filters: Mapping[str, Any]) -> tuple[Any, tuple[Any, ...]]:
    rows = select(purchase_return, purchase_return.c.return_id.label("id"))
    return _within(rows, purchase_return, filters), (purchase_return.c.return_id,)


def _consents(filters: Mapping[str, Any]) -> tuple[Any, tuple[Any, ...]]:
    rows = select(consent, consent.c.consent_id.label("id"))
    for name, column in (("purpose", "purpose"), ("consent_channel", "channel"), ("state", "state")):
        if filters.get(name):
            rows = rows.where(consent.c[column].in_(filters[name]))
    return rows, (consent.c.number,)


def _products(filters: Mapping[str, Any]) -> tuple[Any, tuple[Any, ...]]:
    rows = select(product, product.c.product_id.label("id"))
    if filters.get("brand"):
        rows = rows.where(product.c.brand.in_(filters["brand"]))
    if filters.get("active") is not None:
        rows = rows.where(product.c.active == filters["active"])
    return rows, (product.c.product_id,)


def _within(rows: Any, table: Any, filters: Mapping[str, Any]) -> Any:
    for name in ("source", "channel", "store"):
        if filters.get(name):
            rows = rows.where(table.c[name].in_(filters[name]))
    if (gte := _moment(filters.get("occurred_at_gte"))) is not None:
        rows = rows.where(table.c.occurred_at >= gte)
    if (lt := _moment(filters.get("occurred_at_lt"))) is not None:
        rows = rows.where(table.c.occurred_at < lt)
    return rows


_READ = {
    "purchases": _purchases,
    "purchase_lines": _purchase_lines,
    "returns": _returns,
    "consents": _consents,
    "products": _products,
}


def _moment(text: str | None) -> datetime | None:
    return None if text is None else datetime.fromisoformat(text)


def _subject(export_id: UUID) -> str:
    return f"export:{export_id}"


def _place(export_id: UUID, number: int) -> str:
    return f"export_block.sealed:{export_id}/{number}"


__all__ = [
    "KEPT",
    "approve",
    "begin_anew",
    "blocks",
    "clock",
    "finish",
    "forget",
    "get",
    "keep",
    "open_file",
    "page",
    "request",
    "rows_of",
    "was_erased",
]
