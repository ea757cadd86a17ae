"""Who comes back."""

from typing import Annotated

from fastapi import Query
from pydantic import BaseModel, Field

from services.scoring.api.reports.asked import PastIn, PastReport
from services.scoring.domain.reports import cohorts, kept
from shared.http.dependencies import Transaction
from shared.http.routing import Router

router = Router(prefix="/v1/reports", tags=["reports"])


class CohortsIn(PastIn):
    months: int = Field(
        default=cohorts.MONTHS, ge=1, le=60, description="cohorts of so many months up to that of as_of"
    )


class CohortMonth(BaseModel):
    """``month`` 0 is that of the first occasion."""

    month: int
    customers: int = Field(description="of the cohort with an occasion in this month")
    share: float
    net_revenue_minor: int = Field(description="bought minus taken back in this month")


class Cohort(BaseModel):
    cohort: str = Field(description="month of the first occasion", examples=["2026-03"])
    customers: int
    months: list[CohortMonth]


class CohortsOut(PastReport):
    """One row per month of a first occasion, one cell per month since; shares are of the cohort."""

    customers: int
    cohorts: list[Cohort]


class Within(BaseModel):
    """Bought again within ``days``; null while some of the cohort have not had so many."""

    days: int
    customers: int | None
    share: float | None


class RepurchaseCohort(BaseModel):
    cohort: str = Field(description="month of the first occasion", examples=["2026-03"])
    customers: int
    within: list[Within]


class WithinTotal(BaseModel):
    """Of the first-time buyers of all cohorts that are old enough; ``share`` is null while none is."""

    days: int
    first_time_buyers: int
    customers: int
    share: float | None


class RepurchaseOut(PastReport):
    """The share of first-time buyers who bought again, on another day, within so many days of their first."""

    within: list[WithinTotal]
    cohorts: list[RepurchaseCohort]


@router.get("/cohorts", scopes=["scores:read"])
def get_cohorts(session: Transaction, query: Annotated[CohortsIn, Query()]) -> CohortsOut:
    """Cohort retention: who of those who first bought in a month bought in the months after it, and what they brought."""
    return CohortsOut.model_validate(
        kept.answer(
            session,
            query.nightly("cohorts"),
            lambda: cohorts.retention(session, query.filter(), query.as_of, query.months),
        )
    )


@router.get("/repurchase-rate", scopes=["scores:read"])
def get_repurchase_rate(session: Transaction, query: Annotated[CohortsIn, Query()]) -> RepurchaseOut:
    """The share of first-time buyers who bought again within 30, 60, 90, 180 and 365 days."""
    return RepurchaseOut.model_validate(
        kept.answer(
            session,
            query.nightly("repurchase-rate"),
            lambda: cohorts.repurchase(session, query.filter(), query.as_of, query.months),
        )
    )
