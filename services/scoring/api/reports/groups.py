"""What groups of customers buy."""

from typing import Annotated, Literal

from fastapi import Query
from pydantic import BaseModel, Field, field_validator

from services.scoring.api.reports.asked import FilterIn, Names, PastIn, PastReport
from services.scoring.domain.reports import first_purchases, groups, kept
from shared.http.dependencies import Transaction
from shared.http.routing import Router

router = Router(prefix="/v1/reports", tags=["reports"])

Group = Literal[
    "tier", "segment", "value_class", "stage", "kind", "country", "region", "acquisition_channel", "tag"
]


class DevelopmentIn(PastIn):
    by: list[Group | Literal["category"]] = Field(
        default=["category"], min_length=1, max_length=2, description="one group, or two that are crossed"
    )
    months: int = Field(default=groups.MONTHS, ge=1, le=24)

    @field_validator("by")
    @classmethod
    def _two_things(cls, by: list[str]) -> list[str]:
        if len(set(by)) < len(by):
            raise ValueError("a group is not crossed with itself")
        return by


class Member(BaseModel):
    """One value of one group; null: none is known."""

    name: str
    value: str | None
    names: Names


class MonthOut(BaseModel):
    month: str = Field(examples=["2026-03"])
    net_revenue_minor: int
    purchases: int
    customers: int
    growth: float | None = Field(
        description="of net revenue against the month before; null where that had none"
    )


class RowOut(BaseModel):
    group: list[Member]
    net_revenue_minor: int
    months: list[MonthOut]


class DevelopmentOut(PastReport):
    """The groups with the highest net revenue (at most 200), by month. A category is the first step of the product's path;
    by category, lines of purchases that were called off do not count. Customers are grouped as they are now."""

    by: list[str]
    groups: int = Field(description="how many there are")
    rows: list[RowOut]


class WhiteSpaceIn(PastIn):
    by: Group = "segment"
    days: int = Field(
        default=groups.DAYS, ge=1, le=1_825, description="what was bought in so many days before as_of"
    )


class Gap(BaseModel):
    """Of the ``customers`` of the group who bought anything, ``buyers`` bought in the category; ``missing_buyers`` more
    would have, had they bought as all others did."""

    group: Member
    category: str
    customers: int
    buyers: int
    share: float
    other_share: float
    z: float
    missing_buyers: int


class WhiteSpaceOut(PastReport):
    """Groups × categories in which clearly fewer buy than elsewhere, the most missing buyers first (at most 200)."""

    by: str
    days: int
    compared: int = Field(description="pairs of a group and a category with enough customers to be compared")
    items: list[Gap]


class FirstPurchases(BaseModel):
    """Days from when customers became known to their first purchase that counts, of those who bought since."""

    acquisition_channel: str | None
    customers: int
    bought: int
    bought_before: int = Field(description="before they became known")
    not_yet: int
    lower_quartile_days: float | None
    median_days: float | None
    upper_quartile_days: float | None


class FirstPurchasesOut(BaseModel):
    """Of all customers, and by acquisition channel, the largest first."""

    all: FirstPurchases
    channels: list[FirstPurchases]


@router.get("/development", scopes=["scores:read"])
def get_development(session: Transaction, query: Annotated[DevelopmentIn, Query()]) -> DevelopmentOut:
    """Net revenue, purchases, customers and growth by month, of customer groups, of categories, or of two crossed."""
    return DevelopmentOut.model_validate(
        kept.answer(
            session,
            query.nightly("development"),
            lambda: groups.development(session, query.filter(), query.by, query.as_of, query.months),
        )
    )


@router.get("/white-space", scopes=["scores:read"])
def get_white_space(session: Transaction, query: Annotated[WhiteSpaceIn, Query()]) -> WhiteSpaceOut:
    """Where a group of customers buys clearly less of a category than all others do."""
    return WhiteSpaceOut.model_validate(
        kept.answer(
            session,
            query.nightly("white-space"),
            lambda: groups.untouched(session, query.filter(), query.by, query.as_of, query.days),
        )
    )


@router.get("/first-purchases", scopes=["scores:read"])
def get_first_purchases(session: Transaction, query: Annotated[FilterIn, Query()]) -> FirstPurchasesOut:
    """Days from first contact to the first purchase: median and quartiles by acquisition channel."""
    return FirstPurchasesOut.model_validate(
        kept.answer(
            session,
            query.nightly("first-purchases"),
            lambda: first_purchases.first_purchases(session, query.filter()),
        )
    )
