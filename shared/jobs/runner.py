"""Take due jobs, work through them in chunks, and never let two workers commit for the same one."""

import logging
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Any
from uuid import UUID

from sqlalchemy import bindparam, text
from sqlalchemy.dialects.postgresql import JSONB
from sqlalchemy.engine import Engine
from sqlalchemy.exc import DBAPIError
from sqlalchemy.exc import TimeoutError as PoolTimeout
from sqlalchemy.orm import Session

from shared.database import Sessions
from shared.errors import Refusal
from shared.jobs import uploads
from shared.jobs.schedule import Context
from shared.settings import Settings

# A worker that died is replaced after this long; a living one renews at a third of it and with every chunk.
LEASE = timedelta(seconds=15)
# A job that has been started this often without moving its cursor kills its worker every time, or always fails.
MOST_ATTEMPTS = 5
LOOK_EVERY = 0.5
PAUSE_AFTER_FAILURE = 5.0

log = logging.getLogger(__name__)


class JobCancelled(Exception):  # noqa: N818 - somebody's wish, not an error
    """Somebody asked the job to stop."""


class JobInterrupted(Exception):  # noqa: N818
    """The worker is shutting down; another one goes on where the cursor stands."""


class LeaseLost(Exception):  # noqa: N818
    """Another worker has taken the job over: nothing of the open chunk may be committed."""


class Chunk:
    """A part of a job that is committed as one: effects, cursor, progress and errors together.

    ``cursor`` and ``report`` are what the job committed last, free to change; ``total`` is the expected number of
    rows once it is known.
    """

    def __init__(self, session: Session, cursor: Mapping[str, Any], report: Mapping[str, Any]) -> None:
        self.session = session
        self.cursor: dict[str, Any] = dict(cursor)
        self.report: dict[str, Any] = dict(report)
        self.total: int | None = None
        self.processed = 0
        self.failed = 0
        self.errors: list[tuple[int | None, str | None, str | None, str, str]] = []

    def advance(self, processed: int = 0, failed: int = 0) -> None:
        """Count rows on from what is already committed; ``failed`` rows are not in ``processed``."""
        self.processed += processed
        self.failed += failed

    def error(
        self, line: int | None, column: str | None, code: str, message: str, pointer: str | None = None
    ) -> None:
        """A row that was refused. ``message`` never repeats the row's values: they may be personal."""
        self.errors.append((line, column, pointer, code, message))


@dataclass
class RunningJob:
    """A job in the hands of this worker. ``sessions`` and ``engine`` have no statement timeout."""

    id: UUID
    kind: str
    parameters: dict[str, Any]
    cursor: dict[str, Any]
    report: dict[str, Any]
    created_by: str | None
    settings: Settings
    sessions: Sessions
    engine: Engine
    epoch: int
    stop: threading.Event = field(default_factory=threading.Event)
    cancelled: bool = False

    @contextmanager
    def chunk(self) -> Iterator[Chunk]:
        """One transaction of the job. Raises JobCancelled or JobInterrupted before it begins, LeaseLost instead of
        committing if another worker has the job by now."""
        if self.cancelled:
            raise JobCancelled
        if self.stop.is_set():
            raise JobInterrupted
        with self.sessions.begin() as session:
            chunk = Chunk(session, self.cursor, self.report)
            yield chunk
            if chunk.errors:
                _record_errors(session, self.id, chunk)
            row = session.execute(
                _COMMIT_CHUNK,
                {
                    "id": self.id,
                    "epoch": self.epoch,
                    "cursor": chunk.cursor,
                    "report": chunk.report,
                    "total": chunk.total,
                    "processed": chunk.processed,
                    "failed": chunk.failed,
                    "lease": LEASE,
                },
            ).one_or_none()
            if row is None:
                raise LeaseLost(f"job {self.id} is another worker's by now")
        self.cursor, self.report, self.cancelled = chunk.cursor, chunk.report, row.cancel_requested


JobFunction = Callable[[RunningJob], None]

_COMMIT_CHUNK = text(
    """
    update shared.job
    set cursor = :cursor, report = :report, total = coalesce(:total, total),
        processed = processed + :processed, failed = failed + :failed,
        attempts = 0, lease_until = clock_timestamp() + :lease
    where id = :id and epoch = :epoch and state = 'running'
    returning cancel_requested_at is not null as cancel_requested
    """
).bindparams(bindparam("cursor", type_=JSONB), bindparam("report", type_=JSONB))

_CLAIM = text(
    """
    update shared.job
    set state = 'running', epoch = epoch + 1, attempts = attempts + 1,
        lease_until = clock_timestamp() + :lease, started_at = coalesce(started_at, clock_timestamp())
    where id = (
        select id from shared.job
        where state in ('queued', 'running') and due_at <= clock_timestamp()
          and (lease_until is null or lease_until < clock_timestamp()) and kind = any(:kinds)
        order by due_at, id
        limit 1
        for update skip locked
    )
    returning id, kind, parameters, cursor, report, created_by, epoch, attempts,
              cancel_requested_at is not null as cancel_requested
    """
)
_RENEW = text(
    "update shared.job set lease_until = clock_timestamp() + :lease"
    " where id = :id and epoch = :epoch and state = 'running'"
)
_LET_GO = text(
    "update shared.job set lease_until = null, due_at = clock_timestamp() + :pause, attempts = attempts - :uncounted"
    " where id = :id and epoch = :epoch and state = 'running'"
)
_FINISH = text(
    """
    update shared.job
    set state = :state, finished_at = clock_timestamp(), lease_until = null, error_code = :code, error_message = :message
    where id = :id and epoch = :epoch and state = 'running'
    """
)


