"""Importing records: customers, products, activities, interactions, consents, tags – a row each."""

from contextlib import closing
from copy import deepcopy
from datetime import UTC, date, datetime, timedelta
from typing import Any

from sqlalchemy import text
from sqlalchemy.orm import Session

from services.profile.domain import import_records, staging
from services.profile.domain.import_records import Origin, Outcome
from services.profile.jobs.imports import add, ahead, batches, pseudonyms
from services.profile.rules.mapping import RecordMapping
from services.profile.rules.mapping_quality import in_order
from services.profile.rules.mapping_reading import Checked
from services.profile.rules.mapping_records import Record, RecordParser
from shared.jobs.runner import Chunk, RunningJob

# Rows written in one transaction.
ROWS = 500
_EXAMPLES = 10
_OLDEST = timedelta(days=120 * 365)

_REMARKS = {"ambiguous_time": "ambiguous_times", "nonexistent_time": "nonexistent_times"}


def import_records_of_a_kind(job: RunningJob, *, rows: int = ROWS) -> None:
    """Read an upload and write its records, a chunk at a time, through the verbs of their nouns.

    What a chunk writes and the cursor are committed together, and every record is known by its natural key: killed, the
    import goes on where it stood; run twice, nothing doubles. A dry run does the same and takes it back.
    """
    mapping = RecordMapping.model_validate(job.parameters["mapping"]["definition"])
    parser = RecordParser(mapping, pseudonyms(job))
    done = job.cursor.get("rows", 0)
    if job.cursor.get("phase") == "done":
        return
    with closing(ahead(job, batches(job, mapping, parser, rows))) as batch:
        for checked, row_count, total, last in batch:
            done += row_count
            tried = _tried(job, mapping, checked) if job.parameters["dry_run"] else None
            with job.chunk() as chunk:
                outcomes = _written(chunk.session, job, mapping, checked) if tried is None else tried
                repeated = import_records.note_keys(
                    chunk.session, job.id, [(record.key, line) for line, record in checked.rows]
                )
                _note(job, chunk, parser, checked, outcomes, repeated, row_count)
                chunk.total = total
                chunk.cursor = {"rows": done}
                if last:
                    _end(job, chunk)


def _written(
    session: Session, job: RunningJob, mapping: RecordMapping, checked: Checked[Record]
) -> list[Outcome]:
    now: datetime = session.execute(text("select now()")).scalar_one()
    origin = Origin(mapping.source, job.created_by or "import", now)
    return import_records.write(session, mapping.kind, [record.fields for _, record in checked.rows], origin)


def _tried(job: RunningJob, mapping: RecordMapping, checked: Checked[Record]) -> list[Outcome]:
    with job.sessions() as trial:
        outcomes = _written(trial, job, mapping, checked)
        trial.rollback()
    return outcomes


def _blank(job: RunningJob) -> dict[str, Any]:
    saved = job.parameters["mapping"]
    return {
        "dry_run": job.parameters["dry_run"],
        "kind": job.parameters["kind"],
        "mapping": {"name": saved["name"], "version": saved["version"]},
        "summary": None,
        "rows": {"read": 0, "recorded": 0, "unchanged": 0, "skipped": 0, "rejected": 0},
        "records": {"created": 0, "changed": 0, "unchanged": 0, "rejected": 0},
        "skipped": {},
        "rejected": {},
        "quality": {
            "repeated": {"rows": 0, "examples": []},
            "implausible_dates": {"rows": 0, "examples": []},
            "unknown_countries": {},
            "empty": {},
        }
        | dict.fromkeys(_REMARKS.values(), 0),
    }


def _note(
    job: RunningJob,
    chunk: Chunk,
    parser: RecordParser,
    checked: Checked[Record],
    outcomes: list[Outcome],
    repeated: dict[int, int],
    row_count: int,
) -> None:
    report = chunk.report = deepcopy(chunk.report) if chunk.report else _blank(job)
    for error in checked.refused:
        chunk.error(*error)
        add(report["rejected"], ((error[2], 1),))
    rows, records = report["rows"], report["records"]
    failed, processed = len(checked.refused), checked.skipped.total()
    add(rows, (("read", row_count), ("skipped", processed), ("rejected", failed)))
    add(report["skipped"], checked.skipped.items())
    for (line, _), outcome in zip(checked.rows, outcomes, strict=True):
        state = outcome.state
        if state == "refused":
            failed += 1
            chunk.error(line, parser.column(outcome.field), outcome.code, outcome.message)
            add(report["rejected"], ((outcome.code, 1),))
            add(rows, (("rejected", 1),))
            add(records, (("rejected", 1),))
            continue
        processed += 1
        if state == "created" and line in repeated:
            state = "changed"  # in a dry run what stands further up was not left behind
        add(records, ((state, 1),))
        add(rows, (("unchanged" if state == "unchanged" else "recorded", 1),))
    chunk.advance(processed=processed, failed=failed)
    _note_quality(report["quality"], parser, checked, repeated)


def _note_quality(
    quality: dict[str, Any], parser: RecordParser, checked: Checked[Record], repeated: dict[int, int]
) -> None:
    add(quality, ((_REMARKS[name], count) for name, count in checked.seen.items() if name in _REMARKS))
    add(quality["unknown_countries"], checked.unknown_countries.items())
    quality["unknown_countries"] = in_order(quality["unknown_countries"].items())
    again = quality["repeated"]
    again["rows"] += len(repeated)
    pairs = [[before, line] for line, before in sorted(repeated.items())]
    again["examples"] = [*again["examples"], *pairs][:_EXAMPLES]
    odd = [line for line, record in checked.rows if any(map(_is_implausible, record.fields.values()))]
    quality["implausible_dates"]["rows"] += len(odd)
    quality["implausible_dates"]["examples"] = [*quality["implausible_dates"]["examples"], *odd][:_EXAMPLES]
    fields = parser.fields
    filled: dict[str, int] = {}
    for _, record in checked.rows:
        add(filled, ((name, 1) for name in record.fields))
    add(
        quality["empty"],
        ((name, count) for name in fields if (count := len(checked.rows) - filled.get(name, 0))),
    )


def _is_implausible(value: Any) -> bool:
    """A day that no living person was born on, or a time that has not come."""
    if isinstance(value, datetime):
        return value > datetime.now(UTC) + timedelta(days=366)
    if isinstance(value, date):
        today = datetime.now(UTC).date()
        return not today - _OLDEST <= value <= today
    return False


def _end(job: RunningJob, chunk: Chunk) -> None:
    report = chunk.report
    report["rejected"] = in_order(report["rejected"].items())
    records = report["records"]
    told = f"{records['created']} {report['kind']} created and {records['changed']} changed"
    if not records["created"] and not records["changed"]:
        told = f"Nothing {'would change' if report['dry_run'] else 'changed'}"
    elif report["dry_run"]:
        told = told.replace(" created", " would be created")
    rest = f", {records['unchanged']} were so before" if records["unchanged"] else ""
    report["summary"] = f"{told}{rest}."
    staging.clear(chunk.session, job.id)
    chunk.cursor = {"phase": "done"}
