"""/contact-points: how to reach somebody, for a purpose, at the moment of use."""

from datetime import datetime
from typing import Literal
from uuid import UUID

from pydantic import BaseModel, Field

from services.profile.api.consents import Channel
from services.profile.domain import contact_points
from shared.http.dependencies import Caller_, Transaction
from shared.http.routing import Router

router = Router(prefix="/v1/contact-points", tags=["contact points"])


class LookupIn(BaseModel):
    customer_ids: list[UUID] = Field(min_length=1, max_length=1000)
    purpose: Literal[
        "marketing", "profiling", "personalisation", "survey", "sharing", "service", "fulfilment"
    ] = Field(description="service and fulfilment rest on the contract; the others need consent")
    channel: Channel


class ContactPointOut(BaseModel):
    """The address, or the reason why not: `unknown_customer`, `erased`, `no_consent`, `suppressed`,
    `no_contact_point`."""

    customer_id: UUID
    address: str | None
    reason: str | None
    name: str | None = Field(description="for a template; null where there is none or no address is given")
    kind: str | None
    language: str | None
    time_zone: str | None
    consent_id: UUID | None = Field(description="the record that the answer rests on")
    consent_state: str | None
    suppression: str | None = Field(description="why nobody may write there: `bounce`, `complaint`, …")
    valid_until: datetime | None = Field(description="after this the answer must not be used any more")
    preferences_url: str | None = Field(
        description="for the message: the customer's own preference page. A credential, for nobody else"
    )
    unsubscribe_url: str | None = Field(
        description="for the message: takes back the consent it rests on, by one click (RFC 8058); null for the contract"
    )
    reference: str | None = Field(
        description="names this answer to `POST /v1/suppressions`, should nobody be reached there; says nothing about the address"
    )


class LookupOut(BaseModel):
    items: list[ContactPointOut]


@router.post("/lookup", scopes=["contact:read"])
def look_up_contact_points(body: LookupIn, session: Transaction, caller: Caller_) -> LookupOut:
    """Ask for the contact points of up to 1,000 customers, for one purpose and channel.

    One answer per id, in the order asked. Who asked for what, and what was answered, is recorded.
    """
    found = contact_points.look_up(session, body.customer_ids, body.purpose, body.channel, caller.name)
    return LookupOut.model_validate({"items": [one._asdict() for one in found]})
