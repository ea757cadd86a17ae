"""Calibrating: everybody is counted, the models are fitted, the boundaries drawn and put in force, everybody is re-banded."""

from datetime import datetime

from services.scoring.domain import calibrations, drifts, facts, scores
from services.scoring.jobs.customers import last_customer, next_customers
from services.scoring.tables import customer
from shared import jobs
from shared.customers import lock_active
from shared.jobs.runner import Chunk, RunningJob
from shared.jobs.schedule import Context

CALIBRATION = "calibration"
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
        reason=job.parameters.get("reason", "calibration"),
    )
    chunk.total = 2 * customers
    chunk.cursor = {"phase": "count", "after": None}


def _count(job: RunningJob, chunk: Chunk) -> None:
    counted, last = calibrations.count(chunk.session, job.id, last_customer(chunk), COUNTED_AT_ONCE)
    chunk.advance(processed=counted)
    chunk.cursor = {"phase": "count", "after": str(last)} if last else {"phase": "models"}


def _fit(job: RunningJob, chunk: Chunk) -> None:
    from services.scoring.domain import models  # which brings numpy and scipy

    chunk.report["models"] = models.fit(chunk.session, job.id)
    chunk.cursor = {"phase": "boundaries"}


def _draw(job: RunningJob, chunk: Chunk) -> None:
    chunk.report["counted"] = calibrations.draw_boundaries(chunk.session, job.id)
    calibrations.forget_input(chunk.session, job.id)
    if moved := drifts.moved_since_the_last(chunk.session, job.id):
        chunk.report["drift"] = moved
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
    ids = next_customers(chunk, REBANDED_AT_ONCE)
    active = sorted(lock_active(session, customer, ids))
    calibration = calibrations.current(session)
    if calibration is None or calibration.id != job.id:
        chunk.report["superseded"] = True
        chunk.cursor = {"phase": "done"}
        return
    if not ids:
        calibrations.sweep(session)
        calibrations.announce_finished(session, calibration, chunk.report)
        chunk.cursor = {"phase": "done"}
        return
    moves = scores.reband(session, calibration, active)
    chunk.advance(processed=len(ids))
    chunk.report["scores_moved"] = chunk.report.get("scores_moved", 0) + moves.scores
    chunk.report["tiers"] = _sum(chunk.report.get("tiers", {}), moves.tiers)
    chunk.report["stages_moved"] = chunk.report.get("stages_moved", 0) + moves.heading.stages
    chunk.report["risks_moved"] = chunk.report.get("risks_moved", 0) + moves.heading.risks
    chunk.cursor = {"phase": "reband", "after": str(ids[-1])}


def _sum(one: dict[str, int], other: dict[str, int]) -> dict[str, int]:
    return {key: one.get(key, 0) + other.get(key, 0) for key in sorted({*one, *other})}


def calibrate_nightly(context: Context) -> None:
    """A calibration as of now; a pinned as_of is kept until somebody calibrates without one."""
    with context.sessions.begin() as session:
        jobs.create(session, CALIBRATION, {"follow_pin": True})
