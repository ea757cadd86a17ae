"""Computing overnight what a large company would wait for."""

from sqlalchemy import text

from services.scoring.domain.reports import kept
from shared import jobs
from shared.jobs.runner import RunningJob
from shared.jobs.schedule import Context

REPORTS = "reports"
# So many customers with a fact make reports over facts that one would wait for.
LARGE = 50_000


def make_reports(job: RunningJob) -> None:
    """Compute the answers that are kept until the next night, one in a transaction."""
    while (made := job.cursor.get("made", 0)) < len(kept.NIGHTLY):
        with job.chunk() as chunk:
            chunk.total = len(kept.NIGHTLY)
            kept.make(chunk.session, list(kept.NIGHTLY)[made])
            chunk.advance(processed=1)
            chunk.cursor = {"made": made + 1}


def make_reports_nightly(context: Context) -> None:
    """After the calibration, where they are worth keeping."""
    with context.sessions.begin() as session:
        if (session.scalar(text("select count(*) from metrics")) or 0) >= LARGE:
            jobs.create(session, REPORTS, {})
