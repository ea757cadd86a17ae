"""Importing files: purchases, which are gathered into orders first, and records of the other kinds."""

from collections.abc import Callable, Generator, Iterable, Iterator
from contextlib import closing
from copy import deepcopy
from functools import partial
from typing import Any, TypeVar

from sqlalchemy.engine import Engine

from services.profile.domain import accounting, imports, imports_orders, imports_quality, staging
from services.profile.rules import import_preparing, import_reading, mapping_findings, mapping_reading
from services.profile.rules.import_preparing import Prepared, Preparing, StagedOrder, Window
from services.profile.rules.import_reading import Batch, Reading
from services.profile.rules.mapping import Mapping
from services.profile.rules.mapping_quality import in_order, summary
from services.profile.rules.mapping_reading import Checked, Parsed, Parser
from services.profile.rules.mapping_rows import RowParser
from services.profile.rules.mapping_stream import UnreadableFile
from services.profile.rules.mapping_values import no_pseudonym
from services.profile.rules.reckoning import Accounting
from services.profile.settings import ProfileSettings
from shared import money
from shared.blind_indexes import tokens
from shared.elsewhere import elsewhere
from shared.errors import Invalid
from shared.jobs import uploads
from shared.jobs.ahead import one_ahead
from shared.jobs.runner import Chunk, RunningJob
from shared.jobs.schedule import Context

# A chunk's rows are in memory once as text and once parsed: about 1 KB each, and the next chunk's as well.
ROWS_READ = 10_000
# Rows of orders recorded in one transaction; with their events about 4 KB each.
ROWS_RECORDED = 8_000
# Bytes of an upload from which on a second process, which starts in half a second, saves more than it costs.
WORTH_A_PROCESS = 1_000_000
_EXAMPLES = 10
Item = TypeVar("Item")
Result = TypeVar("Result")

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
    job: RunningJob,
    *,
    rows_read: int = ROWS_READ,
    rows_recorded: int = ROWS_RECORDED,
    beside_from: int = WORTH_A_PROCESS,
) -> None:
    """Read an upload into checked rows, record its orders, report on its quality.

    Every chunk commits its effects together with the cursor, so the work goes on after a kill where it stood; and
    every order is recorded by its natural key, so a file imported twice changes nothing. While one chunk is in the
    database, the next one is read, or reckoned: by a second process, of an
    upload of ``beside_from`` bytes or more.
    """
    mapping = Mapping.model_validate(job.parameters["mapping"]["definition"])
    if job.cursor.get("phase", "read") == "read":
        _read(job, mapping, rows_read, beside_from)
    if job.cursor["phase"] == "record":
        _record(job, mapping, rows_recorded, beside_from)
    if job.cursor["phase"] == "assess":
        _assess(job, mapping)


def batches(
    job: RunningJob, mapping: Any, parser: Parser[Parsed], size: int
) -> Generator[tuple[Checked[Parsed], int, int, bool]]:
    """The rows that the cursor has not passed yet, ``size`` at a time: checked, how many, how many there are in all (an
    estimate until the last), and whether these are the last. Raises Invalid for a file that cannot be read."""
    upload = _Upload(job)
    done = job.cursor.get("rows", 0)
    blocks = uploads.read(job.sessions, job.id)
    try:
        for batch in mapping_reading.batches(blocks, mapping, parser.layout, size, done, done):
            done += len(batch.rows)
            total = upload.total(done, batch.bytes_read, batch.last)
            yield mapping_reading.check(parser, batch.rows), len(batch.rows), total, batch.last
    except UnreadableFile as unreadable:
        raise Invalid(unreadable.code, unreadable.message) from None


