"""/acquisition-costs and /reports/acquisition: what channels cost, and what the customers are worth whom they brought."""

from datetime import date, datetime
from typing import Annotated, Any, Literal

from fastapi import Path, Query, Response
from pydantic import BaseModel, ConfigDict, Field

from services.scoring.domain import acquisitions
from shared.errors import Fault, Invalid
from shared.http.dependencies import Now, Transaction
from shared.http.fields import Whole
from shared.http.paging import Page, PageOf, page_of
from shared.http.routing import Router
from shared.http.versions import IfMatch, check_version, etag

router = Router(prefix="/v1", tags=["acquisition"])

LONGEST_PERIOD = 120
_MONTH = r"^(19|20)[0-9]{2}-(0[1-9]|1[0-2])$"
Channel = Annotated[
    str, Path(min_length=1, max_length=100, pattern=r"^[^\x00-\x1f\x7f/]+$", examples=["web"])
]
Month = Annotated[str, Path(pattern=_MONTH, examples=["2026-03"])]


class CostIn(BaseModel):
    """What a channel cost in a month, in the accounting currency."""

    model_config = ConfigDict(extra="forbid")

    amount_minor: Whole = Field(ge=0, le=10**15, examples=[1_500_000])
    currency: str = Field(pattern=r"^[A-Z]{3}$", examples=["CNY"])
    note: str | None = Field(default=None, max_length=500, examples=["search ads, invoice of April"])


class CostOut(CostIn):
    channel: str
    month: date = Field(description="its first day")
    version: int
    updated_at: datetime


class AcquiredOut(BaseModel):
    """Customers acquired by one channel (null: by all) in one month (null: in the whole period). Amounts in minor units of the
    accounting currency; those that end in ``_each`` are per customer acquired, buyers or not."""

    channel: str | None = Field(description="`unknown` where profile knows none")
    month: date | None = Field(description="its first day")
    customers: int
    buyers: int
    days_to_first_purchase: float | None = Field(description="the buyers' median")
    net_revenue_minor: int = Field(description="so far")
    first_year_minor: int = Field(description="net revenue of everyone's first 365 days, so far")
    first_year_complete: bool = Field(description="all of them were acquired at least 365 days ago")
    first_year_minor_each: int | None
    predicted_clv_minor_each: int | None = Field(description="to come within the models' horizon")
    clv_minor_each: int | None = Field(description="net revenue so far and what is predicted")
    cost_minor: int | None = Field(description="null where none was entered")
    cost_minor_each: int | None
    payback_years: float | None = Field(description="cost / first-year value")
    paid_back_in: date | None = Field(
        description="the month by whose end their net revenue had reached the cost"
    )
    clv_to_cost: float | None


class AcquisitionReportOut(BaseModel):
    """``rows``: all channels together first, then each, by month where that was asked."""

    model_config = ConfigDict(populate_by_name=True)

    from_: date = Field(alias="from")
    to: date = Field(description="the first month that is not in it")
    currency: str | None
    predicted_as_of: datetime | None = Field(description="of the calibration whose models predict")
    rows: list[AcquiredOut]


@router.put(
    "/acquisition-costs/{channel}/{month}",
    scopes=["costs:write"],
    response_model=CostOut,
    responses={201: {"model": CostOut, "description": "The cost was entered"}},
)
def put_acquisition_cost(
    channel: Channel,
    month: Month,
    body: CostIn,
    session: Transaction,
    now: Now,
    response: Response,
    if_match: IfMatch = None,
) -> Any:
    """Enter what a channel cost in a month, or correct it.

    A new one needs no If-Match, a correction does. 422 `another_currency` for any but the accounting one; 409
    `accounting_currency_unknown` before the first purchase.
    """
    row, made = acquisitions.enter_cost(
        session,
        channel,
        _first_day(month),
        **body.model_dump(),
        now=now,
        before_change=lambda version: check_version(if_match, version),
    )
    response.status_code = 201 if made else 200
    response.headers["ETag"] = etag(row.version)
    return row._mapping


@router.get(
    "/acquisition-costs/{channel}/{month}", scopes=["costs:read"], response_model=CostOut, reach="anyone"
)
def get_acquisition_cost(channel: Channel, month: Month, session: Transaction, response: Response) -> Any:
    """What a channel cost in a month."""
    row = acquisitions.get_cost(session, channel, _first_day(month))
    response.headers["ETag"] = etag(row.version)
    return row._mapping


@router.delete("/acquisition-costs/{channel}/{month}", scopes=["costs:write"], status_code=204)
def delete_acquisition_cost(channel: Channel, month: Month, session: Transaction) -> None:
    """Take back what a channel was said to have cost in a month."""
    acquisitions.delete_cost(session, channel, _first_day(month))


@router.get("/acquisition-costs", scopes=["costs:read"], response_model=PageOf[CostOut], reach="anyone")
def list_acquisition_costs(
    session: Transaction,
    page: Page,
    channel: Annotated[list[str] | None, Query(max_length=100, description="repeat for several")] = None,
    month_gte: Annotated[str | None, Query(pattern=_MONTH, examples=["2026-01"])] = None,
    month_lt: Annotated[str | None, Query(pattern=_MONTH, examples=["2026-07"])] = None,
) -> dict[str, Any]:
    """What channels cost, the latest month first."""
    rows = acquisitions.costs(
        session,
        channel,
        None if month_gte is None else _first_day(month_gte),
        None if month_lt is None else _first_day(month_lt),
        page.after(("-month", "-channel")),
        page.limit + 1,
    )
    return page_of(CostOut, rows, page, key=lambda row: (row.month, row.channel))


@router.get("/reports/acquisition", scopes=["scores:read"])
def get_acquisition_report(
    session: Transaction,
    now: Now,
    from_: Annotated[
        str | None,
        Query(alias="from", pattern=_MONTH, examples=["2026-01"], description="12 months before `to`"),
    ] = None,
    to: Annotated[
        str | None,
        Query(
            pattern=_MONTH, examples=["2026-07"], description="the first month not in it; default: the next"
        ),
    ] = None,
    by: Annotated[Literal["channel", "month"], Query(description="month: each channel by month, too")] = (
        "channel"
    ),
) -> AcquisitionReportOut:
    """Customers by the channel that brought them: first-year value, CLV, cost and payback.

    The months are those in which they were acquired: registered, or with their first purchase where that was before.
    422 `wrong_period` where `from` is not before `to` or more than ten years.
    """
    until = _first_day(to) if to else _months_on(now.date(), 1)
    since = _first_day(from_) if from_ else _months_on(until, -12)
    months = 12 * (until.year - since.year) + until.month - since.month
    if not 0 < months <= LONGEST_PERIOD:
        fault = Fault("/from", "wrong_period", "from lies before to, at most ten years")
        raise Invalid("wrong_period", fault.message, faults=[fault])
    return AcquisitionReportOut.model_validate(
        acquisitions.report(session, since, until, by_month=by == "month")
    )


def _first_day(month: str) -> date:
    return date.fromisoformat(f"{month}-01")


def _months_on(day: date, months: int) -> date:
    """The first day of the month that many months on."""
    count = 12 * day.year + day.month - 1 + months
    return date(count // 12, count % 12 + 1, 1)
