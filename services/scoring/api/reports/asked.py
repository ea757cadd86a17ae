"""What a report is asked for: by the same filter everywhere, with an as-of date or a period where it has one."""

from datetime import UTC, date, datetime, timedelta
from typing import Annotated, Literal
from uuid import UUID
from zoneinfo import ZoneInfo

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, StringConstraints
from pydantic_core import PydanticCustomError

from services.scoring.domain.reports.filters import Filter
from services.scoring.rules.codes import Stage, Trend
from shared.errors import Fault, Invalid
from shared.http.fields import Moment

Word = Annotated[str, StringConstraints(min_length=1, max_length=200)]
Country = Annotated[str, StringConstraints(pattern=r"^[A-Z]{2}$")]
Month = Annotated[str, StringConstraints(pattern=r"^[0-9]{4}-(0[1-9]|1[0-2])$")]
Band = Annotated[int, Field(ge=1, le=5)]
_MOST = 50


def _countable(moment: datetime) -> datetime:
    if not datetime(1970, 1, 1, tzinfo=UTC) <= moment < datetime(2200, 1, 1, tzinfo=UTC):
        raise PydanticCustomError("date_out_of_range", "Input should lie between 1970 and 2200")
    return moment


def _day(day: date) -> date:
    _countable(datetime(day.year, day.month, day.day, tzinfo=UTC))
    return day


AsOf = Annotated[Moment, AfterValidator(_countable)]
Day = Annotated[date, AfterValidator(_day)]


class FilterIn(BaseModel):
    """Into whom the report is drilled: repeat a parameter for OR, different ones hold together."""

    model_config = ConfigDict(extra="ignore")

    tier: list[Word] = Field(default=[], max_length=_MOST)
    segment: list[Word] = Field(default=[], max_length=_MOST)
    value_class: list[Word] = Field(default=[], max_length=_MOST)
    stage: list[Stage] = Field(default=[], max_length=_MOST)
    churn_band: list[Literal["low", "medium", "high"]] = Field(default=[], max_length=_MOST)
    trend: list[Trend] = Field(default=[], max_length=_MOST)
    country: list[Country] = Field(default=[], max_length=_MOST)
    region: list[Word] = Field(default=[], max_length=_MOST)
    acquisition_channel: list[Word] = Field(default=[], max_length=_MOST)
    tag: list[Word] = Field(default=[], max_length=_MOST)
    r: list[Band] = Field(default=[], max_length=_MOST, description="recency band")
    fm: list[Band] = Field(default=[], max_length=_MOST, description="mean of frequency and monetary band")
    cohort: list[Month] = Field(
        default=[], max_length=_MOST, description="month of the first purchase that counts"
    )

    def filter(self) -> Filter:
        return {name: getattr(self, name) for name in FilterIn.model_fields if getattr(self, name)}

    def nightly(self, report: str) -> str | None:
        """Under which key the answer is kept (domain/reports/kept.py), if nothing out of the ordinary is asked for."""
        by = getattr(self, "by", [])
        return (
            None
            if self.model_fields_set - {"by"}
            else ":".join([report, *([by] if isinstance(by, str) else by)])
        )


class PastIn(FilterIn):
    as_of: AsOf | None = Field(
        default=None, description="only facts before it; without: the pinned as_of of the calibration, or now"
    )


class Report(BaseModel):
    """``as_of`` and the calibration that the figures come from; null before the first one."""

    as_of: datetime | None
    calibration_id: UUID | None
    basis: Literal["population", "fixed"] | None
    currency: str | None


class PastReport(BaseModel):
    """Computed from the facts before ``as_of``; months and days are those of ``time_zone``."""

    as_of: datetime
    currency: str | None
    time_zone: str


Names = dict[str, str]


def midnight(day: date, zone: str) -> datetime:
    """When the day begins in the company's time zone."""
    return datetime(day.year, day.month, day.day, tzinfo=ZoneInfo(zone))


def period(since: date | None, until: date | None, now: datetime, zone: str) -> tuple[datetime, datetime]:
    """``[since, until)`` as moments; without ``until`` it ends now, without ``since`` it begins 30 days before that.
    Raises Invalid where it does not begin before it ends."""
    end = now if until is None else midnight(until, zone)
    begin = end - timedelta(days=30) if since is None else midnight(since, zone)
    if begin >= end:
        fault = Fault("/query/from", "not_before_the_end", "a period begins before it ends")
        raise Invalid("empty_period", "the period does not begin before it ends", faults=[fault])
    return begin, end
