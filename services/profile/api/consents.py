"""/customers/{id}/consents: what a customer agreed to."""

from collections.abc import Sequence
from datetime import datetime
from typing import Annotated, Any, Literal
from uuid import UUID

from fastapi import Response
from pydantic import BaseModel, Field, StrictStr
from sqlalchemy import Row
from sqlalchemy.orm import Session

from services.profile.api.fields import Id, Label, When
from services.profile.domain import consents, customer_profiles
from services.profile.domain.consents import GivenConsent
from services.profile.rules.consents import state_of
from shared.http.dependencies import Caller_, Transaction
from shared.http.paging import Page, PageOf, page_of
from shared.http.routing import Router

router = Router(prefix="/v1/customers/{customer_id}/consents", tags=["consents"])

Purpose = Literal["marketing", "profiling", "personalisation", "survey", "sharing"]
Channel = Literal["email", "sms", "phone", "wechat", "push", "in_app"]


class ConsentIn(BaseModel):
    state: Literal["granted", "denied", "withdrawn"]
    text_version: Id | None = Field(
        default=None, description="which text the customer saw", examples=["2026-03"]
    )
    evidence: Annotated[StrictStr, Field(max_length=4000)] | None = Field(
        default=None, description="where it can be seen that this was said; kept under seal"
    )
    collected_at: When | None = Field(default=None, description="now unless said")
    collected_where: Label | None = Field(
        default=None, description="in which place or on which page", examples=["till 3"]
    )
    collected_by: Label | None = Field(
        default=None, description="by whom, where it was a person", examples=["staff-017"]
    )
    expires_at: When | None = Field(
        default=None, description="of a grant; as long as the text allows unless said, else without end"
    )


class ConsentOut(BaseModel):
    """One record. `state` in the list of current consents is what holds now, `expired` for a grant whose end has come."""

    id: UUID
    customer_id: UUID
    recorded_customer_id: UUID = Field(description="under whom it was recorded, before a merge")
    purpose: str
    channel: str
    state: str
    text_version: str | None
    evidence: str | None
    collected_at: datetime
    collected_where: str | None
    collected_by: str | None
    expires_at: datetime | None
    recorded_at: datetime
    recorded_by: str


class ConsentsOut(BaseModel):
    """What holds now, one entry per purpose and channel that was ever spoken of."""

    items: list[ConsentOut]


@router.put(
    "/{purpose}/{channel}",
    scopes=["consents:write"],
    owner="customer_id",
    response_model=ConsentOut,
    status_code=201,
    responses={200: {"model": ConsentOut, "description": "Exactly this holds already; nothing was recorded"}},
)
def record_consent(
    customer_id: UUID,
    purpose: Purpose,
    channel: Channel,
    body: ConsentIn,
    session: Transaction,
    caller: Caller_,
    response: Response,
) -> Any:
    """Record that a customer granted, denied or withdrew a consent.

    Records are never changed; what holds is the latest said. A refusal holds from the moment it is acknowledged.
    """
    given = GivenConsent(**body.model_dump())
    row, new = consents.record(session, customer_id, purpose, channel, given, caller.name)
    response.status_code = 201 if new else 200
    return _shown(session, [row])[0]


@router.get("", scopes=["consents:read"], owner="customer_id")
def list_consents(customer_id: UUID, session: Transaction) -> ConsentsOut:
    """What holds now, per purpose and channel. What was never spoken of is not granted."""
    owner = customer_profiles.get(session, customer_id).customer_id
    rows = consents.all_in_force(session, owner)
    now = consents.clock(session)
    return ConsentsOut(
        items=[
            one.model_copy(update={"state": state_of(row, now)})
            for row, one in zip(rows, _shown(session, rows), strict=True)
        ]
    )


@router.get("/history", scopes=["consents:read"], owner="customer_id")
def list_consent_history(customer_id: UUID, session: Transaction, page: Page) -> PageOf[ConsentOut]:
    """Every record, latest first."""
    owner = customer_profiles.get(session, customer_id).customer_id
    rows = consents.history(session, owner, page.after(("-number",)), page.limit + 1)
    numbers = {row.consent_id: row.number for row in rows}
    shown = _shown(session, rows)
    return page_of(ConsentOut, shown, page, key=lambda one: (numbers[one.id],))  # type: ignore[return-value]


def _shown(session: Session, rows: Sequence[Row[Any]]) -> list[ConsentOut]:
    return [
        ConsentOut.model_validate(dict(row._mapping) | {"id": row.consent_id, "evidence": evidence})
        for row, evidence in zip(rows, consents.evidence_of(session, rows), strict=True)
    ]