def _record_errors(session: Session, job_id: UUID, chunk: Chunk) -> None:
    lines, columns, pointers, codes, messages = (list(values) for values in zip(*chunk.errors, strict=True))
    session.execute(
        text(
            """
            insert into shared.job_error (job_id, line, column_name, pointer, code, message)
            select :job_id, * from unnest(cast(:lines as bigint[]), cast(:columns as text[]), cast(:pointers as text[]),
                                          cast(:codes as text[]), cast(:messages as text[]))
            """
        ),
        {
            "job_id": job_id,
            "lines": lines,
            "columns": columns,
            "pointers": pointers,
            "codes": codes,
            "messages": messages,
        },
    )


def run(jobs: Mapping[str, JobFunction], context: Context, stop: threading.Event) -> None:
    """The loop of ``work``: one due job after the other, until ``stop``."""
    while not stop.is_set():
        try:
            if not run_one(jobs, context, stop):
                stop.wait(LOOK_EVERY)
        except (DBAPIError, PoolTimeout) as error:
            log.warning("jobs wait for their database: %s", type(error).__name__)
            stop.wait(PAUSE_AFTER_FAILURE)


def run_one(jobs: Mapping[str, JobFunction], context: Context, stop: threading.Event | None = None) -> bool:
    """Take one due job and work until it is finished, interrupted or lost; False if none was due."""
    with context.sessions.begin() as session:
        row = session.execute(_CLAIM, {"lease": LEASE, "kinds": list(jobs)}).one_or_none()
    if row is None:
        return False
    job = RunningJob(
        id=row.id,
        kind=row.kind,
        parameters=row.parameters,
        cursor=row.cursor,
        report=row.report,
        created_by=row.created_by,
        settings=context.settings,
        sessions=context.sessions,
        engine=context.engine,
        epoch=row.epoch,
        stop=stop or threading.Event(),
        cancelled=row.cancel_requested,
    )
    if row.attempts > MOST_ATTEMPTS:
        _finish(job, "failed", "given_up", f"started {MOST_ATTEMPTS} times without getting any further")
        return True
    with _heartbeat(job):
        _work(jobs[row.kind], job)
    return True


def _work(function: JobFunction, job: RunningJob) -> None:
    try:
        function(job)
        _finish(job, "succeeded")
    except JobCancelled:
        _finish(job, "cancelled")
    except JobInterrupted:
        _let_go(job, timedelta(0), uncounted=1)
    except LeaseLost as lost:
        log.warning("%s", lost)
    except Refusal as refusal:
        _finish(job, "failed", refusal.code, refusal.message)
    except (DBAPIError, PoolTimeout) as error:
        if not _is_away(error):
            log.exception("job %s (%s) failed", job.id, job.kind)
            _finish(job, "failed", "internal_error", f"{type(error).__name__}; the log says more")
            return
        log.warning("job %s (%s) waits for its database: %s", job.id, job.kind, type(error).__name__)
        _let_go(job, timedelta(seconds=5), uncounted=1)
    except Exception as error:
        log.exception("job %s (%s) failed", job.id, job.kind)
        _finish(job, "failed", "internal_error", f"{type(error).__name__}; the log says more")


def _is_away(error: DBAPIError | PoolTimeout) -> bool:
    """The database was away, shut down or busy, as opposed to: our statement was wrong."""
    if isinstance(error, PoolTimeout) or error.connection_invalidated:
        return True
    state = getattr(error.orig, "sqlstate", None)
    return state is None or state[:2] in ("08", "40", "53", "57") or state == "55P03"


def _finish(job: RunningJob, state: str, code: str | None = None, message: str | None = None) -> None:
    with job.sessions.begin() as session:
        done = session.execute(
            _FINISH, {"id": job.id, "epoch": job.epoch, "state": state, "code": code, "message": message}
        )
        if done.rowcount and state == "succeeded":  # type: ignore[attr-defined]
            uploads.destroy(session, job.id)


def _let_go(job: RunningJob, pause: timedelta, uncounted: int) -> None:
    """Give the lease back; without a database it simply lapses."""
    try:
        with job.sessions.begin() as session:
            session.execute(
                _LET_GO, {"id": job.id, "epoch": job.epoch, "pause": pause, "uncounted": uncounted}
            )
    except (DBAPIError, PoolTimeout) as error:
        log.warning("the lease of job %s lapses by itself: %s", job.id, type(error).__name__)


@contextmanager
def _heartbeat(job: RunningJob) -> Iterator[None]:
    """Keep the lease through a chunk that takes longer than it."""
    over = threading.Event()

    def beat() -> None:
        while not over.wait(LEASE.total_seconds() / 3):
            try:
                with job.sessions.begin() as session:
                    session.execute(_RENEW, {"id": job.id, "epoch": job.epoch, "lease": LEASE})
            except (DBAPIError, PoolTimeout) as error:
                log.warning("the lease of job %s could not be renewed: %s", job.id, type(error).__name__)

    thread = threading.Thread(target=beat, name=f"lease-{job.id}", daemon=True)
    thread.start()
    try:
        yield
    finally:
        over.set()
        thread.join(timeout=5)
