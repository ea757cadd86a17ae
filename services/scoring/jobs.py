"""Long and scheduled work of scoring. Each may die anywhere and go on where its cursor stands."""

from datetime import datetime
from uuid import UUID

from sqlalchemy import text
from sqlalchemy.orm import Session

from services.scoring.domain import calibrations, facts, outlooks, scores
from services.scoring.domain.causes import Cause
from services.scoring.domain.reports import kept
from services.scoring.tables import customer
from shared import jobs
from shared.customers import lock_active
from shared.jobs.runner import Chunk, JobFunction, RunningJob
from shared.jobs.schedule import Context, Scheduled

CALIBRATION = "calibration"
PASSING_TIME = "passing_time"
REPORTS = "reports"
# So many customers with a fact make reports over facts that one would wait for.
LARGE = 50_000
# Counting only reads; re-banding holds its customers' locks, so reactions to them wait for one such chunk (about 0.2 s).
COUNTED_AT_ONCE = 20_000
REBANDED_AT_ONCE = 1_000


def calibrate(job: RunningJob) -> None:
    """Count everybody as of a moment, put the new boundaries in force in one transaction, then re-band everybody in chunks.

    The job's id is the calibration's: a later one supersedes an earlier one that is slower. Phases in the cursor: begin,
    count, models, boundaries, effect, reband, done.
    """
    phases = {
        "begin": _begin,
        "count": _count,
        "models": _fit,
        "boundaries": _draw,
        "effect": _take_effect,
        "reband": _reband,
    }
    while (phase := job.cursor.get("phase", "begin")) != "done":
        with job.chunk() as chunk:
            phases[phase](job, chunk)


def _begin(job: RunningJob, chunk: Chunk) -> None:
    if facts.books(chunk.session).time_zone != job.settings.time_zone:
        calibrations.enter_alone(chunk.session)
        facts.follow_time_zone(chunk.session)
    as_of = job.parameters.get("as_of")
    customers = calibrations.begin(
        chunk.session,
        job.id,
        None if as_of is None else datetime.fromisoformat(as_of),
        follow_pin=job.parameters.get("follow_pin", False),
    )
    chunk.total = 2 * customers
    chunk.cursor = {"phase": "count", "after": None}


def _count(job: RunningJob, chunk: Chunk) -> None:
    counted, last = calibrations.count(chunk.session, job.id, _after(chunk), COUNTED_AT_ONCE)
    chunk.advance(processed=counted)
    chunk.cursor = {"phase": "count", "after": str(last)} if last else {"phase": "models"}


def _fit(job: RunningJob, chunk: Chunk) -> None:
    from services.scoring.domain import models  # which brings numpy and scipy

    chunk.report["models"] = models.fit(chunk.session, job.id)
    chunk.cursor = {"phase": "boundaries"}


def _draw(job: RunningJob, chunk: Chunk) -> None:
    chunk.report["counted"] = calibrations.draw_boundaries(chunk.session, job.id)
    calibrations.forget_input(chunk.session, job.id)
    chunk.cursor = {"phase": "effect"}


def _take_effect(job: RunningJob, chunk: Chunk) -> None:
    if not calibrations.take_effect(chunk.session, job.id):
        chunk.report["superseded"] = True
        chunk.cursor = {"phase": "done"}
        return
    calibration = calibrations.current(chunk.session)
    if calibration is not None:
        chunk.report |= {
            "as_of": calibration.as_of.isoformat(),
            "basis": calibration.basis,
            "initial": calibration.initial,
            "policy_version": calibration.policy.version,
        }
    chunk.cursor = {"phase": "reband", "after": None}


