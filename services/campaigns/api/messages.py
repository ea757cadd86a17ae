"""/customers/{customer_id}/messages"""

from datetime import datetime
from typing import Any
from uuid import UUID

from pydantic import BaseModel, Field

from services.campaigns.domain import customers, deliveries
from shared.http.dependencies import Transaction
from shared.http.paging import Page, PageOf, page_of
from shared.http.routing import Router

router = Router(prefix="/v1/customers/{customer_id}", tags=["messages"])


class MessageOut(BaseModel):
    """A message to a customer: that it was sent, not what it said or where it went."""

    id: UUID
    campaign_id: str = Field(examples=["tier_upgrade"])
    channel: str = Field(examples=["email"])
    purpose: str = Field(description="marketing, survey or service", examples=["marketing"])
    state: str = Field(
        description="pending, sent, skipped, failed, or unknown: the sender died between sending and recording",
        examples=["sent"],
    )
    reason: str | None = Field(description="why it was skipped, failed or put off", examples=["no_consent"])
    consent_id: UUID | None = Field(description="the consent that it rests on")
    created_at: datetime
    settled_at: datetime | None = Field(description="when it was sent, skipped or given up")


@router.get("/messages", scopes=["messages:read"], owner="customer_id", response_model=PageOf[MessageOut])
def list_messages(customer_id: UUID, session: Transaction, page: Page) -> Any:
    """A customer's messages, sent or not and why not, the latest first."""
    owner = customers.known(session, customer_id)
    rows = deliveries.of_customer(session, owner, page.after(("created_at", "id")), page.limit + 1)
    return page_of(MessageOut, rows, page, key=lambda row: (row.created_at, row.id))
