"""/purchases/…/fulfilment and /fulfilments: what was shipped, promised and delivered."""

from datetime import date, datetime
from typing import Annotated, Any, Literal
from uuid import UUID

from fastapi import Query, Response
from pydantic import BaseModel, Field

from services.profile.api.fields import Day, ExternalId, Id, Label, Source, When
from services.profile.domain import fulfilments
from shared.auth.callers import Caller
from shared.http.dependencies import Caller_, Now, Transaction
from shared.http.paging import Page, PageOf, page_of
from shared.http.routing import Router

router = Router(prefix="/v1", tags=["fulfilments"])


class FulfilmentIn(BaseModel):
    """What is known of a purchase's way. A field that is absent stays as it is, null removes it."""

    shipped_at: When | None = None
    delivered_at: When | None = Field(default=None, description="announced once; stays as it was told first")
    promised_on: Day | None = None
    carrier: Label | None = Field(default=None, examples=["SF Express"])
    tracking_number: Id | None = Field(default=None, examples=["SF1234567890"])


class FulfilmentOut(BaseModel):
    """The tracking number is shown to callers with the scope pii:read: it leads to somebody's door."""

    purchase_id: UUID
    source: str
    external_id: str
    customer_id: UUID | None
    shipped_at: datetime | None
    delivered_at: datetime | None
    promised_on: date | None
    late: bool | None = Field(
        description="after the promised day, or not yet although it is over; null = no promise"
    )
    carrier: str | None
    personal_data: Literal["shown", "withheld"]
    tracking_number: str | None
    recorded_at: datetime
    updated_at: datetime


@router.put(
    "/purchases/{source}/{external_id}/fulfilment",
    scopes=["purchases:write"],
    response_model=FulfilmentOut,
    responses={201: {"model": FulfilmentOut, "description": "The first that is heard of its way"}},
)
def put_fulfilment(
    source: Source,
    external_id: ExternalId,
    body: FulfilmentIn,
    session: Transaction,
    now: Now,
    caller: Caller_,
    response: Response,
) -> Any:
    """Tell how far a purchase has come.

    What is absent stays; the same again changes nothing. The first `delivered_at` is announced and stays: another one
    is refused with 409 `fulfilment_differs`. Nothing more is told of a purchase that was called off.
    """
    first = fulfilments.put(session, source, external_id, body.model_dump(exclude_unset=True), now)
    response.status_code = 201 if first else 200
    return FulfilmentOut(**fulfilments.get(session, source, external_id, now, clear=_may_see(caller)))


@router.get("/purchases/{source}/{external_id}/fulfilment", scopes=["purchases:read"])
def get_fulfilment(
    source: Source, external_id: ExternalId, session: Transaction, now: Now, caller: Caller_
) -> FulfilmentOut:
    """How far a purchase has come."""
    return FulfilmentOut(**fulfilments.get(session, source, external_id, now, clear=_may_see(caller)))


@router.get("/fulfilments", scopes=["purchases:read"])
def list_fulfilments(
    session: Transaction,
    now: Now,
    caller: Caller_,
    page: Page,
    late: Annotated[
        bool | None, Query(description="true = came, or will come, after the promised day")
    ] = None,
    delivered: Annotated[bool | None, Query()] = None,
    carrier: Annotated[list[Label], Query(max_length=50)] = [],  # noqa: B006
) -> PageOf[FulfilmentOut]:
    """Purchases with a promised day, the earliest promise first."""
    rows = fulfilments.page_of_promised(
        session,
        page.after(("promised_on", "purchase_id")),
        page.limit + 1,
        now,
        late=late,
        delivered=delivered,
        carriers=carrier,
        clear=_may_see(caller),
    )
    return page_of(FulfilmentOut, rows, page, key=lambda row: (row["promised_on"], row["purchase_id"]))  # type: ignore[return-value]


def _may_see(caller: Caller) -> bool:
    return caller.may("pii:read")
