"""/alerts and /watch: sudden changes, who is behind them, and what is watched."""

from datetime import date, datetime, timedelta
from typing import Annotated, Any, Literal
from uuid import UUID

from fastapi import Query, Response
from pydantic import BaseModel, ConfigDict, Field

from services.scoring.api.calibrations import EARLIEST
from services.scoring.domain import alerts
from shared import jobs
from shared.errors import Conflict
from shared.http.dependencies import Caller_, Now, Transaction
from shared.http.fields import Moment
from shared.http.idempotency import Once
from shared.http.paging import Page, PageOf, page_of
from shared.http.routing import Router
from shared.http.versions import IfMatch, check_version, etag

router = Router(prefix="/v1", tags=["alerts"])

AlertKind = Literal["company", "tier", "country", "channel", "product", "churn", "satisfaction"]


class WatchRunIn(BaseModel):
    """``as_of``: whole days before it are judged. Without: as of the calibration, where its as_of is pinned, else as of now."""

    model_config = ConfigDict(
        extra="forbid", json_schema_extra={"examples": [{"as_of": "2011-12-10T00:00:00Z"}]}
    )

    as_of: Moment | None = None


class WatchRunStarted(BaseModel):
    """The job that looks; its report says up to which day, over how many series, and how many alerts are new."""

    id: UUID
    kind: Literal["watch"] = "watch"
    state: Literal["queued"] = "queued"
    as_of: datetime | None


class WatchIn(BaseModel):
    """What is watched: kinds of series, and the weekdays on which the company is open. With these, a day without sales is an
    alert; without (null), a closed day."""

    model_config = ConfigDict(extra="forbid")

    kinds: list[AlertKind] = Field(max_length=20, examples=[["company", "country", "product"]])
    open_weekdays: list[Annotated[int, Field(ge=1, le=7, strict=True)]] | None = Field(
        default=None, min_length=1, max_length=7, description="1 = Monday", examples=[[1, 2, 3, 4, 5]]
    )


class WatchOut(WatchIn):
    judged_until: date | None = Field(description="the last day that a run judged")
    version: int


class AlertOut(BaseModel):
    """A sudden change of one series against its own usual variation; it stands for the whole event. ``observed`` and
    ``expected`` are sums over the open days ``since`` … ``day``."""

    id: UUID
    kind: AlertKind
    name: str = Field(
        description="of the series: a figure of the company, or the tier, country, channel, sku",
        examples=["net_revenue"],
    )
    direction: Literal["up", "down"]
    since: date
    day: date = Field(description="on which it was beyond chance")
    observed: float
    expected: float
    score: float = Field(description="by how many of its usual spreads it deviates")
    score_limit: float = Field(description="how many it takes for an alert")
    unit: Literal["count", "minor"] = Field(
        description="purchases, customers or pieces, or minor units of currency"
    )
    currency: str | None
    words: dict[Literal["en", "zh"], str]
    created_at: datetime


class BehindOut(BaseModel):
    """What a customer did differently on the days of the alert than on those of the eight weeks before, in the alert's
    unit, and as a share of what all customers did."""

    customer_id: UUID
    change: float
    share: float = Field(description="above 1 where others moved against it")


class AlertInFullOut(AlertOut):
    """With the fewest customers who explain 80 % of the change, at most ten; ``change`` and ``others_share`` are null until
    they were looked up."""

    change: float | None
    customers: list[BehindOut]
    others_share: float | None


@router.post("/watch/runs", scopes=["watch:write"], status_code=202)
def start_watch_run(
    body: WatchRunIn, response: Response, session: Transaction, now: Now, caller: Caller_, once: Once
) -> WatchRunStarted:
    """Look for sudden changes now; every night it happens by itself.

    A job. Alerts that were told stay as they are. 409 `as_of_too_late` for a moment more than a year ahead,
    `as_of_too_early` for one before 1970.
    """
    if body.as_of is not None and body.as_of > now + timedelta(days=366):
        raise Conflict("as_of_too_late", "as_of lies at most a year ahead of the database's clock")
    if body.as_of is not None and body.as_of < EARLIEST:
        raise Conflict("as_of_too_early", "as_of lies after 1970")

    def start() -> WatchRunStarted:
        as_of = None if body.as_of is None else body.as_of.isoformat()
        job_id = jobs.create(session, "watch", {"as_of": as_of}, created_by=caller.name)
        response.headers["Location"] = f"/scoring/v1/jobs/{job_id}"
        return WatchRunStarted(id=job_id, as_of=body.as_of)

    return once(WatchRunStarted, start)


@router.get("/watch", scopes=["scores:read"], reach="anyone")
def get_watch(session: Transaction, response: Response) -> WatchOut:
    """What is watched."""
    row = alerts.watching(session)
    response.headers["ETag"] = etag(row.version)
    return WatchOut.model_validate(row._mapping)


@router.put("/watch", scopes=["watch:write"])
def put_watch(body: WatchIn, session: Transaction, response: Response, if_match: IfMatch = None) -> WatchOut:
    """Say what is watched from the next run on. Needs If-Match."""
    check_version(if_match, alerts.watching(session, lock=True).version)
    row = alerts.watch_over(session, body.kinds, body.open_weekdays)
    response.headers["ETag"] = etag(row.version)
    return WatchOut.model_validate(row._mapping)


@router.get("/alerts", scopes=["scores:read"], response_model=PageOf[AlertOut])
def list_alerts(
    session: Transaction,
    page: Page,
    kind: Annotated[list[AlertKind] | None, Query(description="repeat for several")] = None,
    day_gte: Annotated[date | None, Query(description="of this day or a later one")] = None,
    day_lt: Annotated[date | None, Query(description="of a day before this one")] = None,
) -> dict[str, Any]:
    """Sudden changes, the latest first."""
    rows = alerts.page(session, kind, day_gte, day_lt, page.after(("-day", "-id")), page.limit + 1)
    return page_of(AlertOut, rows, page, key=lambda row: (row["day"], row["id"]))


@router.get("/alerts/{alert_id}", scopes=["scores:read"])
def get_alert(alert_id: UUID, session: Transaction) -> AlertInFullOut:
    """A sudden change, and the customers behind it."""
    return AlertInFullOut.model_validate(alerts.one(session, alert_id))
