"""Long work of profile: importing purchases from a file."""

from collections import deque
from collections.abc import Iterable
from copy import deepcopy
from itertools import islice
from typing import Any

from services.profile.domain import activities, imports, imports_orders, imports_quality, staging
from services.profile.domain.imports import Checked
from services.profile.domain.imports_orders import Window
from services.profile.rules.mapping import Mapping
from services.profile.rules.mapping_quality import in_order, summary
from services.profile.rules.mapping_rows import RowParser
from services.profile.rules.mapping_stream import UnreadableFile
from shared.errors import Invalid
from shared.jobs import uploads
from shared.jobs.runner import Chunk, JobFunction, RunningJob
from shared.jobs.schedule import Context, Scheduled

# A chunk's rows are in memory once as text and once parsed: about 1 KB each.
ROWS_READ = 10_000
# Rows of orders recorded in one transaction; with their events about 4 KB each.
ROWS_RECORDED = 8_000

# Deleted in one transaction, so that no lock is held for long.
ACTIVITIES_FORGOTTEN = 10_000

# What the parser saw in single rows, and what the report calls it.
_REMARKS = {
    "zero_price": "zero_prices",
    "negative_price": "negative_prices",
    "negative_quantity": "negative_quantities_that_are_no_returns",
    "ambiguous_time": "ambiguous_times",
    "nonexistent_time": "nonexistent_times",
    "description_trimmed": "descriptions_with_blanks_around",
    "id_cleaned": "ids_cleaned",
    "missing_customer": "rows_without_a_customer",
}


def import_purchases(
    job: RunningJob, *, rows_read: int = ROWS_READ, rows_recorded: int = ROWS_RECORDED
) -> None:
    """Read an upload into checked rows, record its orders, report on its quality.

    Every chunk commits its effects together with the cursor, so the work goes on after a kill where it stood; and
    every order is recorded by its natural key, so a file imported twice changes nothing.
    """
    mapping = Mapping.model_validate(job.parameters["mapping"]["definition"])
    if job.cursor.get("phase", "read") == "read":
        _read(job, mapping, rows_read)
    if job.cursor["phase"] == "record":
        _record(job, mapping, rows_recorded)
    if job.cursor["phase"] == "assess":
        _assess(job, mapping)


