"""What rights ask of ``work``: copies for access requests, and the end of those whose time is over."""

import logging
from datetime import timedelta
from uuid import UUID

from sqlalchemy import text

from services.profile.clients import Neighbours, Sections, neighbours
from services.profile.domain import access, erasure
from services.profile.domain.holdings import HOLDINGS
from shared.auth.client import CallRefused
from shared.errors import Conflict, Unavailable
from shared.jobs.runner import Chunk, JobInterrupted, RunningJob
from shared.jobs.schedule import Context, Step

# How often another service that does not answer is asked before the job fails (it can be resumed).
TRIES = 6
PAUSE = 2.0

log = logging.getLogger(__name__)

_SECTIONS = [("profile", holding.section) for holding in HOLDINGS]
_STEPS = [*_SECTIONS, *((service, "") for service in erasure.SERVICES)]


def gather_personal_data(job: RunningJob, *, rows: int = access.ROWS) -> None:
    """A section of profile, or all of another service, in each chunk; then the copy can be taken.

    Begins anew where customers were merged or unmerged meanwhile.
    """
    with neighbours(job.settings, erasure.SERVICES) as others:
        while job.cursor.get("step", 0) <= len(_STEPS):
            _gather(job, others, rows)


def _gather(job: RunningJob, others: Neighbours, rows: int) -> None:
    step = job.cursor.get("step", 0)
    service = _STEPS[step][0] if step < len(_STEPS) else "profile"
    told = _ask(job, others, service) if service != "profile" else {}
    with job.chunk() as chunk:
        chunk.total = len(_STEPS)
        if step == 0 and "after" not in job.cursor:
            access.begin(chunk.session, job.id)
            chunk.report = {"sections": {}}
        elif not access.is_same_person(chunk.session, job.id):
            chunk.advance(processed=-step)
            chunk.cursor = {"step": 0, "number": job.cursor.get("number", 0)}
            return
        if step == len(_STEPS):
            access.finish(chunk.session, job.id)
            chunk.cursor = {"step": step + 1}
        elif service == "profile":
            _keep_own(chunk, job, _STEPS[step][1], rows)
        else:
            for section, found in sorted(told.items()):
                _keep(chunk, job, service, section, found)
            _next(chunk, step)


def _keep_own(chunk: Chunk, job: RunningJob, section: str, rows: int) -> None:
    step = job.cursor.get("step", 0)
    ids = access.person(chunk.session, UUID(job.parameters["customer_id"]))
    found, last = access.section_of(
        chunk.session, access.SECTIONS[section], ids, job.cursor.get("after"), rows
    )
    _keep(chunk, job, "profile", section, found)
    if last is None:
        _next(chunk, step)
    else:
        chunk.cursor = {"step": step, "after": last, "number": chunk.cursor["number"]}


def _keep(chunk: Chunk, job: RunningJob, service: str, section: str, rows: access.Rows) -> None:
    number = chunk.cursor.get("number", 0)
    if rows:
        access.keep(chunk.session, job.id, number, service, section, rows)
        number += 1
    counts = dict(chunk.report["sections"])
    name = f"{service}.{section}"
    counts[name] = (counts.get(name, 0) if "after" in job.cursor else 0) + len(rows)
    chunk.report = {"sections": counts}
    chunk.cursor = {**chunk.cursor, "number": number}


def _next(chunk: Chunk, step: int) -> None:
    chunk.advance(processed=1)
    chunk.cursor = {"step": step + 1, "number": chunk.cursor.get("number", 0)}


def _ask(job: RunningJob, others: Neighbours, service: str) -> Sections:
    """Raises Unavailable where the service does not answer for a while: the job can be resumed."""
    with job.sessions.begin() as session:
        customer_id = access.root(session, UUID(job.parameters["customer_id"]))
    for left in reversed(range(TRIES)):
        try:
            return others.personal_data(service, customer_id)
        except Unavailable:
            if left == 0:
                raise
        except CallRefused as refused:
            raise Conflict(f"{service}_refused", f"{service} refused to tell: {refused.code}") from refused
        if job.stop.wait(PAUSE):
            raise JobInterrupted
    raise AssertionError


def forget_copies(context: Context) -> int:
    """Copies whose time is over: rows and keys."""
    with context.sessions.begin() as session:
        return access.forget_old(session)


def watch_erasures(context: Context) -> int:
    """Say in the log which services have not forgotten somebody in time."""
    with context.sessions.begin() as session:
        late = session.execute(
            text(
                """
                select r.service, count(*) as customers, min(e.erased_at) as since
                from erasure_receipt r join erasure e using (customer_id)
                where r.completed_at is null and e.erased_at < now() - interval '5 minutes'
                group by r.service order by r.service
                """
            )
        ).all()
    for row in late:
        log.error("%s has not forgotten %d erased customers, since %s", row.service, row.customers, row.since)
    return 0


STEPS = (
    Step("forget copies", forget_copies, every=timedelta(minutes=10)),
    Step("watch erasures", watch_erasures, every=timedelta(minutes=1)),
)
