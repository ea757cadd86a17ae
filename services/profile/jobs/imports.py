"""Importing files: purchases, which are gathered into orders first, and records of the other kinds."""

from collections import deque
from collections.abc import Callable, Generator, Iterable
from contextlib import closing
from copy import deepcopy
from itertools import islice
from typing import Any, TypeVar

from sqlalchemy.engine import Engine

from services.profile.domain import imports, imports_orders, imports_quality, staging
from services.profile.domain.imports import Checked
from services.profile.domain.imports_orders import Prepared, Window
from services.profile.rules import mapping_findings
from services.profile.rules.mapping import Mapping
from services.profile.rules.mapping_quality import in_order, summary
from services.profile.rules.mapping_rows import SKIPPED, ParsedRow, RowParser
from services.profile.rules.mapping_stream import UnreadableFile
from services.profile.settings import ProfileSettings
from shared import money
from shared.blind_indexes import tokens
from shared.errors import Invalid
from shared.jobs import uploads
from shared.jobs.ahead import one_ahead
from shared.jobs.runner import Chunk, RunningJob
from shared.jobs.schedule import Context

# A chunk's rows are in memory once as text and once parsed: about 1 KB each, and the next chunk's as well.
ROWS_READ = 10_000
# Rows of orders recorded in one transaction; with their events about 4 KB each.
ROWS_RECORDED = 8_000
_EXAMPLES = 10
Item = TypeVar("Item")

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
    every order is recorded by its natural key, so a file imported twice changes nothing. While one chunk is in the
    database, the next one is read.
    """
    mapping = Mapping.model_validate(job.parameters["mapping"]["definition"])
    if job.cursor.get("phase", "read") == "read":
        _read(job, mapping, rows_read)
    if job.cursor["phase"] == "record":
        _record(job, mapping, rows_recorded)
    if job.cursor["phase"] == "assess":
        _assess(job, mapping)


def batches(
    job: RunningJob,
    mapping: Any,
    parser: imports.Parser[imports.Parsed],
    size: int,
    start: int | None = None,
) -> Generator[tuple[Checked[imports.Parsed], int, int, bool]]:
    """The rows that the cursor has not passed yet (or those from ``start`` on), ``size`` at a time and never across the
    cursor: checked, how many, how many there are in all (an estimate until the last), and whether these are the last.
    Raises Invalid for a file that cannot be read."""
    meter = imports.Meter(uploads.read(job.sessions, job.id))
    with job.sessions.begin() as session:
        upload_size = imports.upload_size(session, job.id)
    passed = job.cursor.get("rows", 0)
    done = passed if start is None else start
    try:
        rows = imports.rows_of(meter, mapping, parser.layout)
        deque(islice(rows, done), maxlen=0)
        while True:
            wanted = size if done >= passed else min(size, passed - done)
            batch = list(islice(rows, wanted))
            done += len(batch)
            last = len(batch) < wanted
            # The size of the whole is known in bytes only.
            total = done if last else max(done, done * upload_size // max(meter.read, 1))
            yield imports.check(parser, batch), len(batch), total, last
            if last:
                return
    except UnreadableFile as unreadable:
        raise Invalid(unreadable.code, unreadable.message) from None


def _read(job: RunningJob, mapping: Mapping, size: int) -> None:
    """The file from its start: rows that are staged already are skipped, the others checked and staged. What is only
    counted waits in memory until it is much; after a kill the rows since then are read again for it."""
    parser = RowParser(mapping, pseudonyms(job))
    counts = staging.Counts()
    staged = job.cursor.get("rows", 0)
    done = counted = job.cursor.get("counted", 0)
    with closing(ahead(job, batches(job, mapping, parser, size, counted))) as batch:
        for checked, row_count, total, last in batch:
            done += row_count
            counts.add(checked.rows)
            if done <= staged and not last:
                continue
            with job.chunk() as chunk:
                staging.put(chunk.session, job.id, checked.rows)
                _note_read(job, chunk, checked, row_count)
                chunk.total = total
                if last or counts.are_many():
                    counts.write(chunk.session, job.id)
                    counted = done
                chunk.cursor = {"phase": "read", "rows": done, "counted": counted}
                if last:
                    _end_reading(job, chunk, mapping)


def _end_reading(job: RunningJob, chunk: Chunk, mapping: Mapping) -> None:
    report = chunk.report
    report["customers"]["in_file"] = staging.customer_count(chunk.session, job.id)
    if report["dry_run"]:
        report["customers"]["created"] = staging.new_customer_count(chunk.session, job.id, mapping.source)
    findings = mapping_findings.nothing(imports_quality.largest_usual(chunk.session, job.id))
    chunk.cursor = {"phase": "record", "after": imports_orders.FIRST, "findings": findings}


def _note_read(job: RunningJob, chunk: Chunk, checked: Checked[ParsedRow], row_count: int) -> None:
    if not chunk.report:
        saved = job.parameters["mapping"]
        chunk.report = imports.blank_report(job.parameters["dry_run"], saved["name"], saved["version"])
        chunk.report["quality"] = dict.fromkeys(_REMARKS.values(), 0) | {
            "unknown_countries": {},
            "prices_finer_than_the_currency": {"rows": 0, "examples": []},
        }
    report = chunk.report = deepcopy(chunk.report)
    for error in checked.refused:
        chunk.error(*error)
    refused, skipped = len(checked.refused), checked.skipped.total()
    chunk.advance(processed=skipped, failed=refused)
    add(report["rows"], (("read", row_count), ("skipped", skipped), ("rejected", refused)))
    add(report["skipped"], checked.skipped.items())
    add(report["rejected"], ((code, 1) for _, _, code, _ in checked.refused))
    quality = report["quality"]
    add(quality, ((_REMARKS[name], count) for name, count in checked.seen.items() if name in _REMARKS))
    add(quality["unknown_countries"], checked.unknown_countries.items())
    quality["unknown_countries"] = in_order(quality["unknown_countries"].items())
    _note_prices(quality["prices_finer_than_the_currency"], checked)
    _note_times(report, checked)


def _note_prices(fine: dict[str, Any], checked: Checked[ParsedRow]) -> None:
    digits: dict[tuple[Any, str], bool] = {}
    for line, row in checked.rows:
        price = (row.unit_price, row.currency)
        if (found := digits.get(price)) is None:
            exponent = row.unit_price.normalize().as_tuple().exponent
            found = digits[price] = -int(exponent) > money.EXPONENTS.get(row.currency, 2)
        if found:
            fine["rows"] += 1
            if len(fine["examples"]) < _EXAMPLES:
                fine["examples"].append(line)


def _note_times(report: dict[str, Any], checked: Checked[ParsedRow]) -> None:
    """When the first and the last line of a purchase or return of the file occurred."""
    times = [row.occurred_at for _, row in checked.rows if row.kind != SKIPPED]
    if times:
        first, last = (moment.isoformat().replace("+00:00", "Z") for moment in (min(times), max(times)))
        report["first_occurred_at"] = min(report["first_occurred_at"] or first, first)
        report["last_occurred_at"] = max(report["last_occurred_at"] or last, last)


def _record(job: RunningJob, mapping: Mapping, size: int) -> None:
    """The staged orders, purchases before returns, by order number. A dry run does the same and takes it back."""
    parser = RowParser(mapping)
    matches = mapping.match_returns != "never"
    with closing(ahead(job, _windows(job, mapping, size))) as windows:
        for prepared in windows:
            if job.parameters["dry_run"]:
                with job.sessions() as trial:
                    window = imports_orders.record(
                        trial, job.id, mapping.source, prepared, match_returns=matches
                    )
                    trial.rollback()
                window.customers_created = 0  # counted at once, before: a trial leaves nobody behind
                with job.chunk() as chunk:
                    _note_recorded(chunk, prepared, window, parser)
            else:
                with job.chunk() as chunk:
                    window = imports_orders.record(
                        chunk.session, job.id, mapping.source, prepared, match_returns=matches
                    )
                    _note_recorded(chunk, prepared, window, parser)


def _windows(job: RunningJob, mapping: Mapping, size: int) -> Generator[Prepared]:
    kind, number = job.cursor["after"]
    while True:
        with job.sessions.begin() as session:
            prepared = imports_orders.prepare(session, job.id, mapping.source, (kind, number), size)
        yield prepared
        if prepared.window.last is None:
            return
        kind, number = prepared.window.last


def _note_recorded(chunk: Chunk, prepared: Prepared, window: Window, parser: RowParser) -> None:
    findings = deepcopy(chunk.cursor["findings"])
    prepared.note(findings)
    chunk.cursor = (
        {"phase": "assess", "findings": findings}
        if window.last is None
        else {"phase": "record", "after": window.last, "findings": findings}
    )
    report = chunk.report = deepcopy(chunk.report)
    for line, field, code, message in window.errors:
        chunk.error(line, parser.column(field), code, message)
    chunk.advance(
        processed=window.rows["recorded"] + window.rows["unchanged"], failed=window.rows["rejected"]
    )
    add(report["rows"], window.rows.items())
    add(report["rejected"], window.rejected.items())
    report["customers"]["created"] += window.customers_created
    for (noun, state), count in window.orders.items():
        report[noun][state] += count


def _assess(job: RunningJob, mapping: Mapping) -> None:
    """What the whole file shows; then its rows are forgotten."""
    with job.chunk() as chunk:
        report = chunk.report = deepcopy(chunk.report)
        report["quality"] |= mapping_findings.told(chunk.cursor["findings"])
        report["quality"] |= imports_quality.assess(chunk.session, job.id, mapping)
        report["rejected"] = in_order(report["rejected"].items())
        report["summary"] = summary(report, dry_run=report["dry_run"])
        staging.clear(chunk.session, job.id)
        chunk.cursor = {"phase": "done"}


def pseudonyms(job: RunningJob) -> Callable[[str], str]:
    """What makes of a personal id one that names nobody: the same for the same id, in every import of this company."""

    assert isinstance(job.settings, ProfileSettings)
    key = job.settings.blind_index_key

    def of(text: str) -> str:
        return f"p-{tokens(key, 'import:pseudonym', [text])[0].hex()}"

    return of


def ahead(job: RunningJob, items: Generator[Item]) -> Generator[Item]:
    """Two threads need two connections: sessions over a single one get their items one by one."""
    return one_ahead(items) if isinstance(job.sessions.kw["bind"], Engine) else items


def add(counts: dict[str, Any], more: Iterable[tuple[str, int]]) -> None:
    for name, count in more:
        counts[name] = counts.get(name, 0) + count


def forget_abandoned_imports(context: Context) -> None:
    """Rows of imports that nobody resumed before their upload was destroyed."""
    with context.sessions.begin() as session:
        abandoned = imports.abandoned(session)
    for job_id in abandoned:
        with context.sessions.begin() as session:
            staging.clear(session, job_id)
