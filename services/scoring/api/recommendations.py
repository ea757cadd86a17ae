"""/products/{sku}/related and /customers/{customer_id}/recommendations: what goes with what, and what to offer next."""

from datetime import datetime
from typing import Annotated, Literal
from uuid import UUID

from fastapi import Path, Query, Response
from pydantic import BaseModel, Field

from services.scoring.domain import recommendations
from shared import jobs
from shared.http.dependencies import Caller_, Transaction
from shared.http.idempotency import Once
from shared.http.routing import Router

router = Router(prefix="/v1", tags=["recommendations"])

Sku = Annotated[str, Path(min_length=1, max_length=200, examples=["85123A"])]
Limit = Annotated[int, Query(ge=1, le=50, description="how many at most")]


class RefreshStarted(BaseModel):
    """The job that makes everything anew."""

    id: UUID
    kind: Literal["recommendations"] = "recommendations"
    state: Literal["queued"] = "queued"


class NamesOut(BaseModel):
    """A product's names; null is one that the catalogue does not have."""

    zh: str | None = Field(examples=["白色心形挂灯"])
    en: str | None = Field(examples=["White hanging heart light"])


class RelatedProductOut(BaseModel):
    """What the same customers buy, more often than chance would have it."""

    sku: str
    names: NamesOut
    category: str | None
    score: float = Field(description="log-likelihood ratio G²: larger is surer; 10.83 is p < 0.001")
    buyers: int = Field(description="customers who bought both")
    lift: float = Field(description="how many times as many as chance would have, shrunk towards 1")
    in_stock: bool | None = Field(
        description="true also where stock is not kept track of; null: not in the catalogue"
    )
    active: bool | None = Field(description="still sold; null: not in the catalogue")


class RelatedProductsOut(BaseModel):
    """What goes with a product, the surest first, by all purchases before ``as_of``; null before the first run."""

    sku: str
    as_of: datetime | None
    items: list[RelatedProductOut]


class ReasonOut(BaseModel):
    """Why: ``because_of`` is the sku of a product that the customer bought (bought_together, accessory), a category that they
    buy (category), or their segment (bestseller; null: everybody's)."""

    kind: Literal["bought_together", "accessory", "category", "bestseller"]
    because_of: str | None
    words: dict[str, str] = Field(
        description="the same to be shown, in Chinese and English",
        examples=[
            {
                "zh": "常与“白色心形挂灯”一起购买",
                "en": "Often bought together with White hanging heart light",
            }
        ],
    )


class RecommendationOut(BaseModel):
    """A product that is sold and in stock, and that the customer does not own unless it is used up and bought again."""

    sku: str
    names: NamesOut
    category: str | None
    score: float = Field(
        description="orders this customer's and compares with nobody else's; 0 for a bestseller"
    )
    reason: ReasonOut


class RecommendationsOut(BaseModel):
    """What to offer a customer, the best first. Made from what they own now, and from what goes with it and what sells best
    before ``as_of``; null before the first run."""

    customer_id: UUID
    as_of: datetime | None
    items: list[RecommendationOut]


@router.post("/recommendations/refresh", scopes=["calibrations:write"], status_code=202)
def refresh_recommendations(
    response: Response, session: Transaction, caller: Caller_, once: Once
) -> RefreshStarted:
    """Find anew what goes with what, and what sells best in each segment.

    A job, also made every night: the service answers from the last one meanwhile. As of the calibration's as_of where that
    is pinned, else as of now.
    """

    def start() -> RefreshStarted:
        job_id = jobs.create(session, "recommendations", {}, created_by=caller.name)
        response.headers["Location"] = f"/scoring/v1/jobs/{job_id}"
        return RefreshStarted(id=job_id)

    return once(RefreshStarted, start)


@router.get("/products/{sku}/related", scopes=["products:read"], reach="anyone")
def list_related_products(sku: Sku, session: Transaction, limit: Limit = 10) -> RelatedProductsOut:
    """What goes with a product, by co-purchase.

    404 `product_not_found` for a sku that neither the catalogue nor any purchase knows.
    """
    return RelatedProductsOut.model_validate(recommendations.related(session, sku, limit))


@router.get("/customers/{customer_id}/recommendations", scopes=["scores:read"], owner="customer_id")
def list_recommendations(customer_id: UUID, session: Transaction, limit: Limit = 10) -> RecommendationsOut:
    """What to offer a customer next, each with its reason.

    404 `customer_not_found`; 410 `customer_erased`. A merged customer's are its winner's.
    """
    return RecommendationsOut.model_validate(recommendations.for_customer(session, customer_id, limit))
