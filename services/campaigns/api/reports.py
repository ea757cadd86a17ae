"""/reports"""

from pydantic import BaseModel, Field

from services.campaigns.domain import reports
from shared.http.dependencies import Transaction
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