def _reband(job: RunningJob, chunk: Chunk) -> None:
    session = chunk.session
    calibrations.enter(session)
    ids = session.scalars(
        text("select customer_id from metrics where customer_id > :after order by customer_id limit :size"),
        {"after": _after(chunk) or UUID(int=0), "size": REBANDED_AT_ONCE},
    ).all()
    active = sorted(lock_active(session, customer, ids))
    calibration = calibrations.current(session)
    if calibration is None or calibration.id != job.id:
        chunk.report["superseded"] = True
        chunk.cursor = {"phase": "done"}
        return
    if not ids:
        calibrations.sweep(session)
        chunk.cursor = {"phase": "done"}
        return
    moves = scores.reband(session, calibration, active)
    chunk.advance(processed=len(ids))
    chunk.report["scores_moved"] = chunk.report.get("scores_moved", 0) + moves.scores
    chunk.report["tiers"] = _sum(chunk.report.get("tiers", {}), moves.tiers)
    chunk.report["stages_moved"] = chunk.report.get("stages_moved", 0) + moves.heading.stages
    chunk.report["risks_moved"] = chunk.report.get("risks_moved", 0) + moves.heading.risks
    chunk.cursor = {"phase": "reband", "after": str(ids[-1])}


def pass_time(job: RunningJob) -> None:
    """Move those whom time alone moves into another stage or churn band, and announce it. Where the as_of of the calibration
    is pinned, time stands still."""
    while not job.cursor.get("done"):
        with job.chunk() as chunk:
            session = chunk.session
            calibrations.enter(session)
            calibration = calibrations.current(session)
            moved = 0
            if calibration is not None and not calibration.pinned:
                moved = move_those_due(session, session.scalars(text("select now()")).one())
            chunk.advance(processed=moved)
            chunk.cursor = {"done": moved == 0}


def move_those_due(session: Session, as_of: datetime) -> int:
    """One chunk of them, behind the gate; gives how many there were."""
    ids = outlooks.due(session, as_of, REBANDED_AT_ONCE)
    active = sorted(lock_active(session, customer, ids))
    calibration = calibrations.current(session)
    if calibration is None or not active:
        return 0
    scores.catch_up(session, calibration, active)
    now = session.scalars(text("select now()")).one()
    passed = Cause(reason="review", effective_at=now, historical=False)
    outlooks.refresh(session, calibration, dict.fromkeys(active, passed), as_of)
    return len(active)


def make_reports(job: RunningJob) -> None:
    """Compute the answers that are kept until the next night, one in a transaction."""
    while (made := job.cursor.get("made", 0)) < len(kept.NIGHTLY):
        with job.chunk() as chunk:
            chunk.total = len(kept.NIGHTLY)
            kept.make(chunk.session, list(kept.NIGHTLY)[made])
            chunk.advance(processed=1)
            chunk.cursor = {"made": made + 1}


def _after(chunk: Chunk) -> UUID | None:
    after = chunk.cursor.get("after")
    return UUID(after) if after else None


def _sum(one: dict[str, int], other: dict[str, int]) -> dict[str, int]:
    return {key: one.get(key, 0) + other.get(key, 0) for key in sorted({*one, *other})}


def calibrate_nightly(context: Context) -> None:
    """A calibration as of now; a pinned as_of is kept until somebody calibrates without one."""
    with context.sessions.begin() as session:
        jobs.create(session, CALIBRATION, {"follow_pin": True})


def pass_time_daily(context: Context) -> None:
    """Soon after midnight, when another day has passed."""
    with context.sessions.begin() as session:
        jobs.create(session, PASSING_TIME, {})


def make_reports_nightly(context: Context) -> None:
    """After the calibration, where they are worth keeping."""
    with context.sessions.begin() as session:
        if (session.scalar(text("select count(*) from metrics")) or 0) >= LARGE:
            jobs.create(session, REPORTS, {})


JOBS: dict[str, JobFunction] = {CALIBRATION: calibrate, PASSING_TIME: pass_time, REPORTS: make_reports}
SCHEDULE = (
    Scheduled("passing-time", "5 0 * * *", pass_time_daily),
    Scheduled("nightly-calibration", "10 2 * * *", calibrate_nightly),
    Scheduled("nightly-reports", "40 3 * * *", make_reports_nightly),
)
