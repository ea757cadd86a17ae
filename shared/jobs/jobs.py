"""What may be done with a job: create, release, cancel, resume."""

from collections.abc import Mapping
from typing import Any
from uuid import UUID

from sqlalchemy import RowMapping, func, select, update
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.orm import Session

from shared.errors import Conflict, NotFound
from shared.ids import uuid7
from shared.jobs.tables import job, upload_block


def create(
    session: Session,
    kind: str,
    parameters: Mapping[str, Any],
    *,
    created_by: str | None = None,
    held: bool = False,
) -> UUID:
    """A new job, due at once – or ``held`` until ``release``, while its upload is still arriving.

    ``parameters`` must be JSON and without personal data: they are shown to whoever may read jobs.
    """
    job_id = uuid7()
    session.execute(
        insert(job).values(
            id=job_id,
            kind=kind,
            parameters=dict(parameters),
            created_by=created_by,
            due_at=None if held else func.now(),
        )
    )
    return job_id


def release(session: Session, job_id: UUID) -> None:
    """The upload is complete: the job may start."""
    session.execute(update(job).where(job.c.id == job_id).values(due_at=func.now()))


def get(session: Session, job_id: UUID, *, lock: bool = False) -> RowMapping:
    statement = select(job).where(job.c.id == job_id)
    found = session.execute(statement.with_for_update() if lock else statement).mappings().one_or_none()
    if found is None:
        raise NotFound("job_not_found", f"there is no job {job_id}")
    return found


def cancel(session: Session, job_id: UUID) -> RowMapping:
    """Stop a job: at once where nobody works on it, else between two of its chunks. What is committed stays."""
    found = get(session, job_id, lock=True)
    if found["state"] == "queued":
        values: dict[str, Any] = {
            "state": "cancelled",
            "finished_at": func.now(),
            "cancel_requested_at": func.now(),
        }
    elif found["state"] == "running":
        values = {"cancel_requested_at": func.coalesce(job.c.cancel_requested_at, func.now())}
    elif found["state"] == "cancelled":
        return found
    else:
        raise Conflict("job_finished", f"the job has {found['state']}")
    session.execute(update(job).where(job.c.id == job_id).values(values))
    return get(session, job_id)


def resume(session: Session, job_id: UUID) -> RowMapping:
    """Let a failed or cancelled job go on where its cursor stands."""
    found = get(session, job_id, lock=True)
    if found["state"] in ("queued", "running"):
        if found["cancel_requested_at"] is not None:
            raise Conflict("job_stopping", "the job is still stopping; resume it once it is cancelled")
        return found
    if found["state"] == "succeeded":
        raise Conflict("job_finished", "the job has succeeded")
    if found["parameters"].get("upload") and not _has_upload(session, job_id):
        raise Conflict("upload_forgotten", "what was uploaded has been destroyed; start a new job")
    session.execute(
        update(job)
        .where(job.c.id == job_id)
        .values(
            state="queued",
            due_at=func.now(),
            finished_at=None,
            cancel_requested_at=None,
            lease_until=None,
            attempts=0,
            error_code=None,
            error_message=None,
        )
    )
    return get(session, job_id)


def _has_upload(session: Session, job_id: UUID) -> bool:
    return (
        session.scalar(select(upload_block.c.number).where(upload_block.c.job_id == job_id).limit(1))
        is not None
    )
