"""Going through everybody with a fact, a chunk at a time."""

from collections.abc import Sequence
from uuid import UUID

from sqlalchemy import text

from shared.jobs.runner import Chunk


def last_customer(chunk: Chunk) -> UUID | None:
    """The last customer of the chunk before."""
    last = chunk.cursor.get("after")
    return UUID(last) if last else None


def next_customers(chunk: Chunk, size: int) -> Sequence[UUID]:
    return chunk.session.scalars(
        text("select customer_id from metrics where customer_id > :after order by customer_id limit :size"),
        {"after": last_customer(chunk) or UUID(int=0), "size": size},
    ).all()
