"""/purchases/…/cancellation: calling a whole purchase off."""

from datetime import datetime
from typing import Annotated, Any
from uuid import UUID

from fastapi import Response
from pydantic import BaseModel, Field, StrictStr, StringConstraints

from services.profile.api.fields import ExternalId, Source, When
from services.profile.domain import cancellations
from shared.http.dependencies import Now, Transaction
from shared.http.routing import Router

router = Router(prefix="/v1/purchases/{source}/{external_id}/cancellation", tags=["purchases"])

# A code, never a text about somebody.
Reason = Annotated[StrictStr, StringConstraints(pattern=r"^[a-z][a-z0-9_]{0,49}$")]


class CancellationIn(BaseModel):
    occurred_at: When
    reason: Reason | None = Field(default=None, examples=["out_of_stock"])


class CancellationOut(BaseModel):
    purchase_id: UUID
    occurred_at: datetime
    recorded_at: datetime
    historical: bool
    reason: str | None
    amount_minor: int = Field(description="what is reversed: all that had not come back before, positive")
    accounting_amount_minor: int


@router.put(
    "",
    scopes=["purchases:write"],
    status_code=201,
    response_model=CancellationOut,
    responses={200: {"model": CancellationOut, "description": "Called off before with the same facts"}},
)
def cancel_purchase(
    source: Source,
    external_id: ExternalId,
    body: CancellationIn,
    session: Transaction,
    now: Now,
    response: Response,
) -> Any:
    """Call a purchase off.

    Reverses what has not come back yet; nothing comes back of it afterwards (409 `purchase_cancelled`). Safe to repeat:
    the same facts again give 200, other facts 409 `cancellation_differs`.
    """
    new = cancellations.put(session, source, external_id, body.occurred_at, body.reason, now)
    response.status_code = 201 if new else 200
    return cancellations.get(session, source, external_id)._asdict()


@router.get("", scopes=["purchases:read"], response_model=CancellationOut)
def get_cancellation(source: Source, external_id: ExternalId, session: Transaction) -> Any:
    """What calling a purchase off reversed."""
    return cancellations.get(session, source, external_id)._asdict()
