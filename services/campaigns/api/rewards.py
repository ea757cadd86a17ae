"""/rewards"""

from datetime import datetime
from typing import Annotated, Any
from uuid import UUID

from fastapi import Response
from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, StringConstraints

from services.campaigns.domain import rewards
from shared.http.dependencies import Transaction
from shared.http.idempotency import Once
from shared.http.paging import Page, PageOf, page_of
from shared.http.routing import Router

router = Router(prefix="/v1/rewards", tags=["rewards"])

_LARGEST = 10**12


def _whole(value: Any) -> Any:
    """In JSON 5.0 is as whole as 5; "5" and true are not numbers."""
    return int(value) if isinstance(value, float) and value.is_integer() else value


Whole = Annotated[int, BeforeValidator(_whole), Field(strict=True)]


class RewardIn(BaseModel):
    """What points can buy. Without `stock` there is no limit."""

    model_config = ConfigDict(
        extra="forbid",
        json_schema_extra={"examples": [{"name": "Tea cup 茶杯", "points_price": 500, "stock": 100}]},
    )

    name: Annotated[
        str,
        StringConstraints(
            strip_whitespace=True,
            min_length=1,
            max_length=200,
            pattern=r"^[^\x00-\x1f\x7f]*\S[^\x00-\x1f\x7f]*$",
        ),
    ]
    points_price: Whole = Field(ge=1, le=_LARGEST)
    stock: Annotated[int, Field(strict=True, ge=0, le=_LARGEST)] | None = None


class RewardOut(BaseModel):
    """A reward; `stock` is what is left, null = without limit."""

    id: UUID
    name: str
    points_price: int
    stock: int | None
    redeemed_count: int
    created_at: datetime


class RedemptionOut(BaseModel):
    """Points spent on a reward."""

    id: UUID
    customer_id: UUID
    reward_id: UUID
    reward_name: str
    points: int
    redeemed_at: datetime


@router.post("", scopes=["rewards:write"], status_code=201)
def create_reward(body: RewardIn, session: Transaction, once: Once, reply: Response) -> RewardOut:
    """Add a reward."""
    made = once(RewardOut, lambda: rewards.create(session, body.name, body.points_price, body.stock))
    reply.headers["Location"] = f"/campaigns/v1/rewards/{made.id}"
    return made


@router.get("", scopes=["rewards:read"], response_model=PageOf[RewardOut])
def list_rewards(session: Transaction, page: Page) -> Any:
    """All rewards, the latest first."""
    rows = rewards.page(session, page.after(("created_at", "id")), page.limit + 1)
    return page_of(RewardOut, rows, page, key=lambda row: (row.created_at, row.id))


@router.get("/{reward_id}", scopes=["rewards:read"])
def get_reward(reward_id: UUID, session: Transaction) -> RewardOut:
    """One reward."""
    return RewardOut.model_validate(rewards.get(session, reward_id), from_attributes=True)
