"""What customers are worth together."""

from typing import Annotated

from fastapi import Query
from pydantic import BaseModel, Field

from services.scoring.api.reports.asked import FilterIn, PastIn, PastReport, Report
from services.scoring.domain.reports import kept, value
from shared.http.dependencies import Transaction
from shared.http.routing import Router

router = Router(prefix="/v1/reports", tags=["reports"])


class Decile(BaseModel):
    """A tenth of the customers with a prediction, ``decile`` 10 the most valuable."""

    decile: int
    customers: int
    low_minor: int
    high_minor: int
    sum_minor: int


class ClvDistributionOut(Report):
    """Deciles of the value expected within the horizon, and of that and the net revenue so far together. ``reasons`` say
    why some have no prediction."""

    horizon_days: int | None
    customers: int = Field(description="with a prediction")
    without_prediction: int = Field(description="bought and have none")
    reasons: list[str]
    predicted_deciles: list[Decile]
    total_deciles: list[Decile]


class Top(BaseModel):
    """The best ``percent`` per cent of the customers, rounded up."""

    percent: int
    customers: int
    net_revenue_minor: int
    share: float


class ParetoOut(PastReport):
    """Of the customers with a net revenue above zero."""

    customers: int
    net_revenue_minor: int
    gini: float | None = Field(description="0: all bring the same, near 1: one brings everything")
    top: list[Top]


@router.get("/clv-distribution", scopes=["scores:read"])
def get_clv_distribution(session: Transaction, query: Annotated[FilterIn, Query()]) -> ClvDistributionOut:
    """Deciles of predicted and of total customer lifetime value."""
    return ClvDistributionOut.model_validate(
        kept.answer(
            session,
            query.nightly("clv-distribution"),
            lambda: value.clv_distribution(session, query.filter()),
        )
    )


@router.get("/pareto", scopes=["scores:read"])
def get_pareto(session: Transaction, query: Annotated[PastIn, Query()]) -> ParetoOut:
    """The share of the net revenue that the best 1, 5, 10, 20 and 50 % of the customers bring."""
    return ParetoOut.model_validate(
        kept.answer(
            session, query.nightly("pareto"), lambda: value.pareto(session, query.filter(), query.as_of)
        )
    )
