"""/surveys"""

from collections.abc import Mapping
from datetime import datetime
from typing import Annotated, Any, Literal
from uuid import UUID

from fastapi import Response
from pydantic import BaseModel, ConfigDict, Field, StringConstraints
from sqlalchemy import Row

from services.feedback.domain import surveys
from shared.http.dependencies import Now, Transaction
from shared.http.idempotency import Once
from shared.http.paging import Page, PageOf, page_of
from shared.http.routing import Router
from shared.http.versions import IfMatch, check_version, etag

router = Router(prefix="/v1/surveys", tags=["surveys"])

Name = Annotated[str, StringConstraints(min_length=1, max_length=200, strip_whitespace=True)]
Question = Annotated[str, StringConstraints(min_length=1, max_length=300, strip_whitespace=True)]


class Titles(BaseModel):
    """What is asked, by language; where one is missing the page asks the usual question in that language."""

    model_config = ConfigDict(extra="forbid")

    zh: Question | None = None
    en: Question | None = None


class SurveyIn(BaseModel):
    """A name is enough: an NPS survey, after a purchase, every customer at most once in 90 days, active."""

    model_config = ConfigDict(
        extra="forbid",
        json_schema_extra={
            "examples": [{"name": "After a purchase", "titles": {"zh": "您会把我们推荐给朋友吗？"}}]
        },
    )

    name: Name
    measure: Literal["nps"] = "nps"
    trigger: Literal["purchase"] = "purchase"
    titles: Titles = Titles()
    throttle_days: int = Field(
        strict=True, default=90, ge=0, le=3_650, description="a customer is asked at most once in these days"
    )
    delay_minutes: int = Field(
        strict=True, default=0, ge=0, le=129_600, description="from the purchase's recording to the question"
    )
    answer_days: int = Field(strict=True, default=30, ge=1, le=365, description="how long the link is open")
    state: Literal["active", "paused"] = "active"


def _no_default(schema: dict[str, Any]) -> None:
    """A field that is left out of a change stays as it is, whatever a new survey would begin with."""
    schema.pop("default", None)


class SurveyChange(BaseModel):
    """What is to change; a field that is left out stays."""

    model_config = ConfigDict(extra="forbid", json_schema_extra={"examples": [{"state": "paused"}]})

    name: Name = Field(default="", json_schema_extra=_no_default)
    titles: Titles = Field(default=Titles(), json_schema_extra=_no_default)
    throttle_days: int = Field(strict=True, default=90, ge=0, le=3_650, json_schema_extra=_no_default)
    delay_minutes: int = Field(strict=True, default=0, ge=0, le=129_600, json_schema_extra=_no_default)
    answer_days: int = Field(strict=True, default=30, ge=1, le=365, json_schema_extra=_no_default)
    state: Literal["active", "paused"] = Field(default="active", json_schema_extra=_no_default)


class SurveyOut(BaseModel):
    id: UUID
    name: str
    measure: str
    trigger: str
    titles: Mapping[str, str]
    throttle_days: int
    delay_minutes: int
    answer_days: int
    state: str
    version: int
    created_at: datetime
    updated_at: datetime


class ResultsOut(BaseModel):
    """``nps`` = 100 × (promoters − detractors) / answers; ``interval_95`` the adjusted Wald interval (Rocks 2016);
    ``response_rate`` = answers / invitations. Null where there is nothing to divide by."""

    survey_id: UUID
    measure: str
    nps: float | None
    answers: int
    promoters: int
    passives: int
    detractors: int
    interval_95: Annotated[list[float], Field(min_length=2, max_length=2)] | None
    invitations: int
    response_rate: float | None


@router.post("", status_code=201, scopes=["surveys:write"], response_model=SurveyOut)
def create_survey(body: SurveyIn, session: Transaction, now: Now, once: Once, response: Response) -> Any:
    """Start a survey."""
    values = body.model_dump(exclude={"measure", "titles"}) | {
        "titles": body.titles.model_dump(exclude_none=True)
    }
    return once(SurveyOut, lambda: _shown(response, surveys.create(session, values, now)))


@router.get("", scopes=["surveys:read"], response_model=PageOf[SurveyOut])
def list_surveys(session: Transaction, page: Page) -> Any:
    """The surveys, newest first."""
    rows = surveys.listed(session, page.after(("created_at", "id")), page.limit + 1)
    return page_of(SurveyOut, map(_survey, rows), page, key=lambda survey: (survey.created_at, survey.id))


@router.get("/{survey_id}", scopes=["surveys:read"], response_model=SurveyOut)
def get_survey(survey_id: UUID, session: Transaction, response: Response) -> Any:
    """One survey."""
    return _shown(response, surveys.find(session, survey_id))


@router.patch("/{survey_id}", scopes=["surveys:write"], response_model=SurveyOut)
def change_survey(
    survey_id: UUID,
    body: SurveyChange,
    session: Transaction,
    now: Now,
    response: Response,
    if_match: IfMatch = None,
) -> Any:
    """Change a survey. Invitations that are out stay as they are."""
    current = surveys.find(session, survey_id, lock=True)
    check_version(if_match, current.version)
    changes = body.model_dump(exclude_unset=True)
    if "titles" in changes:
        changes["titles"] = body.titles.model_dump(exclude_none=True)
    return _shown(response, surveys.edit(session, current, changes, now))


@router.get("/{survey_id}/results", scopes=["surveys:read"], response_model=ResultsOut)
def get_survey_results(survey_id: UUID, session: Transaction) -> Any:
    """The score with its interval, and how many answered."""
    survey = surveys.find(session, survey_id)
    outcome = surveys.outcome(session, survey_id)
    results = outcome.results
    return ResultsOut(
        survey_id=survey_id,
        measure=survey.measure,
        nps=results.nps,
        answers=results.answers,
        promoters=results.promoters,
        passives=results.passives,
        detractors=results.detractors,
        interval_95=None if results.interval_95 is None else list(results.interval_95),
        invitations=outcome.invitations,
        response_rate=outcome.response_rate,
    )


def _survey(row: Row[Any]) -> SurveyOut:
    return SurveyOut(id=row.survey_id, **row._mapping)


def _shown(response: Response, row: Row[Any]) -> SurveyOut:
    response.headers["ETag"] = etag(row.version)
    return _survey(row)
