"""/customers/{id}/confirmations: what customers are asked by a signed link; and the links, for the sender alone."""

from datetime import datetime
from typing import Annotated, Any, Literal
from uuid import UUID

from fastapi import Body
from pydantic import BaseModel, ConfigDict, Field
from sqlalchemy import Row

from services.profile.api.consents import Channel, Purpose
from services.profile.domain import confirmations, customer_profiles
from services.profile.domain.links import links_of
from shared import languages
from shared.http.dependencies import Caller_, Now, Transaction
from shared.http.idempotency import Once
from shared.http.paging import Page, PageOf, page_of
from shared.http.routing import Router

router = Router(prefix="/v1", tags=["confirmations"])


class OptInIn(BaseModel):
    """Ask to agree to `purposes` on `channel`: double opt-in."""

    model_config = ConfigDict(extra="forbid")

    kind: Literal["opt_in"]
    channel: Channel = Field(default="email", description="on which the customer is asked")
    purposes: list[Purpose] = Field(min_length=1, max_length=5, examples=[["marketing"]])


class RefreshIn(BaseModel):
    """Ask to bring the own data up to date."""

    model_config = ConfigDict(extra="forbid")

    kind: Literal["refresh"]
    channel: Channel = Field(default="email", description="on which the customer is asked")


class ConfirmationOut(BaseModel):
    """What a customer was asked. The link is in no answer but the sender's: only who gets the message can use it."""

    id: UUID
    customer_id: UUID
    kind: str
    state: Literal["open", "confirmed", "expired"]
    channel: str
    purposes: dict[str, str] = Field(description="purpose → version of the text that was shown")
    requested_at: datetime
    requested_by: str
    expires_at: datetime
    confirmed_at: datetime | None


class ConfirmationIds(BaseModel):
    model_config = ConfigDict(
        extra="forbid",
        json_schema_extra={"examples": [{"confirmation_ids": ["0192b3c4-0000-7000-8000-000000000001"]}]},
    )

    confirmation_ids: Annotated[list[UUID], Field(min_length=1, max_length=1_000)]


class ConfirmationLink(BaseModel):
    confirmation_id: UUID
    kind: str
    url: str
    language: str


class ConfirmationLinks(BaseModel):
    items: list[ConfirmationLink]


class PreferenceLink(BaseModel):
    """A credential: for the customer alone."""

    url: str


@router.post(
    "/customers/{customer_id}/confirmations",
    scopes=["consents:write"],
    status_code=201,
    response_model=ConfirmationOut,
)
def ask_to_confirm(
    customer_id: UUID,
    body: Annotated[OptInIn | RefreshIn, Body(discriminator="kind")],
    session: Transaction,
    now: Now,
    caller: Caller_,
    once: Once,
) -> Any:
    """Ask a customer, by a message with a signed link, to agree or to bring the own data up to date.

    The message rests on the contract and needs no consent. Asked again within the hour: 409.
    """

    def ask() -> ConfirmationOut:
        purposes = body.purposes if isinstance(body, OptInIn) else []
        row = confirmations.ask(session, customer_id, body.kind, body.channel, purposes, caller.name, now)
        return _shown(row, now)

    return once(ConfirmationOut, ask)


@router.get("/customers/{customer_id}/confirmations", scopes=["consents:read"], owner="customer_id")
def list_confirmations(
    customer_id: UUID, session: Transaction, now: Now, page: Page
) -> PageOf[ConfirmationOut]:
    """What a customer was asked, the latest first."""
    owner = customer_profiles.get(session, customer_id).customer_id
    rows = confirmations.page(session, owner, page.after(("-requested_at", "-id")), page.limit + 1)
    shown = [_shown(row, now) for row in rows]
    return page_of(ConfirmationOut, shown, page, key=lambda one: (one.requested_at, one.id))  # type: ignore[return-value]


@router.post("/confirmation-links/lookup", scopes=["links:read"], response_model=ConfirmationLinks)
def look_up_confirmation_links(body: ConfirmationIds, session: Transaction, now: Now) -> Any:
    """The links of requests that can still be answered; one that is missing from the answer is not to be sent."""
    found = confirmations.links(session, body.confirmation_ids, now)
    return ConfirmationLinks(
        items=[
            ConfirmationLink(**(one._asdict() | {"language": languages.chosen(None, one.language, None)}))
            for one in found
        ]
    )


@router.post(
    "/customers/{customer_id}/preference-links",
    scopes=["consents:write"],
    owner="customer_id",
    response_model=PreferenceLink,
)
def make_preference_link(customer_id: UUID, session: Transaction, now: Now) -> Any:
    """A link to the customer's own preference page, for a shop's account page or a member of staff at the till."""
    owner = customer_profiles.get(session, customer_id).customer_id
    return PreferenceLink(url=links_of(session).to_preferences(owner, now))


def _shown(row: Row[Any], now: datetime) -> ConfirmationOut:
    more = {"id": row.confirmation_id, "state": confirmations.state_at(row, now)}
    return ConfirmationOut.model_validate(dict(row._mapping) | more)