class _Upload:
    """How large it is, in bytes, and from that how many rows it will have been."""

    def __init__(self, job: RunningJob) -> None:
        with job.sessions.begin() as session:
            self.size = imports.upload_size(session, job.id)

    def total(self, done: int, bytes_read: int, last: bool) -> int:
        return done if last else max(done, done * self.size // max(bytes_read, 1))


def _read(job: RunningJob, mapping: Mapping, size: int, beside_from: int) -> None:
    """The file from its start: rows that are staged already are skipped, the others checked and staged. What is only
    counted waits in memory until it is much; after a kill the rows since then are read again for it."""
    counts = staging.Counts()
    staged = job.cursor.get("rows", 0)
    done = counted = job.cursor.get("counted", 0)
    upload = _Upload(job)
    needs_pseudonyms = any(cell.pseudonym for cell in mapping.cells().values())
    pseudonym = pseudonyms(job) if needs_pseudonyms else no_pseudonym
    reading = Reading(mapping, pseudonym, size, counted, staged, money.EXPONENTS)
    blocks = uploads.read(job.sessions, job.id)
    try:
        with closing(
            _beside(job, partial(import_reading.read, reading), blocks, upload.size >= beside_from)
        ) as batches_read:
            for batch in batches_read:
                done += batch.row_count
                counts.add(batch.codes, batch.quantities)
                if done <= staged and not batch.last:
                    continue
                with job.chunk() as chunk:
                    staging.put(chunk.session, job.id, batch.pieces, batch.customers)
                    _note_read(job, chunk, batch)
                    chunk.total = upload.total(done, batch.bytes_read, batch.last)
                    if batch.last or counts.are_many():
                        counts.write(chunk.session, job.id)
                        counted = done
                    chunk.cursor = {"phase": "read", "rows": done, "counted": counted}
                    if batch.last:
                        _end_reading(job, chunk, mapping)
    except UnreadableFile as unreadable:
        raise Invalid(unreadable.code, unreadable.message) from None


def _beside(
    job: RunningJob, work: Callable[[Iterator[Item]], Iterator[Result]], items: Iterator[Item], beside: bool
) -> Generator[Result]:
    """``work(items)``, in a process of its own or here."""
    if beside and isinstance(job.sessions.kw["bind"], Engine):
        return elsewhere(work, items)
    return ahead(job, (result for result in work(items)))


def _end_reading(job: RunningJob, chunk: Chunk, mapping: Mapping) -> None:
    report = chunk.report
    report["customers"]["in_file"] = staging.customer_count(chunk.session, job.id)
    if report["dry_run"]:
        report["customers"]["created"] = staging.new_customer_count(chunk.session, job.id, mapping.source)
    findings = mapping_findings.nothing(imports_quality.largest_usual(chunk.session, job.id))
    chunk.cursor = {"phase": "record", "after": imports_orders.FIRST, "findings": findings}


def _note_read(job: RunningJob, chunk: Chunk, batch: Batch) -> None:
    if not chunk.report:
        saved = job.parameters["mapping"]
        chunk.report = imports.blank_report(job.parameters["dry_run"], saved["name"], saved["version"])
        chunk.report["quality"] = dict.fromkeys(_REMARKS.values(), 0) | {
            "unknown_countries": {},
            "prices_finer_than_the_currency": {"rows": 0, "examples": []},
        }
    report = chunk.report = deepcopy(chunk.report)
    for error in batch.refused:
        chunk.error(*error)
    refused, skipped = len(batch.refused), batch.skipped.total()
    chunk.advance(processed=skipped, failed=refused)
    add(report["rows"], (("read", batch.row_count), ("skipped", skipped), ("rejected", refused)))
    add(report["skipped"], batch.skipped.items())
    add(report["rejected"], ((code, 1) for _, _, code, _ in batch.refused))
    quality = report["quality"]
    add(quality, ((_REMARKS[name], count) for name, count in batch.seen.items() if name in _REMARKS))
    add(quality["unknown_countries"], batch.unknown_countries.items())
    quality["unknown_countries"] = in_order(quality["unknown_countries"].items())
    fine, lines = batch.fine_prices
    prices = quality["prices_finer_than_the_currency"]
    prices["rows"] += fine
    prices["examples"] = [*prices["examples"], *lines][:_EXAMPLES]
    if batch.times is not None:
        first, last = (moment.isoformat().replace("+00:00", "Z") for moment in batch.times)
        report["first_occurred_at"] = min(report["first_occurred_at"] or first, first)
        report["last_occurred_at"] = max(report["last_occurred_at"] or last, last)


def _record(job: RunningJob, mapping: Mapping, size: int, beside_from: int) -> None:
    """The staged orders, purchases before returns, by order number. A dry run does the same and takes it back."""
    parser = RowParser(mapping)
    upload = _Upload(job)
    while job.cursor["phase"] == "record":
        with job.sessions.begin() as session:
            currency = accounting.currency(session)
        preparing = Preparing(
            mapping.source,
            None if currency is None else Accounting(currency, money.EXPONENTS),
            money.to_minor,
            money.EXPONENTS,
            job.cursor["findings"],
        )
        work = partial(import_preparing.prepare, preparing)
        # Without an accounting currency nothing can be reckoned ahead: the first purchase that is recorded fixes it.
        beside = currency is not None and upload.size >= beside_from
        with closing(_beside(job, work, _windows(job, size), beside)) as windows:
            for prepared in windows:
                _record_window(job, mapping, prepared, parser)
                if currency is None:
                    break


def _record_window(job: RunningJob, mapping: Mapping, prepared: Prepared, parser: RowParser) -> None:
    matches = mapping.match_returns != "never"
    if job.parameters["dry_run"]:
        with job.sessions() as trial:
            window = imports_orders.record(trial, job.id, mapping.source, prepared, match_returns=matches)
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


def _windows(job: RunningJob, size: int) -> Generator[list[StagedOrder]]:
    """The staged orders that the cursor has not passed, ``size`` rows at a time; an empty window is the last."""
    after = job.cursor["after"]
    staged = None
    while staged is None or staged:
        with job.sessions.begin() as session:
            staged = staging.orders(session, job.id, after, size)
        if staged:
            after = (staged[-1].kind, staged[-1].number)
        yield staged


def _note_recorded(chunk: Chunk, prepared: Prepared, window: Window, parser: RowParser) -> None:
    findings = prepared.findings
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
    return partial(_pseudonym, job.settings.blind_index_key)


def _pseudonym(key: str, text: str) -> str:
    return f"p-{tokens(key, 'import:pseudonym', [text])[0].hex()}"


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
