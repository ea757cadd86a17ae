"""/customers: what feedback holds about one customer"""

from datetime import datetime
from typing import Any
from uuid import UUID

from pydantic import BaseModel, ConfigDict, Field

from services.feedback.api.dependencies import OwnSettings
from services.feedback.domain import customers, invitations, satisfaction
from services.feedback.rules import nps
from shared.http.dependencies import Transaction
from shared.http.paging import Page, PageOf, page_of
from shared.http.routing import Router

router = Router(prefix="/v1/customers", tags=["customers"])


class InvitationOut(BaseModel):
    """``answer_url`` is a credential: whoever holds it may answer, once, until ``expires_at``."""

    id: UUID
    survey_id: UUID
    survey_name: str
    customer_id: UUID
    purchase_id: UUID
    channel: str
    invited_at: datetime
    due_at: datetime
    expires_at: datetime
    answered_at: datetime | None
    answer_url: str


class SatisfactionOut(BaseModel):
    """``satisfaction`` is promoter, passive or detractor, ``unknown`` before the first answer; ``previous`` what it was
    until ``since``."""

    model_config = ConfigDict(from_attributes=True)

    customer_id: UUID
    satisfaction: str
    previous: str | None = None
    measure: str | None = None
    score: int | None = Field(default=None, description="of the last answer, 0–10")
    since: datetime | None = None


@router.get(
    "/{customer_id}/invitations",
    scopes=["invitations:read"],
    owner="customer_id",
    response_model=PageOf[InvitationOut],
)
def list_customer_invitations(
    customer_id: UUID, session: Transaction, page: Page, settings: OwnSettings
) -> Any:
    """The customer's survey invitations, newest first, with the link of each."""
    owner = customers.answering(session, customer_id)
    rows = invitations.of_customer(session, owner, page.after(("invited_at", "id")), page.limit + 1)
    shown = [
        InvitationOut(
            id=row.invitation_id,
            answer_url=settings.answer_url(row.invitation_id),
            **row._mapping,
        )
        for row in rows
    ]
    return page_of(InvitationOut, shown, page, key=lambda item: (item.invited_at, item.id))


@router.get(
    "/{customer_id}/satisfaction",
    scopes=["surveys:read"],
    owner="customer_id",
    response_model=SatisfactionOut,
)
def get_customer_satisfaction(customer_id: UUID, session: Transaction) -> Any:
    """How content the customer was when last asked."""
    owner = customers.answering(session, customer_id)
    row = satisfaction.of_customer(session, owner)
    return row or SatisfactionOut(customer_id=owner, satisfaction=nps.UNKNOWN)
