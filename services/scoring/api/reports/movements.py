"""Who moves: between tiers, up and down."""

from datetime import datetime
from typing import Annotated, Any, Literal
from uuid import UUID

from fastapi import Query
from pydantic import BaseModel, ConfigDict, Field

from services.scoring.api.reports.asked import Day, FilterIn, Names, period
from services.scoring.domain.facts import books
from services.scoring.domain.reports import migration, trends
from shared.http.dependencies import Now, Transaction
from shared.http.paging import Page, PageOf, page_of
from shared.http.routing import Router

router = Router(prefix="/v1/reports", tags=["reports"])


class MigrationIn(FilterIn):
    from_: Day | None = Field(default=None, alias="from", description="30 days before the end unless said")
    until: Day | None = Field(default=None, description="now unless said")


class MigrationCell(BaseModel):
    tier: str
    customers: int
    share: float


class MigrationRow(BaseModel):
    """Where those are at the end who were in ``tier`` at the beginning; null: had none yet."""

    tier: str | None
    names: Names
    customers: int
    cells: list[MigrationCell]


class TierMigrationOut(BaseModel):
    """Tiers as each day began in the company's time zone, by when a change took effect; customers without a tier at the
    end are not counted."""

    model_config = ConfigDict(populate_by_name=True)

    from_: datetime = Field(alias="from")
    until: datetime
    time_zone: str
    customers: int
    raised: int
    lowered: int
    rows: list[MigrationRow]


class TrendsIn(FilterIn):
    direction: Literal["rising", "declining"] = "rising"


class MovingOut(BaseModel):
    """A customer's spend in the last window of the trend against the one before; ``deviation`` in standard deviations of
    its noise."""

    customer_id: UUID
    trend: str
    recent_minor: int
    before_minor: int
    change_minor: int
    deviation: float


@router.get("/tier-migration", scopes=["scores:read"])
def get_tier_migration(
    session: Transaction, now: Now, query: Annotated[MigrationIn, Query()]
) -> TierMigrationOut:
    """How many customers were in which tier at one date and in which at another."""
    since, until = period(query.from_, query.until, now, books(session).time_zone)
    return TierMigrationOut.model_validate(migration.tier_migration(session, query.filter(), since, until))


@router.get("/trends", scopes=["scores:read"], response_model=PageOf[MovingOut])
def list_trends(session: Transaction, page: Page, query: Annotated[TrendsIn, Query()]) -> dict[str, Any]:
    """Customers whose spend rises, or declines, beyond what chance explains; the largest change first."""
    key = page.after(("size", "customer_id"))
    rows = trends.moving(
        session, query.filter(), query.direction, None if key is None else (key[0], key[1]), page.limit + 1
    )
    return page_of(MovingOut, rows, page, key=lambda row: (row.size, row.customer_id))
