"""/customers/{customer_id}/offers"""

from datetime import datetime
from typing import Any
from uuid import UUID

from pydantic import BaseModel, Field

from services.campaigns.domain import customers, offers
from shared.http.dependencies import Transaction
from shared.http.paging import Page, PageOf, page_of
from shared.http.routing import Router

router = Router(prefix="/v1/customers/{customer_id}", tags=["offers"])


class OfferOut(BaseModel):
    """What a customer may use at the next purchase."""

    id: UUID
    campaign_id: str = Field(examples=["tier_upgrade"])
    kind: str = Field(examples=["percentage"])
    percent: int = Field(examples=[10])
    tier: str = Field(description="the tier that it was issued for", examples=["gold"])
    code: str = Field(examples=["K7WQ2MXTR9BD"])
    issued_at: datetime
    expires_at: datetime | None


@router.get("/offers", scopes=["offers:read"], owner="customer_id", response_model=PageOf[OfferOut])
def list_offers(customer_id: UUID, session: Transaction, page: Page) -> Any:
    """A customer's offers, the latest first."""
    owner = customers.known(session, customer_id)
    rows = offers.of_customer(session, owner, page.after(("issued_at", "id")), page.limit + 1)
    return page_of(OfferOut, rows, page, key=lambda row: (row.issued_at, row.id))
