"""/clusterings and the clusters that the one in force found."""

from datetime import datetime
from typing import Any, Literal
from uuid import UUID

from fastapi import Response
from pydantic import BaseModel, ConfigDict, Field

from services.scoring.api.scores import ClusterWords
from services.scoring.domain import calibrations, clusterings
from shared import jobs
from shared.errors import Conflict
from shared.http.dependencies import Caller_, Transaction
from shared.http.idempotency import Once
from shared.http.paging import Page, PageOf, page_of
from shared.http.routing import Router

router = Router(prefix="/v1", tags=["clusters"])

Naive = Literal["last_90_days", "mean_rate", "population_mean"]
Operator = Literal["<=", ">"]


class ClusteringIn(BaseModel):
    """Nothing is asked: a clustering is as of the calibration in force."""

    model_config = ConfigDict(extra="forbid", json_schema_extra={"examples": [{}]})


class ClusteringStarted(BaseModel):
    """The job that clusters; its id is the clustering's."""

    id: UUID
    kind: Literal["clustering"] = "clustering"
    state: Literal["queued"] = "queued"


class ErrorsOut(BaseModel):
    """Mean absolute error and root mean squared error in whole units of the accounting currency, and the share of the variance
    explained."""

    mae: float
    rmse: float
    r2: float


class HoldoutOut(BaseModel):
    """How a regression of the quarter before foretold the last 90 days, which it had not seen, and how the naive forecasts did."""

    customers: int
    forecast: ErrorsOut
    naive: dict[Naive, ErrorsOut]


class ClusteringSummary(BaseModel):
    """A clustering: measuring, current, past or superseded (by a later one). Facts before ``as_of`` count. ``…_reasons`` say why
    no clusters were found or no spend is forecast; null until it is known."""

    id: UUID
    calibration_id: UUID
    as_of: datetime
    state: str
    created_at: datetime
    effective_at: datetime | None
    cluster_reasons: list[str] | None
    silhouette: float | None = Field(
        description="-1 to 1: how much closer customers are to their own cluster"
    )
    kept_share: float | None = Field(description="of those in a cluster before, who kept their label")
    forecast_reasons: list[str] | None
    method: Literal["regression"] | Naive | None = Field(description="what forecasts the next 90 days")
    baseline: Naive | None = Field(description="the best naive forecast")
    holdout: HoldoutOut | None


class LeadingFeature(BaseModel):
    """A feature in which the cluster's centre differs from everybody, in standard deviations."""

    feature: str
    deviations: float


class ConditionOut(BaseModel):
    feature: str
    operator: Operator
    threshold: float


class RuleOut(BaseModel):
    """Conditions that nearly tell the cluster. ``precision``: share of those who meet them that are in it; ``coverage``: share of
    the cluster that meets them."""

    text: str
    conditions: list[ConditionOut]
    precision: float
    coverage: float


class ClusterOut(BaseModel):
    """Customers who buy alike. The label stays from run to run."""

    label: int
    words: ClusterWords
    customers: int
    share: float
    leading_features: list[LeadingFeature] = Field(description="the furthest from everybody first")
    rule: RuleOut | None = Field(description="null where no rule tells the cluster from the rest")
    kept_share: float | None = Field(
        description="of those who were in it in the run before; null for a new one"
    )


class ClustersOut(BaseModel):
    """The clusters of the clustering in force, the largest first. Empty before the first one, or with ``reasons`` where there is
    too little to group: too_few_customers (below 200), no_spread."""

    clustering_id: UUID | None
    as_of: datetime | None
    reasons: list[str]
    customers: int
    silhouette: float | None = None
    kept_share: float | None = Field(
        default=None, description="of those in a cluster in the run before, who kept their label"
    )
    clusters: list[ClusterOut]


class ClusterCustomerOut(BaseModel):
    """A customer of a cluster, with the net spend expected in the next 90 days and what the best naive forecast says."""

    customer_id: UUID
    forecast_minor: int | None
    baseline_minor: int | None


@router.post("/clusterings", scopes=["calibrations:write"], status_code=202)
def start_clustering(
    body: ClusteringIn, response: Response, session: Transaction, caller: Caller_, once: Once
) -> ClusteringStarted:
    """Group everybody by how they buy, and learn to forecast their spend, as of the calibration in force.

    A job: the last clustering is shown meanwhile. 409 `not_calibrated` before the first calibration.
    """

    def start() -> ClusteringStarted:
        if calibrations.current(session) is None:
            raise Conflict("not_calibrated", "a clustering is as of a calibration, and none is in force")
        job_id = jobs.create(session, "clustering", {}, created_by=caller.name)
        response.headers["Location"] = f"/scoring/v1/jobs/{job_id}"
        return ClusteringStarted(id=job_id)

    return once(ClusteringStarted, start)


@router.get("/clusterings", scopes=["scores:read"], response_model=PageOf[ClusteringSummary])
def list_clusterings(session: Transaction, page: Page) -> dict[str, Any]:
    """Clusterings with what they are worth, the latest first."""
    key = page.after(("-id",))
    rows = clusterings.latest(session, None if key is None else key[0], page.limit + 1)
    return page_of(ClusteringSummary, rows, page, key=lambda row: (row.id,))


@router.get("/clusters", scopes=["scores:read"])
def list_clusters(session: Transaction) -> ClustersOut:
    """The groups of customers who buy alike, in words and by a rule."""
    return ClustersOut.model_validate(clusterings.clusters(session))


@router.get("/clusters/{label}/customers", scopes=["scores:read"], response_model=PageOf[ClusterCustomerOut])
def list_customers_of_cluster(label: int, session: Transaction, page: Page) -> dict[str, Any]:
    """The customers of a cluster, by id.

    404 `cluster_not_found` for a label that no cluster in force has.
    """
    key = page.after(("customer_id",))
    rows = clusterings.customers(session, label, None if key is None else key[0], page.limit + 1)
    return page_of(ClusterCustomerOut, rows, page, key=lambda row: (row.customer_id,))
