"""/duplicates: customers who might be one, for a person to decide."""

from datetime import datetime
from typing import Annotated, Any, Literal
from uuid import UUID

from fastapi import Query
from pydantic import BaseModel, Field
from sqlalchemy import Row

from services.profile.domain import duplicates
from shared.http.dependencies import Caller_, Now, Transaction
from shared.http.paging import Page, PageOf, page_of
from shared.http.routing import Router

router = Router(prefix="/v1/duplicates", tags=["merges"])


class DuplicateOut(BaseModel):
    """Two customers and what they have in common: `email`, `phone`, `identity`, `name_and_birthday`,
    `name_and_postcode`, or `proved_…` where one person who logged in holds a verified identity of both. Merge them, or
    dismiss the pair."""

    id: UUID
    customer_ids: list[UUID]
    evidence: list[str] = Field(examples=[["email", "name_and_birthday"]])
    score: int = Field(description="0 to 100; the likeliest come first")
    state: Literal["open", "dismissed"]
    found_at: datetime
    dismissed_at: datetime | None
    dismissed_by: str | None


class FoundOut(BaseModel):
    """How many pairs are new, or have other evidence than before."""

    found_count: int


@router.get("", scopes=["merges:read"])
def list_duplicates(
    session: Transaction,
    page: Page,
    customer_id: Annotated[UUID | None, Query()] = None,
    state: Annotated[Literal["open", "dismissed"], Query()] = "open",
) -> PageOf[DuplicateOut]:
    """Pairs of customers who might be one, the likeliest first. Who was merged or erased since is not listed."""
    rows = duplicates.page(
        session,
        page.after(("-score", "-id")),
        page.limit + 1,
        customer_id=customer_id,
        dismissed=state == "dismissed",
    )
    shown = [_shown(row) for row in rows]
    return page_of(DuplicateOut, shown, page, key=lambda one: (one.score, one.id))  # type: ignore[return-value]


@router.post("/find", scopes=["merges:write"])
def find_duplicates(session: Transaction, now: Now) -> FoundOut:
    """Look for duplicates now; it is done every night as well. For a few hundred thousand customers at most."""
    return FoundOut(found_count=duplicates.find_all(session, now))


@router.post("/{duplicate_id}/dismiss", scopes=["merges:write"])
def dismiss_duplicate(duplicate_id: UUID, session: Transaction, now: Now, caller: Caller_) -> DuplicateOut:
    """Say that these are two customers; the pair is not listed again. Safe to repeat."""
    return _shown(duplicates.dismiss(session, duplicate_id, caller.name, now))


def _shown(row: Row[Any]) -> DuplicateOut:
    return DuplicateOut.model_validate(
        dict(row._mapping)
        | {
            "id": row.duplicate_id,
            "customer_ids": [row.first_id, row.second_id],
            "state": "open" if row.dismissed_at is None else "dismissed",
        }
    )
