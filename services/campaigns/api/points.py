"""/customers/{customer_id}/points and what they were spent on"""

from datetime import datetime
from typing import Any
from uuid import UUID

from pydantic import BaseModel, ConfigDict, Field

from services.campaigns.api.rewards import RedemptionOut
from services.campaigns.domain import customers, points, rewards
from shared.http.dependencies import Now, Transaction
from shared.http.idempotency import RequiredOnce
from shared.http.paging import Page, PageOf, page_of
from shared.http.routing import Router

router = Router(prefix="/v1/customers/{customer_id}", tags=["points"])


class PointsOut(BaseModel):
    """What a customer may spend (`balance`, below zero after a reversal of what was spent) and what is still waiting."""

    model_config = ConfigDict(
        json_schema_extra={
            "examples": [
                {"customer_id": "019a8f6e-5d0c-7cc1-9d0e-0f6c1f1d2a3b", "balance": 1250, "pending": 0}
            ]
        }
    )

    customer_id: UUID
    balance: int
    pending: int = Field(
        description="earned and not yet spendable; always 0 in a programme without a pending period"
    )


class EntryOut(BaseModel):
    """One movement of a customer's points; `points` is what the balance changed by."""

    id: UUID
    kind: str = Field(
        description="earned, reversed, adjusted (a tier heard of late), spent or transferred (a merge, an unmerge)",
        examples=["earned"],
    )
    points: int = Field(examples=[250])
    balance: int = Field(description="the balance after it", examples=[1250])
    source: str = Field(examples=["purchase:019a8f6e-5d0c-7cc1-9d0e-0f6c1f1d2a3b"])
    reason: str = Field(examples=["purchase"])
    effective_at: datetime
    booked_at: datetime


class RedemptionIn(BaseModel):
    model_config = ConfigDict(
        extra="forbid",
        json_schema_extra={"examples": [{"reward_id": "019a8f6e-5d0c-7cc1-9d0e-0f6c1f1d2a3b"}]},
    )

    reward_id: UUID


@router.get("/points", scopes=["points:read"], owner="customer_id")
def get_points(customer_id: UUID, session: Transaction) -> PointsOut:
    """A customer's points."""
    owner = customers.known(session, customer_id)
    return PointsOut(customer_id=owner, balance=points.balance(session, owner), pending=0)


@router.get("/points/entries", scopes=["points:read"], owner="customer_id", response_model=PageOf[EntryOut])
def list_points_entries(customer_id: UUID, session: Transaction, page: Page) -> Any:
    """How a customer's points came about, the latest entry first."""
    owner = customers.known(session, customer_id)
    after = page.after(("position",))
    rows = points.entries(session, owner, after[0] if after else None, page.limit + 1)
    return page_of(EntryOut, rows, page, key=lambda row: (row.position,))


@router.post("/redemptions", scopes=["points:write"], owner="customer_id", status_code=201)
def create_redemption(
    customer_id: UUID, body: RedemptionIn, session: Transaction, now: Now, once: RequiredOnce
) -> RedemptionOut:
    """Spend points on a reward.

    409 `insufficient_points` or `out_of_stock`. The answer to an Idempotency-Key is kept for ever.
    """
    return once(
        RedemptionOut, lambda: rewards.redeem(session, customer_id, body.reward_id, now), forever=True
    )


@router.get("/redemptions", scopes=["points:read"], owner="customer_id", response_model=PageOf[RedemptionOut])
def list_redemptions(customer_id: UUID, session: Transaction, page: Page) -> Any:
    """What a customer spent points on, the latest first."""
    owner = customers.known(session, customer_id)
    after = page.after(("redeemed_at", "id"))
    rows = rewards.redemptions_of(session, owner, after, page.limit + 1)
    return page_of(RedemptionOut, rows, page, key=lambda row: (row.redeemed_at, row.id))
