"""What was uploaded for a job: rows of sealed blocks under a key that is destroyed with them.

So no disk is shared, any worker can go on, and what a customer's file held is unreadable once the job is done.
"""

from collections.abc import Iterator
from uuid import UUID

from sqlalchemy import delete, select
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.orm import Session

from shared import sealing
from shared.database import Sessions
from shared.jobs.tables import upload_block

BLOCK = 1024 * 1024


def append(session: Session, job_id: UUID, number: int, block: bytes) -> None:
    """Keep block ``number`` (0, 1, 2 … without a gap) of what is uploaded for a job; about 1 MB each."""
    sealed = sealing.seal_bytes(session, _subject(job_id), _place(job_id, number), block)
    session.execute(insert(upload_block).values(job_id=job_id, number=number, sealed=sealed))


def read(sessions: Sessions, job_id: UUID, first: int = 0) -> Iterator[bytes]:
    """The blocks from ``first`` on, in order, one in memory at a time and no transaction held between them."""
    number = first
    while True:
        with sessions.begin() as session:
            sealed = session.scalar(
                select(upload_block.c.sealed).where(
                    upload_block.c.job_id == job_id, upload_block.c.number == number
                )
            )
            if sealed is None:
                return
            block = sealing.unseal_bytes(session, _subject(job_id), _place(job_id, number), sealed)
        if block is None:
            return
        yield block
        number += 1


def destroy(session: Session, job_id: UUID) -> None:
    """Forget what was uploaded: the blocks and the key that opens them."""
    gone = session.execute(delete(upload_block).where(upload_block.c.job_id == job_id))
    if gone.rowcount:  # type: ignore[attr-defined]
        sealing.destroy(session, _subject(job_id))


def _subject(job_id: UUID) -> str:
    return f"job:{job_id}"


def _place(job_id: UUID, number: int) -> str:
    return f"upload_block.sealed:{job_id}/{number}"
