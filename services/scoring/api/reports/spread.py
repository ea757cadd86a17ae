"""How the customers are spread over bands, tiers and stages, and who they are."""

from datetime import datetime
from typing import Annotated, Any
from uuid import UUID

from fastapi import Query
from pydantic import BaseModel, ConfigDict, Field

from services.scoring.api.reports.asked import Day, FilterIn, Names, Report, period
from services.scoring.domain.facts import books
from services.scoring.domain.reports import spread
from shared.http.dependencies import Now, Transaction
from shared.http.paging import Page, PageOf, page_of
from shared.http.routing import Router

router = Router(prefix="/v1/reports", tags=["reports"])


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
    names: Names
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
    names: Names
    customers: int
    share: float
    net_revenue_minor: int
    downgrades_due: int


class TierDistributionOut(Report):
    """Every tier, the highest first."""

    customers: int = Field(description="customers with a tier")
    without_tier: int
    tiers: list[TierCount]


class StageCount(BaseModel):
    """Who is in a stage now, and who came and went within the period."""

    stage: str
    names: Names
    customers: int
    share: float
    net_revenue_minor: int
    entered: int
    left: int


class LifecycleOut(Report):
    """Every stage, in the order of a life. Who came by a first calibration has not entered."""

    model_config = ConfigDict(populate_by_name=True)

    from_: datetime = Field(alias="from")
    until: datetime
    customers: int = Field(description="customers in a stage")
    without_stage: int = Field(description="bought before the first calibration")
    stages: list[StageCount]


class LifecycleIn(FilterIn):
    from_: Day | None = Field(default=None, alias="from", description="30 days before the end unless said")
    until: Day | None = Field(default=None, description="the day after the last; now unless said")


class CustomerOut(BaseModel):
    """A customer behind a report, as of now."""

    customer_id: UUID
    tier: str | None
    segment: str | None
    value_class: str | None
    stage: str | None
    churn_band: str | None
    trend: str | None
    kind: str | None
    country: str | None
    region: str | None
    acquisition_channel: str | None
    tags: list[str]
    net_revenue_minor: int
    purchase_count: int
    last_purchase_at: datetime | None


@router.get("/rfm-grid", scopes=["scores:read"])
def get_rfm_grid(session: Transaction, query: Annotated[FilterIn, Query()]) -> RfmGridOut:
    """Customers and net revenue by recency band × mean of frequency and monetary band.

    422 `unknown_value` where the filter names a tier, segment or value class that no policy knows, here and in every report.
    """
    return RfmGridOut.model_validate(spread.rfm_grid(session, query.filter()))


@router.get("/tier-distribution", scopes=["scores:read"])
def get_tier_distribution(session: Transaction, query: Annotated[FilterIn, Query()]) -> TierDistributionOut:
    """Customers and net revenue by tier."""
    return TierDistributionOut.model_validate(spread.tier_distribution(session, query.filter()))


@router.get("/lifecycle", scopes=["scores:read"])
def get_lifecycle(session: Transaction, now: Now, query: Annotated[LifecycleIn, Query()]) -> LifecycleOut:
    """Customers and net revenue by lifecycle stage, and who entered and left each stage in a period."""
    since, until = period(query.from_, query.until, now, books(session).time_zone)
    return LifecycleOut.model_validate(spread.lifecycle(session, query.filter(), since, until))


@router.get("/customers", scopes=["scores:read"], response_model=PageOf[CustomerOut])
def list_reported_customers(
    session: Transaction, page: Page, query: Annotated[FilterIn, Query()]
) -> dict[str, Any]:
    """The customers behind any part of a report: the same filter, by customer id."""
    key = page.after(("customer_id",))
    rows = spread.customers(session, query.filter(), None if key is None else key[0], page.limit + 1)
    return page_of(CustomerOut, rows, page, key=lambda row: (row.customer_id,))
