"""Saved mappings, and reading an upload by one."""

from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from typing import Any, NamedTuple
from uuid import UUID

from sqlalchemy import RowMapping, func, select, text, update
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.orm import Session

from services.profile.rules import mapping_stream as stream
from services.profile.rules.mapping import Mapping
from services.profile.rules.mapping_rows import SKIPPED, ParsedRow, Refused, RowParser
from services.profile.tables import import_mapping
from shared.errors import NotFound
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


def save_mapping(session: Session, name: str, mapping: Mapping, saved_by: str) -> Saved:
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


def upload_size(session: Session, job_id: UUID) -> int:
    """Bytes of what was uploaded, about: sealed as they are."""
    summed = func.coalesce(func.sum(func.octet_length(upload_block.c.sealed)), 0)
    size: int = session.execute(select(summed).where(upload_block.c.job_id == job_id)).scalar_one()
    return size


class Meter:
    """Counts the bytes that pass."""

    def __init__(self, blocks: Iterable[bytes]) -> None:
        self.read = 0
        self._blocks = blocks

    def __iter__(self) -> Iterator[bytes]:
        for block in self._blocks:
            self.read += len(block)
            yield block


def rows_of(blocks: Iterable[bytes], mapping: Mapping, parser: RowParser) -> Iterator[stream.Row]:
    """The rows of an upload, unpacked and decoded. Raises UnreadableFile."""
    pages = stream.texts(stream.unpacked(blocks), mapping.encoding)
    if mapping.format == "ndjson":
        return stream.ndjson_rows(pages, parser.columns)
    return stream.csv_rows(pages, parser.columns, mapping.delimiter, mapping.quote)


@dataclass
class Checked:
    """Some rows of a file, read: what to stage, what was refused (line, column, code, message), how many to skip and
    what else was seen in them."""

    staged: list[tuple[int, ParsedRow]] = field(default_factory=list)
    refused: list[tuple[int, str | None, str, str]] = field(default_factory=list)
    skipped: int = 0
    seen: Counter[str] = field(default_factory=Counter)
    unknown_countries: Counter[str] = field(default_factory=Counter)


def check(parser: RowParser, rows: Iterable[stream.Row]) -> Checked:
    checked = Checked()
    stage, parse = checked.staged.append, parser.parse
    for line, row in rows:
        if isinstance(row, stream.Malformed):
            checked.refused.append((line, None, row.code, row.message))
            continue
        try:
            parsed = parse(row)
        except Refused as refused:
            checked.refused.append((line, parser.column(refused.field), refused.code, refused.message))
            continue
        if parsed is not None:
            stage((line, parsed))
        if parsed is None or parsed.kind == SKIPPED:
            checked.skipped += 1
    checked.seen, parser.seen = parser.seen, Counter()
    checked.unknown_countries, parser.unknown_countries = parser.unknown_countries, Counter()
    return checked


def abandoned(session: Session) -> list[UUID]:
    """Imports that hold rows and can never go on: stopped, and what was uploaded for them is destroyed."""
    statement = text(
        """
        select j.id from shared.job j
        where j.kind = 'import_purchases' and j.state in ('failed', 'cancelled')
          and exists (select from import_row r where r.job_id = j.id)
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
