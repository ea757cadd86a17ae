"""Long and scheduled work of scoring. Each may die anywhere and go on where its cursor stands."""

from datetime import datetime
from uuid import UUID

from sqlalchemy import text
from sqlalchemy.orm import Session

from services.scoring.domain import (
    backtests,
    calibrations,
    clusterings,
    facts,
    manual_tiers,
    outlooks,
    scores,
)
from services.scoring.domain.causes import Cause
from services.scoring.tables import customer
from shared import jobs
from shared.customers import lock_active
from shared.jobs.runner import Chunk, JobCancelled, JobFunction, RunningJob
from shared.jobs.schedule import Context, Scheduled

CALIBRATION = "calibration"
PASSING_TIME = "passing_time"
CLUSTERING = "clustering"
RECOMMENDATIONS = "recommendations"
BACKTEST = "backtest"
TIER_EXPIRY = "tier_expiry"
WATCH = "watch"
# Counting only reads; re-banding holds its customers' locks, so reactions to them wait for one such chunk (about 0.2 s).
COUNTED_AT_ONCE = 20_000
REBANDED_AT_ONCE = 1_000
CLUSTERED_AT_ONCE = 1_000
COMPARED_AT_ONCE = 5_000
EXPLAINED_AT_ONCE = 10
SWEPT_AT_ONCE = 20_000


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
    if moved := calibrations.moved_since_the_last(chunk.session, job.id):
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


def cluster(job: RunningJob) -> None:
    """Group everybody by how they buy and learn to forecast their spend, as of the calibration in force; then say it of
    everybody in chunks, beside the clustering in force, and put it in force in one transaction.

    The job's id is the clustering's: a later one supersedes an earlier one that is slower. Phases in the cursor: begin, learn,
    assign, effect, sweep, done.
    """
    phases = {
        "begin": _begin_clustering,
        "learn": _learn,
        "assign": _assign,
        "effect": _take_clustering_effect,
        "sweep": _sweep,
    }
    while (phase := job.cursor.get("phase", "begin")) != "done":
        with job.chunk() as chunk:
            phases[phase](job, chunk)


def _begin_clustering(job: RunningJob, chunk: Chunk) -> None:
    customers = clusterings.begin(chunk.session, job.id)
    if customers is None:
        chunk.report["reasons"] = ["not_calibrated"]
        chunk.cursor = {"phase": "done"}
        return
    chunk.total = customers
    chunk.cursor = {"phase": "learn"}


def _learn(job: RunningJob, chunk: Chunk) -> None:
    from services.scoring.domain import cluster_models  # which brings numpy

    chunk.report["reasons"] = cluster_models.learn(chunk.session, job.id)
    chunk.cursor = {"phase": "assign", "after": None}


def _assign(job: RunningJob, chunk: Chunk) -> None:
    from services.scoring.domain import cluster_models

    session = chunk.session
    calibrations.enter(session)
    ids = session.scalars(
        text("select customer_id from metrics where customer_id > :after order by customer_id limit :size"),
        {"after": _after(chunk) or UUID(int=0), "size": CLUSTERED_AT_ONCE},
    ).all()
    if not ids:
        chunk.cursor = {"phase": "effect"}
        return
    said = cluster_models.assign(session, job.id, sorted(lock_active(session, customer, ids)))
    chunk.advance(processed=len(ids))
    chunk.report["customers"] = chunk.report.get("customers", 0) + said
    chunk.cursor = {"phase": "assign", "after": str(ids[-1])}


def _take_clustering_effect(job: RunningJob, chunk: Chunk) -> None:
    if not clusterings.take_effect(chunk.session, job.id):
        chunk.report["superseded"] = True
    chunk.cursor = {"phase": "sweep"}


def _sweep(job: RunningJob, chunk: Chunk) -> None:
    swept = clusterings.sweep(chunk.session, job.id, SWEPT_AT_ONCE)
    chunk.cursor = {"phase": "sweep" if swept else "done"}


def renew_recommendations(job: RunningJob) -> None:
    """Make what recommendations are made from anew, beside what is in force, and put it in force in one transaction.

    The job's id is the set's. A run that died starts over; the one that began last gives up any other, which then ends as
    superseded.
    """
    if job.cursor.get("phase") == "done":
        return
    try:
        if not _renew_recommendations(job):
            with job.chunk() as chunk:
                chunk.report["superseded"] = True
                chunk.cursor = {"phase": "done"}
    except JobCancelled:
        from services.scoring.domain import recommendation_sets

        with job.sessions.begin() as session:
            recommendation_sets.give_up(session, job.id)
        raise


def _renew_recommendations(job: RunningJob) -> bool:
    """False where another run has given this one up."""
    from services.scoring.domain import recommendation_sets  # which brings numpy and scipy

    with job.chunk() as chunk:
        as_of = recommendation_sets.begin(chunk.session, job.id)
        chunk.advance(processed=-job.cursor.get("products", 0))
        chunk.cursor = {"phase": "relate", "products": 0, "related": 0}
    with job.chunk() as chunk:
        kept = recommendation_sets.kept_before(chunk.session, as_of)
        chunk.total = len(kept.skus)
    for portion in recommendation_sets.related(kept):
        with job.chunk() as chunk:
            if not recommendation_sets.is_wanted(chunk.session, job.id):
                return False
            rows = recommendation_sets.write_related(chunk.session, job.id, kept.skus, portion)
            _reach(chunk, max((int(block.product.max(initial=-1)) + 1 for block in portion), default=0))
            chunk.cursor["related"] += rows
    with job.chunk() as chunk:
        if not recommendation_sets.is_wanted(chunk.session, job.id):
            return False
        bestsellers = recommendation_sets.write_bestsellers(chunk.session, job.id, as_of)
    with job.chunk() as chunk:
        related = chunk.cursor["related"]
        if not recommendation_sets.take_effect(chunk.session, job.id, related):
            return False
        _reach(chunk, len(kept.skus))
        chunk.report = {"as_of": as_of.isoformat(), "related": related, "bestsellers": bestsellers}
        chunk.cursor = {"phase": "done"}
    return True


