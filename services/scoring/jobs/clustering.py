"""Grouping everybody by how they buy, and forecasting what they will spend."""

from services.scoring.domain import calibrations, clusterings
from services.scoring.jobs.customers import next_customers
from services.scoring.tables import customer
from shared import jobs
from shared.customers import lock_active
from shared.jobs.runner import Chunk, RunningJob
from shared.jobs.schedule import Context

CLUSTERING = "clustering"
CLUSTERED_AT_ONCE = 1_000
SWEPT_AT_ONCE = 20_000


def cluster(job: RunningJob) -> None:
    """Group everybody by how they buy and learn to forecast their spend, as of the calibration in force; then say it of
    everybody in chunks, beside the clustering in force, and put it in force in one transaction.

    The job's id is the clustering's: a later one supersedes an earlier one that is slower. Phases in the cursor: begin, learn,
    assign, effect, sweep, done.
    """
    phases = {
        "begin": _begin,
        "learn": _learn,
        "assign": _assign,
        "effect": _take_effect,
        "sweep": _sweep,
    }
    while (phase := job.cursor.get("phase", "begin")) != "done":
        with job.chunk() as chunk:
            phases[phase](job, chunk)


def _begin(job: RunningJob, chunk: Chunk) -> None:
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
    ids = next_customers(chunk, CLUSTERED_AT_ONCE)
    if not ids:
        chunk.cursor = {"phase": "effect"}
        return
    said = cluster_models.assign(session, job.id, sorted(lock_active(session, customer, ids)))
    chunk.advance(processed=len(ids))
    chunk.report["customers"] = chunk.report.get("customers", 0) + said
    chunk.cursor = {"phase": "assign", "after": str(ids[-1])}


def _take_effect(job: RunningJob, chunk: Chunk) -> None:
    if not clusterings.take_effect(chunk.session, job.id):
        chunk.report["superseded"] = True
    chunk.cursor = {"phase": "sweep"}


def _sweep(job: RunningJob, chunk: Chunk) -> None:
    swept = clusterings.sweep(chunk.session, job.id, SWEPT_AT_ONCE)
    chunk.cursor = {"phase": "sweep" if swept else "done"}


def cluster_nightly(context: Context) -> None:
    """After the calibration, whose as_of it takes."""
    with context.sessions.begin() as session:
        jobs.create(session, CLUSTERING, {})
