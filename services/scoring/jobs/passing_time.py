"""What time alone does: customers move into other stages, tiers held by hand end."""

from datetime import datetime

from sqlalchemy import text
from sqlalchemy.orm import Session

from services.scoring.domain import calibrations, manual_tiers, outlooks, scores
from services.scoring.domain.causes import Cause
from services.scoring.tables import customer
from shared import jobs
from shared.customers import lock_active
from shared.jobs.runner import RunningJob
from shared.jobs.schedule import Context

PASSING_TIME = "passing_time"
TIER_EXPIRY = "tier_expiry"
MOVED_AT_ONCE = 1_000


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
                as_of = job.cursor.get("as_of") or session.scalars(text("select now()")).one().isoformat()
                moved = move_those_due(session, datetime.fromisoformat(as_of))
                chunk.cursor = {"as_of": as_of}
            chunk.advance(processed=moved)
            chunk.cursor["done"] = moved == 0


def move_those_due(session: Session, as_of: datetime) -> int:
    """One chunk of them, behind the gate; gives how many there were."""
    ids = outlooks.due(session, as_of, MOVED_AT_ONCE)
    active = sorted(lock_active(session, customer, ids))
    calibration = calibrations.current(session)
    if calibration is None or not active:
        return 0
    scores.catch_up(session, calibration, active)
    now = session.scalars(text("select now()")).one()
    passed = Cause(reason="review", effective_at=now, historical=False)
    outlooks.refresh(session, calibration, dict.fromkeys(active, passed), as_of)
    return len(active)


def pass_time_daily(context: Context) -> None:
    """Soon after midnight, when another day has passed."""
    with context.sessions.begin() as session:
        jobs.create(session, PASSING_TIME, {})


def expire_tiers(job: RunningJob) -> None:
    """Release the manual tiers that have ended."""
    while not job.cursor.get("done"):
        with job.chunk() as chunk:
            session = chunk.session
            calibrations.enter(session)
            ids = manual_tiers.expired(session, MOVED_AT_ONCE)
            lock_active(session, customer, ids)
            manual_tiers.expire(session, ids)
            chunk.advance(processed=len(ids))
            chunk.cursor = {"done": len(ids) < MOVED_AT_ONCE}


def expire_tiers_daily(context: Context) -> None:
    """Before the nightly calibration."""
    with context.sessions.begin() as session:
        jobs.create(session, TIER_EXPIRY, {})
