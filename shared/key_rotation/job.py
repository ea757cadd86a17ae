"""The job that wraps data keys anew, in portions, each committed with its progress."""

from uuid import UUID

from sqlalchemy import text
from sqlalchemy.orm import Session

from shared import audit, sealing
from shared.jobs import jobs
from shared.jobs.runner import JobInterrupted, RunningJob

KIND = "rotate_keys"
PORTION = 1_000
# Data keys that a transaction holds at this moment are passed over and looked at again after this.
PAUSE = 1.0


def start(session: Session, by: str) -> UUID:
    """Begin to wrap every data key with the current key of the environment; the job's id."""
    job_id = jobs.create(session, KIND, {}, created_by=by)
    audit.record(session, "key_rotation_started", by=by, subject=str(job_id), key=current(session))
    return job_id


def current(session: Session) -> str:
    """The id of the key that wraps new data keys."""
    keyring = session.info["keyring"]
    assert isinstance(keyring, sealing.Keyring)
    return keyring.current


def wrapped_by(session: Session) -> dict[str, int]:
    """How many data keys each key of the environment wraps. One that stands here cannot be taken away."""
    rows = session.execute(
        text(
            "select key_id, count(*) from shared.subject_key where wrapped is not null group by 1 order by 1"
        )
    )
    return {key_id: count for key_id, count in rows}  # noqa: C416 - rows are no pairs to mypy


def rotate_keys(job: RunningJob, *, portion: int = PORTION) -> None:
    """Until nothing is wrapped by another key. Killed, it goes on; run again, it finds nothing to do."""
    while True:
        with job.chunk() as chunk:
            key = current(chunk.session)
            if chunk.total is None and not chunk.cursor:
                chunk.total = _left(chunk.session, key)
            done = sealing.rewrap(chunk.session, portion)
            chunk.advance(processed=done)
            chunk.cursor = {"wrapped": chunk.cursor.get("wrapped", 0) + done}
            chunk.report = {"key": key, "rewrapped": chunk.cursor["wrapped"]}
            left = 0 if done else _left(chunk.session, key)
            if not done and not left:
                audit.record(
                    chunk.session,
                    "key_rotation_completed",
                    by=job.created_by or "job",
                    subject=str(job.id),
                    key=key,
                    rewrapped=chunk.cursor["wrapped"],
                )
        if not done and not left:
            return
        if not done and job.stop.wait(PAUSE):
            raise JobInterrupted


def _left(session: Session, key: str) -> int:
    left: int = session.scalars(
        text("select count(*) from shared.subject_key where key_id <> :key and wrapped is not null"),
        {"key": key},
    ).one()
    return left
