"""/calibrations and the policy they follow."""

from datetime import UTC, datetime, timedelta
from typing import Any, Literal
from uuid import UUID

from fastapi import Response
from pydantic import BaseModel, ConfigDict, Field

from services.scoring.domain import calibrations, tiers
from shared import jobs
from shared.errors import Conflict
from shared.http.dependencies import Caller_, Now, Transaction
from shared.http.fields import Moment
from shared.http.idempotency import Once
from shared.http.paging import Page, PageOf, page_of
from shared.http.routing import Router
from shared.http.versions import etag

router = Router(prefix="/v1", tags=["calibrations"])
EARLIEST = datetime(1970, 1, 1, tzinfo=UTC)


class CalibrationIn(BaseModel):
    """``as_of`` given: facts before it are counted, and it stays pinned – the nightly calibration keeps it – until a
    calibration without one. Without: as of now."""

    model_config = ConfigDict(
        extra="forbid", json_schema_extra={"examples": [{"as_of": "2011-12-10T00:00:00Z"}]}
    )

    as_of: Moment | None = None


class CalibrationStarted(BaseModel):
    """The job that calibrates; its id is the calibration's."""

    id: UUID
    kind: Literal["calibration"] = "calibration"
    state: Literal["queued"] = "queued"
    as_of: datetime | None


class CalibrationSummary(BaseModel):
    """A calibration: counting, current, past or superseded (by a later one that was faster)."""

    id: UUID
    as_of: datetime
    pinned: bool
    state: str
    initial: bool
    counted: int
    policy_version: int
    created_at: datetime
    effective_at: datetime | None


class ModelOut(BaseModel):
    """What a calibration learnt of everybody. Kinds: ``purchases`` (BG/NBD: r, alpha in weeks, a, b), ``churn`` (whether its
    P(alive) may be read as churn), ``spend`` (Gamma-Gamma: p, q, gamma in whole units), ``rhythm`` (the usual gap in days)."""

    kind: str
    reasons: list[str] = Field(description="against using it; none: it is used")
    parameters: dict[str, Any]
    quality: dict[str, Any] = Field(description="how well it foretold the days that were held out")
    created_at: datetime


class ModelsOut(BaseModel):
    """The models of a calibration."""

    items: list[ModelOut]


class PolicyOut(BaseModel):
    """How customers are valued, as data: weights, bands, segments, tiers, value classes, grace."""

    version: int
    created_at: datetime
    content: dict[str, Any] = Field(
        description="weights add up to 100; levels rise; see the service's README"
    )


@router.post("/calibrations", scopes=["calibrations:write"], status_code=202)
def start_calibration(
    body: CalibrationIn, response: Response, session: Transaction, now: Now, caller: Caller_, once: Once
) -> CalibrationStarted:
    """Count everybody as of a moment and draw the boundaries of bands and tiers anew.

    A job: the service answers from the last calibration meanwhile. 409 `as_of_too_late` for a moment more than a year
    ahead, `as_of_too_early` for one before 1970.
    """
    if body.as_of is not None and body.as_of > now + timedelta(days=366):
        raise Conflict("as_of_too_late", "as_of lies at most a year ahead of the database's clock")
    if body.as_of is not None and body.as_of < EARLIEST:
        raise Conflict("as_of_too_early", "as_of lies after 1970")

    def start() -> CalibrationStarted:
        as_of = None if body.as_of is None else body.as_of.isoformat()
        job_id = jobs.create(session, "calibration", {"as_of": as_of}, created_by=caller.name)
        response.headers["Location"] = f"/scoring/v1/jobs/{job_id}"
        return CalibrationStarted(id=job_id, as_of=body.as_of)

    return once(CalibrationStarted, start)


@router.get("/calibrations", scopes=["scores:read"], response_model=PageOf[CalibrationSummary])
def list_calibrations(session: Transaction, page: Page) -> dict[str, Any]:
    """Calibrations, the latest first."""
    key = page.after(("-id",))
    rows = calibrations.latest(session, None if key is None else key[0], page.limit + 1)
    return page_of(CalibrationSummary, rows, page, key=lambda row: (row.id,))


@router.get("/calibrations/{calibration_id}/models", scopes=["scores:read"])
def list_models(calibration_id: UUID, session: Transaction) -> ModelsOut:
    """What a calibration learnt: its models, the reasons against them, their holdout errors.

    404 `calibration_not_found`.
    """
    rows = calibrations.models(session, calibration_id)
    return ModelsOut(items=[ModelOut.model_validate(row._mapping) for row in rows])


@router.get("/policy", scopes=["scores:read"])
def get_policy(response: Response, session: Transaction) -> PolicyOut:
    """The policy that the next calibration follows."""
    row = tiers.latest_policy(session)
    response.headers["ETag"] = etag(row.version)
    return PolicyOut.model_validate(row._mapping)
