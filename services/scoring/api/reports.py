"""/reports: how the customers are spread."""

from datetime import datetime
from typing import Literal
from uuid import UUID

from pydantic import BaseModel, Field

from services.scoring.domain import reports
from shared.http.dependencies import Transaction
from shared.http.routing import Router

router = Router(prefix="/v1/reports", tags=["reports"])


class Report(BaseModel):
    """``as_of`` and the calibration that the figures come from; null before the first one."""

    as_of: datetime | None
    calibration_id: UUID | None
    basis: Literal["population", "fixed"] | None
    currency: str | None


class Cell(BaseModel):
    """Customers of one recency band and one mean of the other two (a half rounded up)."""

    r: int
    fm: int
    segment: str
    customers: int
    net_revenue_minor: int
    share: float


class SegmentOut(BaseModel):
    segment: str
    customers: int
    net_revenue_minor: int
    share: float


class RfmGridOut(Report):
    """All 25 cells, the best first, and the segments they add up to; empty before the first calibration."""

    customers: int = Field(description="customers with a counted purchase")
    cells: list[Cell]
    segments: list[SegmentOut]


class TierCount(BaseModel):
    tier: str
    names: dict[str, str]
    customers: int
    share: float
    net_revenue_minor: int
    downgrades_due: int


class TierDistributionOut(Report):
    """Every tier, the highest first."""

    customers: int = Field(description="customers with a tier")
    without_tier: int
    tiers: list[TierCount]


@router.get("/rfm-grid", scopes=["scores:read"])
def get_rfm_grid(session: Transaction) -> RfmGridOut:
    """Customers and net revenue by recency band × mean of frequency and monetary band."""
    return RfmGridOut.model_validate(reports.rfm_grid(session))


@router.get("/tier-distribution", scopes=["scores:read"])
def get_tier_distribution(session: Transaction) -> TierDistributionOut:
    """Customers and net revenue by tier."""
    return TierDistributionOut.model_validate(reports.tier_distribution(session))
