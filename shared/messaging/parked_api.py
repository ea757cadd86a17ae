"""/v1/parked: events that wait behind a gap or a failure, and what to do about them."""

from datetime import datetime
from typing import Annotated, Literal
from uuid import UUID

from fastapi import Query
from pydantic import BaseModel, Field

from shared.http.dependencies import Caller_, Transaction
from shared.http.idempotency import Once
from shared.http.paging import Page, PageOf, page_of
from shared.http.routing import Router
from shared.messaging import parked

router = Router(prefix="/v1/parked", tags=["parked"])

Reason = Literal["gap", "failed", "behind", "unreadable"]


class ParkedOut(BaseModel):
    """A parked event. Its data are left out: whoever must see them reads the topic."""

    id: UUID
    consumer: str
    topic: str
    key: str = Field(
        description="events of one key are applied in order, so the others of this key wait behind it"
    )
    sequence: int | None = Field(description="null for a record that could not be read")
    type: str | None
    reason: Reason = Field(
        description="gap: an earlier event has not come · failed: its reaction refused it · behind: waits for another"
        " one of its key · unreadable: no event of ours"
    )
    error: str | None
    attempts: int
    parked_at: datetime
    next_try_at: datetime | None
    dead_at: datetime | None = Field(description="since when it is a dead letter: no further try by itself")


@router.get("", scopes=["messaging:read"])
def list_parked(
    session: Transaction,
    page: Page,
    consumer: Annotated[str | None, Query(max_length=200)] = None,
    reason: Annotated[list[Reason] | None, Query(description="repeat for several")] = None,
    dead: Annotated[bool | None, Query(description="dead letters only, or all but them")] = None,
) -> PageOf[ParkedOut]:
    """Parked events, the oldest first."""
    after = page.after(("id",))
    rows = parked.listing(
        session,
        limit=page.limit + 1,
        after=after[0] if after else None,
        consumer=consumer,
        reasons=reason or (),
        dead=dead,
    )
    return page_of(ParkedOut, rows, page, key=lambda row: (row.id,))  # type: ignore[return-value]


@router.get("/{id}", scopes=["messaging:read"])
def get_parked(session: Transaction, id: UUID) -> ParkedOut:  # noqa: A002
    """A parked event; 404 once it has been applied or discarded."""
    return ParkedOut.model_validate(parked.get(session, id), from_attributes=True)


@router.post("/{id}/retry", scopes=["messaging:write"])
def retry_parked(session: Transaction, once: Once, id: UUID) -> ParkedOut:  # noqa: A002
    """Try a parked event again.

    Asks for another series of tries; the first is made within about a second. Of an event behind another, the first of
    its key is tried. 409 `gap_open` where the key waits for an event that has not come.
    """
    return once(ParkedOut, lambda: parked.retry(session, id))


@router.post("/{id}/discard", scopes=["messaging:write"])
def discard_parked(session: Transaction, once: Once, caller: Caller_, id: UUID) -> ParkedOut:  # noqa: A002
    """Give up one parked event.

    The event is lost for this consumer and the ones behind it go on. Only the first of a key can be discarded: 409
    `not_first_in_line`; 409 `gap_open` where an earlier one is missing.
    """
    return once(ParkedOut, lambda: parked.discard(session, id, caller.name))


@router.post("/{id}/accept-gap", scopes=["messaging:write"])
def accept_parked_gap(session: Transaction, once: Once, caller: Caller_, id: UUID) -> ParkedOut:  # noqa: A002
    """Go on without a missing event.

    For a key that waits for events which will never come. 409 `no_gap` where none is missing.
    """
    return once(ParkedOut, lambda: parked.accept_gap(session, id, caller.name))
