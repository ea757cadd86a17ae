"""/customers/{customer_id}/explanation: why a customer's score, tier and stage are what they are."""

from datetime import date, datetime
from typing import Annotated, Literal
from uuid import UUID

from fastapi import Query
from pydantic import BaseModel, Field

from services.scoring.api.scores import ManualTierOut
from services.scoring.domain import explanations
from shared.errors import Conflict
from shared.http.dependencies import Now, Transaction
from shared.http.fields import Moment
from shared.http.routing import Router

router = Router(prefix="/v1/customers/{customer_id}/explanation", tags=["scores"])

Basis = Literal["population", "fixed"]


class Words(BaseModel):
    """The same in plain sentences."""

    en: list[str]
    zh: list[str]


class InputExplained(BaseModel):
    """A measure, its value, and the points that it adds: 100 × weight × the share of counted customers strictly worse."""

    measure: Literal["recency", "frequency", "monetary"]
    value: int = Field(description="days, purchases, or minor units")
    weight: float
    share: float | None
    points: float | None


class ScoreExplained(BaseModel):
    """The value score and what it is made of."""

    value: float | None
    value_class: str = Field(alias="class")
    basis: Basis
    inputs: list[InputExplained]


class SegmentExplained(BaseModel):
    """The bands, and the mean of the latter two that names the segment together with the first."""

    code: str
    r: int
    f: int
    m: int
    fm: int


class TierRule(BaseModel):
    """What a tier asks for, ``by`` the policy: that share of the counted customers scores strictly lower, or a value score – in
    a small base (``basis`` fixed) a net revenue instead of both –, or so much within a qualifying ``period`` (of ``days``)."""

    by: Literal["score_percentile", "score_threshold", "period"]
    basis: Basis
    percentile: int | None
    score: int | None
    net_revenue_minor: int | None
    purchases: int | None
    period: str | None
    days: int | None


class NextTier(BaseModel):
    """What is missing to the next tier. Revenue and purchases: how much more of either alone would do; null where it alone
    could not."""

    code: str
    names: dict[str, str]
    rule: TierRule
    missing_points: float | None
    missing_minor: int | None
    missing_purchases: int | None


class TierExplained(BaseModel):
    """The tier that is held, the one deserved now, and what is missing to the next."""

    code: str
    since: datetime
    downgrade_due_at: datetime | None
    manual: ManualTierOut | None = Field(description="where the tier is held by hand")
    deserved: str | None
    rule: TierRule | None = Field(description="null for a tier that the policy does not know any more")
    next: NextTier | None = Field(description="null for the highest, and without a counted purchase")


class StageExplained(BaseModel):
    """The stage, and the days of silence after which (more than) it becomes another."""

    stage: str
    since: datetime | None
    changes_on: date | None
    occasions: int
    silence_days: int | None
    late_after_days: int | None
    dormant_after_days: int | None
    lost_after_days: int | None
    last_gaps_days: list[int] = Field(description="between the latest three occasions, the latest first")


class ExplanationOut(BaseModel):
    """Why a customer's score, segment, tier and stage are what they are; each null where there is none."""

    customer_id: UUID
    as_of: datetime | None
    currency: str | None
    policy_version: int | None
    score: ScoreExplained | None
    segment: SegmentExplained | None
    tier: TierExplained | None
    stage: StageExplained | None
    words: Words


class Placed(BaseModel):
    """A customer's facts before a moment, placed in the boundaries in force; null without a counted purchase."""

    recency_days: int | None
    frequency: int
    monetary_minor: int
    score: float | None
    r: int | None
    f: int | None
    m: int | None
    segment: str | None
    tier_deserved: str | None = Field(description="null also where tiers go by a qualifying period")
    points: dict[str, float] | None


class MeasureChange(BaseModel):
    """What a measure did to the score, in points."""

    measure: Literal["recency", "frequency", "monetary"]
    before: int | None
    after: int | None
    points: float


class TierMove(BaseModel):
    tier: str
    previous_tier: str | None
    effective_at: datetime
    reason: str


class StageMove(BaseModel):
    stage: str
    previous_stage: str | None
    effective_at: datetime
    reason: str


class ComparisonOut(BaseModel):
    """What changed a customer's score between two moments, by the boundaries in force now, the largest effect first; and the
    first hundred changes of tier and of stage in between."""

    customer_id: UUID
    since: datetime
    until: datetime
    policy_version: int | None
    before: Placed
    after: Placed
    changes: list[MeasureChange]
    tiers: list[TierMove]
    stages: list[StageMove]
    words: Words


@router.get("", scopes=["scores:read"], owner="customer_id")
def get_explanation(customer_id: UUID, session: Transaction) -> ExplanationOut:
    """Why this score, segment, tier and stage: the inputs, the rules, the distance to the next tier.

    In figures and in plain words, Chinese and English.
    """
    return ExplanationOut.model_validate(explanations.explain(session, customer_id))


@router.get("/changes", scopes=["scores:read"], owner="customer_id")
def get_explanation_of_changes(
    customer_id: UUID,
    session: Transaction,
    now: Now,
    since: Annotated[Moment, Query(description="from this moment")],
    until: Annotated[Moment | None, Query(description="to this moment; now, if it is left out")] = None,
) -> ComparisonOut:
    """What changed this score between two moments.

    409 `since_after_until` for moments in the wrong order.
    """
    end = until or now
    if since > end:
        raise Conflict("since_after_until", "since lies after until")
    return ComparisonOut.model_validate(explanations.compare(session, customer_id, since, end))
