"""/scores and /customers/{id}: what a customer is worth, and what that rests on."""

from datetime import date, datetime
from typing import Any, Literal
from uuid import UUID

from pydantic import BaseModel, ConfigDict, Field

from services.scoring.domain import sheets, tiers
from shared.http.dependencies import Transaction
from shared.http.paging import Page, PageOf, page_of
from shared.http.routing import Router

router = Router(prefix="/v1", tags=["scores"])


class WindowOut(BaseModel):
    """The last ``days`` before as_of: purchases that count, and what was bought minus what was taken back in them."""

    days: int
    purchase_count: int
    net_revenue_minor: int


class MetricsOut(BaseModel):
    """Exact figures over all history, in minor units of the accounting currency. A purchase counts if it is worth more
    than nothing net of what came back of it; net revenue is everything bought minus everything taken back."""

    first_purchase_at: datetime | None = Field(description="of the purchases that count")
    last_purchase_at: datetime | None = Field(description="of the purchases that count")
    purchase_count: int
    net_revenue_minor: int
    gross_revenue_minor: int
    returned_minor: int
    cancelled_minor: int
    average_order_value_minor: int | None = Field(
        description="of the purchases that count, net of their returns"
    )
    returns_rate: float | None = Field(description="returned / gross revenue")
    mean_gap_days: float | None = Field(description="between two purchases that count")
    occasions: int = Field(description="calendar days with a purchase that counts")
    windows: list[WindowOut] = Field(description="the last 30, 90 and 365 days before as_of")


class RfmOut(BaseModel):
    """Bands 1–5, 5 = best; null before the first calibration. Frequency and monetary are those of the policy's window. ``basis`` says whether they come from the company's own
    customers (population) or, where these are too few, from fixed thresholds."""

    recency_days: int = Field(description="whole days from the last counted purchase to as_of")
    frequency: int
    monetary_minor: int
    r: int | None
    f: int | None
    m: int | None
    segment: str | None
    basis: Literal["population", "fixed"] | None


class InputOut(BaseModel):
    """One part of the value score: 100 × weight × share is what it adds."""

    measure: str
    weight: float
    worse_count: int | None = Field(description="counted customers who are strictly worse")
    share: float | None = Field(description="the same as a share of all counted customers")


class ValueOut(BaseModel):
    """The value score (0–100) with its inputs. The class is internal; the tier is what the customer sees."""

    score: float | None
    value_class: str = Field(alias="class")
    inputs: list[InputOut]
    worse_count: int | None = Field(description="counted customers who score strictly lower")
    percentile: float | None


class LifecycleOut(BaseModel):
    """Where the customer stands: prospect, acquired, growing, mature, declining, dormant, lost, won_back. ``changes_on`` is the
    first day on which time alone changes the stage or the band of the churn risk."""

    stage: str
    since: datetime | None = Field(description="null for one who never bought")
    changes_on: date | None


class LifetimeValueOut(BaseModel):
    """Historic value (net revenue so far) and what is expected within the horizon: purchases (BG/NBD) × spend (Gamma-Gamma),
    discounted, each with an interval. Null is what no model says; ``reasons`` name why."""

    as_of: datetime
    horizon_days: int
    historic_minor: int
    predicted_minor: int | None
    total_minor: int | None
    low_minor: int | None
    high_minor: int | None
    purchases: float | None = Field(description="occasions expected within the horizon")
    purchases_low: float | None
    purchases_high: float | None
    spend_minor: int | None = Field(description="expected on an occasion")
    confidence: float | None = Field(description="0–1: what the model achieved in its holdout × own history")
    reasons: list[str]


class ChurnOut(BaseModel):
    """The risk that the customer does not come back. ``probability`` is 1 − P(alive), null where no model may say it: the band
    then comes from the silence in usual gaps alone, and ``reasons`` name why."""

    as_of: datetime
    band: Literal["low", "medium", "high"]
    probability: float | None
    silence_days: int = Field(description="whole days since the last occasion")
    usual_gap_days: float = Field(description="the customer's own, or partly lent by everybody's")
    gap_spread_days: float
    silence_ratio: float
    confidence: float | None
    reasons: list[str]


class NextPurchaseOut(BaseModel):
    """When the next purchase would be usual: one usual gap after the last, give or take its spread."""

    model_config = ConfigDict(populate_by_name=True)

    expected_on: date
    from_: date | None = Field(alias="from")
    until: date | None
    overdue: bool = Field(description="until has passed")


class TrendOut(BaseModel):
    """The spend of the last ``days`` against that of those before: rising or declining where chance alone would rarely do it
    (``deviation`` in standard deviations of the noise)."""

    direction: Literal["rising", "steady", "declining"]
    deviation: float
    days: int
    recent_minor: int
    before_minor: int