def _read(job: RunningJob, mapping: Mapping, size: int) -> None:
    """The file from its start: rows that are staged already are skipped, the others checked and staged."""
    parser = RowParser(mapping)
    meter = imports.Meter(uploads.read(job.sessions, job.id))
    with job.sessions.begin() as session:
        upload_size = imports.upload_size(session, job.id)
    done = job.cursor.get("rows", 0)
    try:
        rows = imports.rows_of(meter, mapping, parser)
        deque(islice(rows, done), maxlen=0)
        while True:
            batch = list(islice(rows, size))
            checked = imports.check(parser, batch)
            done += len(batch)
            with job.chunk() as chunk:
                staging.put(chunk.session, job.id, checked.staged)
                _note_read(job, chunk, checked, len(batch))
                chunk.cursor = {"phase": "read", "rows": done}
                if len(batch) == size:
                    # The size of the whole is known in bytes only: an estimate until all rows are read.
                    chunk.total = max(done, done * upload_size // max(meter.read, 1))
                    continue
                chunk.total = done
                chunk.cursor = {"phase": "record", "after": imports_orders.FIRST}
                report = chunk.report
                report["customers"]["in_file"] = staging.gather_customers(chunk.session, job.id)
                if report["dry_run"]:
                    report["customers"]["created"] = staging.new_customer_count(
                        chunk.session, job.id, mapping.source
                    )
            return
    except UnreadableFile as unreadable:
        raise Invalid(unreadable.code, unreadable.message) from None


def _note_read(job: RunningJob, chunk: Chunk, checked: Checked, row_count: int) -> None:
    if not chunk.report:
        saved = job.parameters["mapping"]
        chunk.report = imports.blank_report(job.parameters["dry_run"], saved["name"], saved["version"])
        chunk.report["quality"] = dict.fromkeys(_REMARKS.values(), 0) | {"unknown_countries": {}}
    report = chunk.report = deepcopy(chunk.report)
    for error in checked.refused:
        chunk.error(*error)
    refused = len(checked.refused)
    chunk.advance(processed=checked.skipped, failed=refused)
    _add(report["rows"], (("read", row_count), ("skipped", checked.skipped), ("rejected", refused)))
    _add(report["skipped"], (("missing_customer", checked.skipped),) if checked.skipped else ())
    _add(report["rejected"], ((code, 1) for _, _, code, _ in checked.refused))
    quality = report["quality"]
    _add(quality, ((_REMARKS[name], count) for name, count in checked.seen.items() if name in _REMARKS))
    _add(quality["unknown_countries"], checked.unknown_countries.items())
    quality["unknown_countries"] = in_order(quality["unknown_countries"].items())


def _record(job: RunningJob, mapping: Mapping, size: int) -> None:
    """The staged orders, purchases before returns, by order number. A dry run does the same and takes it back."""
    parser = RowParser(mapping)
    while job.cursor["phase"] == "record":
        kind, number = job.cursor["after"]
        if job.parameters["dry_run"]:
            with job.sessions() as trial:
                window = imports_orders.record(trial, job.id, mapping.source, (kind, number), size)
                trial.rollback()
            window.customers_created = 0  # counted at once, before: a trial leaves nobody behind
            with job.chunk() as chunk:
                _note_recorded(chunk, window, parser)
        else:
            with job.chunk() as chunk:
                window = imports_orders.record(chunk.session, job.id, mapping.source, (kind, number), size)
                _note_recorded(chunk, window, parser)


def _note_recorded(chunk: Chunk, window: Window, parser: RowParser) -> None:
    chunk.cursor = {"phase": "assess"} if window.last is None else {"phase": "record", "after": window.last}
    report = chunk.report = deepcopy(chunk.report)
    for line, field, code, message in window.errors:
        chunk.error(line, parser.column(field), code, message)
    chunk.advance(
        processed=window.rows["recorded"] + window.rows["unchanged"], failed=window.rows["rejected"]
    )
    _add(report["rows"], window.rows.items())
    _add(report["rejected"], window.rejected.items())
    report["customers"]["created"] += window.customers_created
    for (noun, state), count in window.orders.items():
        report[noun][state] += count
    report["returns"]["unmatched"] = report["returns"]["recorded"] + report["returns"]["unchanged"]


def _assess(job: RunningJob, mapping: Mapping) -> None:
    """What the whole file shows; then its rows are forgotten."""
    with job.chunk() as chunk:
        report = chunk.report = deepcopy(chunk.report)
        report |= imports_quality.occurred(chunk.session, job.id)
        report["quality"] |= imports_quality.assess(chunk.session, job.id, mapping)
        report["rejected"] = in_order(report["rejected"].items())
        report["summary"] = summary(report, dry_run=report["dry_run"])
        staging.clear(chunk.session, job.id)
        chunk.cursor = {"phase": "done"}


def _add(counts: dict[str, Any], more: Iterable[tuple[str, int]]) -> None:
    for name, count in more:
        counts[name] = counts.get(name, 0) + count


def forget_abandoned_imports(context: Context) -> None:
    """Rows of imports that nobody resumed before their upload was destroyed."""
    with context.sessions.begin() as session:
        abandoned = imports.abandoned(session)
    for job_id in abandoned:
        with context.sessions.begin() as session:
            staging.clear(session, job_id)


def forget_activities(context: Context) -> None:
    """What is older than the setting keeps it, in portions that commit by themselves."""
    while True:
        with context.sessions.begin() as session:
            if activities.forget_old(session, ACTIVITIES_FORGOTTEN) < ACTIVITIES_FORGOTTEN:
                return


JOBS: dict[str, JobFunction] = {"import_purchases": import_purchases}
SCHEDULE = (
    Scheduled("forget_abandoned_imports", "40 3 * * *", forget_abandoned_imports),
    Scheduled("forget_activities", "10 3 * * *", forget_activities),
)
