"""/reports"""

from datetime import datetime
from typing import Any
from uuid import UUID

from pydantic import BaseModel, ConfigDict, Field

from services.campaigns.domain import merges, reports
from shared.http.dependencies import Transaction
from shared.http.paging import Page, PageOf, page_of
from shared.http.routing import Router

router = Router(prefix="/v1/reports", tags=["reports"])


class HeldBackItem(BaseModel):
    """What was not started, and why: facts too old (`historical`), or a first calibration (`initial`)."""

    trigger: str = Field(examples=["tier_upgrade"])
    reason: str = Field(examples=["initial"])
    count: int = Field(examples=[1200])


class HeldBackOut(BaseModel):
    items: list[HeldBackItem]


class PointsReport(BaseModel):
    """Points over all customers. `outstanding` = `earned` − `reversed` + `adjusted` − `spent`."""

    customers: int = Field(description="with a points account")
    outstanding: int
    earned: int
    reversed: int
    adjusted: int
    spent: int


class PartedPoints(BaseModel):
    """An unmerge gave the loser back what was earned under it. What the winner spent while merged stays spent:
    `balance_left` below zero is what that leaves owing, to be earned before anything can be spent again."""

    model_config = ConfigDict(from_attributes=True)

    id: UUID
    customer_id: UUID = Field(description="the winner of the merge that was undone")
    loser_id: UUID
    merged_at: datetime
    unmerged_at: datetime
    returned_points: int = Field(description="what went back to the loser")
    spent_points: int = Field(description="what the winner spent while merged")
    balance_left: int = Field(description="the winner's balance afterwards")


@router.get("/parted-points", scopes=["reports:read"], response_model=PageOf[PartedPoints])
def list_parted_points(session: Transaction, page: Page) -> Any:
    """Merges undone, with what was spent while merged and stays with the winner; the latest first."""
    rows = merges.parted(session, page.after(("unmerged_at", "id")), page.limit + 1)
    return page_of(PartedPoints, rows, page, key=lambda row: (row.unmerged_at, row.id))


@router.get("/held-back", scopes=["reports:read"])
def get_held_back_report(session: Transaction) -> HeldBackOut:
    """What old facts would have started and did not."""
    return HeldBackOut(
        items=[
            HeldBackItem(trigger=row.trigger, reason=row.reason, count=row.count)
            for row in reports.held_back_counts(session)
        ]
    )


@router.get("/points", scopes=["reports:read"])
def get_points_report(session: Transaction) -> PointsReport:
    """The programme's points: outstanding, earned, reversed, adjusted, spent."""
    return PointsReport.model_validate(reports.points(session), from_attributes=True)