class ClusterWords(BaseModel):
    """What the customers of a cluster are known for."""

    zh: str
    en: str


class ClusterOfCustomerOut(BaseModel):
    """The group of customers who buy alike that this one was in as of ``as_of``, by the clustering in force; null with
    ``reasons`` where no groups could be found."""

    label: int | None = Field(description="stays the same from run to run")
    words: ClusterWords | None
    as_of: datetime
    reasons: list[str]


class SpendForecastOut(BaseModel):
    """Net spend expected in the ``days`` from ``as_of`` on. ``method`` is the regression, or the best naive forecast where the
    regression did not beat every one of them on the 90 days before; null with ``reasons`` where there is too little to learn
    from."""

    as_of: datetime
    days: int
    spend_minor: int | None
    method: Literal["regression", "last_90_days", "mean_rate", "population_mean"] | None
    baseline_minor: int | None = Field(description="what the best naive forecast says of this customer")
    baseline: Literal["last_90_days", "mean_rate", "population_mean"] | None
    reasons: list[str]


class ManualTierOut(BaseModel):
    """A tier that is held by hand, ``until`` then or until it is released."""

    reason: str
    until: datetime | None
    by: str


class TierOut(BaseModel):
    """``downgrade_due_at``: the first calibration as of then or later lowers the tier, unless it is deserved again. ``manual``
    is null where the policy gave the tier."""

    code: str
    since: datetime
    policy_version: int
    downgrade_due_at: datetime | None
    qualifying: int | None = Field(
        description="what counts towards the thresholds of a qualifying period: minor units, purchases or occasions"
    )
    manual: ManualTierOut | None


class SatisfactionOut(BaseModel):
    """What the customer last told the company."""

    state: str
    measure: str
    since: datetime


class CalibrationOut(BaseModel):
    """The calibration that the bands and the score come from."""

    id: UUID
    as_of: datetime
    counted: int = Field(description="customers with a counted purchase before as_of")
    basis: Literal["population", "fixed"]
    policy_version: int


class ScoreOut(BaseModel):
    """A customer's score. ``rfm`` and ``value`` are null without a counted purchase, ``tier`` and where the customer is
    heading (``lifecycle``, ``lifetime_value``, ``churn``, ``next_purchase``, ``trend``) before the first calibration; ``as_of`` is the later of the calibration's and the end of the customer's own last fact's day."""

    model_config = ConfigDict(populate_by_name=True)

    customer_id: UUID
    as_of: datetime | None
    currency: str | None
    metrics: MetricsOut
    rfm: RfmOut | None
    value: ValueOut | None
    lifecycle: LifecycleOut | None
    lifetime_value: LifetimeValueOut | None
    churn: ChurnOut | None
    next_purchase: NextPurchaseOut | None
    trend: TrendOut | None
    cluster: ClusterOfCustomerOut | None = Field(
        description="null before the first clustering and for one whom it did not see buy"
    )
    forecast: SpendForecastOut | None = Field(description="null as `cluster`")
    tier: TierOut | None
    satisfaction: SatisfactionOut | None
    calibration: CalibrationOut | None


class TierChangeOut(BaseModel):
    """A change of tier. ``initial``: made by a first calibration."""

    tier: str
    previous_tier: str | None
    effective_at: datetime
    reason: str
    initial: bool
    historical: bool
    as_of: datetime
    policy_version: int


@router.get("/customers/{customer_id}/score", scopes=["scores:read"], owner="customer_id")
def get_score(customer_id: UUID, session: Transaction) -> ScoreOut:
    """One customer's metrics, RFM, value score and tier, and where they are heading."""
    return ScoreOut.model_validate(sheets.one(session, customer_id))


@router.get(
    "/customers/{customer_id}/tier-history",
    scopes=["scores:read"],
    owner="customer_id",
    response_model=PageOf[TierChangeOut],
)
def list_tier_changes(customer_id: UUID, session: Transaction, page: Page) -> dict[str, Any]:
    """The changes of a customer's tier, the latest first."""
    key = page.after(("-tier_change_id",))
    rows = tiers.history(session, customer_id, None if key is None else key[0], page.limit + 1)
    return page_of(TierChangeOut, rows, page, key=lambda row: (row.tier_change_id,))


@router.get("/scores", scopes=["scores:read"], response_model=PageOf[ScoreOut])
def list_scores(session: Transaction, page: Page) -> dict[str, Any]:
    """Every customer's score, by customer id."""
    key = page.after(("customer_id",))
    rows = sheets.page(session, None if key is None else key[0], page.limit + 1)
    return page_of(ScoreOut, rows, page, key=lambda row: (row["customer_id"],))
