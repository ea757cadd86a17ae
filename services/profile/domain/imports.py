"""Saved mappings, and reading an upload by one."""

from datetime import datetime
from typing import Any, NamedTuple
from uuid import UUID

from sqlalchemy import RowMapping, func, select, text, update
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.orm import Session

from services.profile.rules.mapping import Mapping, RecordMapping
from services.profile.tables import import_mapping
from shared.errors import Invalid, NotFound
from shared.jobs import jobs
from shared.jobs.tables import upload_block


class Saved(NamedTuple):
    """A mapping as it is kept; ``created`` if this call made it."""

    mapping: RowMapping
    created: bool


def find_mapping(session: Session, name: str, *, lock: bool = False) -> RowMapping:
    """Raises NotFound."""
    statement = select(import_mapping).where(import_mapping.c.name == name)
    found = session.execute(statement.with_for_update() if lock else statement).mappings().one_or_none()
    if found is None:
        raise NotFound("import_mapping_not_found", f"there is no import mapping {name}")
    return found


def save_mapping(session: Session, name: str, mapping: Mapping | RecordMapping, saved_by: str) -> Saved:
    """Make a mapping or change it; saved as it is already, its version stays. Whoever asked for a certain version has
    compared it with ``find_mapping(lock=True)`` before."""
    definition = mapping.model_dump(mode="json")
    made = session.execute(
        insert(import_mapping)
        .values(name=name, definition=definition, updated_by=saved_by)
        .on_conflict_do_nothing()
        .returning(import_mapping.c.name)
    ).first()
    if made is None:
        session.execute(
            update(import_mapping)
            .where(import_mapping.c.name == name, import_mapping.c.definition != definition)
            .values(
                definition=definition,
                version=import_mapping.c.version + 1,
                updated_at=func.now(),
                updated_by=saved_by,
            )
        )
    return Saved(find_mapping(session, name), made is not None)


def list_mappings(session: Session, after: str | None, limit: int) -> list[RowMapping]:
    """Mappings by name, after the one named ``after``."""
    statement = select(import_mapping).order_by(import_mapping.c.name).limit(limit)
    if after is not None:
        statement = statement.where(import_mapping.c.name > after)
    return list(session.execute(statement).mappings())


def take(
    session: Session,
    mapping: str,
    *,
    by: str,
    kind: str | None = None,
    dry_run: bool = False,
    declared: str | None = None,
) -> UUID:
    """A job for a file that is about to arrive, with the mapping as it is now, held until its upload is whole. Raises
    NotFound; Invalid ``kind_mismatch`` or ``format_mismatch`` for a mapping of another kind or format."""
    saved = find_mapping(session, mapping)
    definition = saved["definition"]
    meant = definition.get("kind", "purchases")
    if kind is not None and kind != meant:
        raise Invalid("kind_mismatch", f"the mapping is one of {meant}")
    if declared is not None and declared != definition["format"]:
        raise Invalid(
            "format_mismatch", f"the mapping reads {definition['format']}, the Content-Type says {declared}"
        )
    parameters = {
        "kind": meant,
        "mapping": {"name": mapping, "version": saved["version"], "definition": definition},
        "dry_run": dry_run,
        "upload": True,
    }
    return jobs.create(session, f"import_{meant}", parameters, created_by=by, held=True)


def upload_size(session: Session, job_id: UUID) -> int:
    """Bytes of what was uploaded, about: sealed as they are."""
    summed = func.coalesce(func.sum(func.octet_length(upload_block.c.sealed)), 0)
    size: int = session.execute(select(summed).where(upload_block.c.job_id == job_id)).scalar_one()
    return size


def clock(session: Session) -> datetime:
    """The database's time: whoever says how old a file is asks one clock."""
    now: datetime = session.execute(select(func.now())).scalar_one()
    return now


def abandoned(session: Session) -> list[UUID]:
    """Imports that hold rows and can never go on: stopped, and what was uploaded for them is destroyed."""
    statement = text(
        """
        select j.id from shared.job j
        where j.kind like 'import\\_%' and j.state in ('failed', 'cancelled')
          and (exists (select from import_order r where r.job_id = j.id)
            or exists (select from import_key k where k.job_id = j.id))
          and not exists (select from shared.upload_block b where b.job_id = j.id)
        """
    )
    return list(session.scalars(statement))


def blank_report(dry_run: bool, name: str, version: int) -> dict[str, Any]:
    """The report before the first row: every count is there from the start."""
    outcomes = ("recorded", "unchanged", "rejected")
    return {
        "dry_run": dry_run,
        "mapping": {"name": name, "version": version},
        "summary": None,
        "rows": {"read": 0, "recorded": 0, "unchanged": 0, "skipped": 0, "rejected": 0},
        "skipped": {},
        "rejected": {},
        "customers": {"in_file": 0, "created": 0},
        "purchases": dict.fromkeys(outcomes, 0),
        "returns": dict.fromkeys((*outcomes, "unmatched"), 0),
        "first_occurred_at": None,
        "last_occurred_at": None,
        "quality": {},
    }
