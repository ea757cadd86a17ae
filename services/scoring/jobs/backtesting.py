"""Trying a policy on everybody, touching nobody."""

from uuid import UUID

from sqlalchemy import text

from services.scoring.domain import backtests
from services.scoring.jobs.customers import last_customer
from shared.jobs.runner import Chunk, RunningJob

BACKTEST = "backtest"
COUNTED_AT_ONCE = 20_000
COMPARED_AT_ONCE = 5_000


def backtest(job: RunningJob) -> None:
    """Try a policy on everybody, touching nobody. Phases in the cursor: count, boundaries, compare, done."""
    phases = {"count": _count, "boundaries": _draw, "compare": _compare}
    while (phase := job.cursor.get("phase", "count")) != "done":
        with job.chunk() as chunk:
            phases[phase](job, chunk)


def _count(job: RunningJob, chunk: Chunk) -> None:
    after = last_customer(chunk)
    if after is None:
        chunk.total = 2 * chunk.session.scalars(text("select count(*) from metrics")).one()
    counted, last = backtests.count(chunk.session, job.id, after, COUNTED_AT_ONCE)
    chunk.advance(processed=counted)
    chunk.cursor = {"phase": "count", "after": str(last)} if last else {"phase": "boundaries"}


def _draw(job: RunningJob, chunk: Chunk) -> None:
    chunk.report["counted"] = backtests.draw_boundaries(chunk.session, job.id)
    chunk.cursor = {"phase": "compare", "after": None}


def _compare(job: RunningJob, chunk: Chunk) -> None:
    ids = chunk.session.scalars(
        text("""
            select customer_id from metrics join customer c using (customer_id)
            where customer_id > :after and c.state = 'active' order by customer_id limit :size
        """),
        {"after": last_customer(chunk) or UUID(int=0), "size": COMPARED_AT_ONCE},
    ).all()
    if not ids:
        chunk.report |= backtests.finish(chunk.session, job.id)
        chunk.cursor = {"phase": "done"}
        return
    backtests.compare(chunk.session, job.id, ids)
    chunk.advance(processed=len(ids))
    chunk.cursor = {"phase": "compare", "after": str(ids[-1])}