def _reach(chunk: Chunk, products: int) -> None:
    """So many products are done; those behind the last one with a row go with nothing."""
    products = max(products, chunk.cursor["products"])
    chunk.advance(processed=products - chunk.cursor["products"])
    chunk.cursor["products"] = products


def backtest(job: RunningJob) -> None:
    """Try a policy on everybody, touching nobody. Phases in the cursor: count, boundaries, compare, done."""
    phases = {"count": _count_tried, "boundaries": _draw_tried, "compare": _compare}
    while (phase := job.cursor.get("phase", "count")) != "done":
        with job.chunk() as chunk:
            phases[phase](job, chunk)


def _count_tried(job: RunningJob, chunk: Chunk) -> None:
    after = _after(chunk)
    if after is None:
        chunk.total = 2 * chunk.session.scalars(text("select count(*) from metrics")).one()
    counted, last = backtests.count(chunk.session, job.id, after, COUNTED_AT_ONCE)
    chunk.advance(processed=counted)
    chunk.cursor = {"phase": "count", "after": str(last)} if last else {"phase": "boundaries"}


def _draw_tried(job: RunningJob, chunk: Chunk) -> None:
    chunk.report["counted"] = backtests.draw_boundaries(chunk.session, job.id)
    chunk.cursor = {"phase": "compare", "after": None}


def _compare(job: RunningJob, chunk: Chunk) -> None:
    ids = chunk.session.scalars(
        text("""
            select customer_id from metrics join customer c using (customer_id)
            where customer_id > :after and c.state = 'active' order by customer_id limit :size
        """),
        {"after": _after(chunk) or UUID(int=0), "size": COMPARED_AT_ONCE},
    ).all()
    if not ids:
        chunk.report |= backtests.finish(chunk.session, job.id)
        chunk.cursor = {"phase": "done"}
        return
    backtests.compare(chunk.session, job.id, ids)
    chunk.advance(processed=len(ids))
    chunk.cursor = {"phase": "compare", "after": str(ids[-1])}


def expire_tiers(job: RunningJob) -> None:
    """Release the manual tiers that have ended."""
    while not job.cursor.get("done"):
        with job.chunk() as chunk:
            session = chunk.session
            calibrations.enter(session)
            ids = manual_tiers.expired(session, REBANDED_AT_ONCE)
            lock_active(session, customer, ids)
            manual_tiers.expire(session, ids)
            chunk.advance(processed=len(ids))
            chunk.cursor = {"done": len(ids) < REBANDED_AT_ONCE}


def watch(job: RunningJob) -> None:
    """Look for sudden changes up to the last whole day before as_of, then for the customers behind each. Phases in the
    cursor: replay, explain, done."""
    from services.scoring.domain import watching  # which brings numpy

    while (phase := job.cursor.get("phase", "replay")) != "done":
        with job.chunk() as chunk:
            if phase == "replay":
                as_of = job.parameters.get("as_of")
                found = watching.raise_alerts(
                    chunk.session, None if as_of is None else datetime.fromisoformat(as_of)
                )
                chunk.total = found.alerts
                chunk.report = {
                    "until": None if found.until is None else found.until.isoformat(),
                    "series": found.series,
                    "alerts": found.alerts,
                }
                chunk.cursor = {"phase": "explain"}
            else:
                explained = watching.explain(chunk.session, EXPLAINED_AT_ONCE)
                chunk.advance(processed=explained)
                chunk.cursor = {"phase": "explain" if explained else "done"}


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


def cluster_nightly(context: Context) -> None:
    """After the calibration, whose as_of it takes."""
    with context.sessions.begin() as session:
        jobs.create(session, CLUSTERING, {})


def renew_recommendations_nightly(context: Context) -> None:
    """After the calibration, from whose segments bestsellers are taken."""
    with context.sessions.begin() as session:
        jobs.create(session, RECOMMENDATIONS, {})


def expire_tiers_daily(context: Context) -> None:
    """Before the nightly calibration."""
    with context.sessions.begin() as session:
        jobs.create(session, TIER_EXPIRY, {})


def watch_daily(context: Context) -> None:
    """The day before, when it is over."""
    with context.sessions.begin() as session:
        jobs.create(session, WATCH, {})


JOBS: dict[str, JobFunction] = {
    CALIBRATION: calibrate,
    PASSING_TIME: pass_time,
    CLUSTERING: cluster,
    RECOMMENDATIONS: renew_recommendations,
    BACKTEST: backtest,
    TIER_EXPIRY: expire_tiers,
    WATCH: watch,
}
SCHEDULE = (
    Scheduled("passing-time", "5 0 * * *", pass_time_daily),
    Scheduled("tier-expiry", "40 0 * * *", expire_tiers_daily),
    Scheduled("watch", "0 1 * * *", watch_daily),
    Scheduled("nightly-calibration", "10 2 * * *", calibrate_nightly),
    Scheduled("nightly-recommendations", "40 2 * * *", renew_recommendations_nightly),
    Scheduled("nightly-clustering", "10 3 * * *", cluster_nightly),
)
