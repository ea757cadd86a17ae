"""Looking for sudden changes."""

from datetime import datetime

from shared import jobs
from shared.jobs.runner import RunningJob
from shared.jobs.schedule import Context

WATCH = "watch"
EXPLAINED_AT_ONCE = 10


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


def watch_daily(context: Context) -> None:
    """The day before, when it is over."""
    with context.sessions.begin() as session:
        jobs.create(session, WATCH, {})
