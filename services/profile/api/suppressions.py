"""/suppressions: whom nobody writes to or calls any more."""

from datetime import datetime
from typing import Annotated, Any, Literal
from uuid import UUID

from fastapi import Query, Response
from pydantic import BaseModel, Field, StrictStr, model_validator
from pydantic_core import PydanticCustomError
from sqlalchemy import Row

from services.profile.api.consents import Channel
from services.profile.api.fields import Label
from services.profile.domain import suppressions
from shared.http.dependencies import Caller_, Transaction
from shared.http.idempotency import Once
from shared.http.paging import Page, PageOf, page_of
from shared.http.routing import Router

router = Router(prefix="/v1", tags=["suppressions"])

Reason = Literal["bounce", "complaint", "do_not_call", "manual"]


class SuppressionIn(BaseModel):
    """Exactly one of `customer_id` and `address`."""

    model_config = {
        "json_schema_extra": {"oneOf": [{"required": ["customer_id"]}, {"required": ["address"]}]}
    }

    channel: Channel
    reason: Reason
    customer_id: UUID = Field(
        default=None,  # type: ignore[assignment]
        validate_default=False,
        description="a bounce or a complaint is about the address that is known now, the others about the customer",
    )
    address: Annotated[StrictStr, Field(min_length=3, max_length=254)] = Field(
        default=None,  # type: ignore[assignment]
        validate_default=False,
        description="an e-mail address, or a number as +86…; kept as a token from which it cannot be read",
        examples=["wang.fang@example.com"],
    )

    reference: Annotated[StrictStr, Field(min_length=1, max_length=80)] = Field(
        default=None,  # type: ignore[assignment]
        validate_default=False,
        description="of the lookup that gave the address out: where the customer was changed or merged since, nothing is"
        " suppressed (409 `contact_point_changed`), for it may be another address",
    )

    @model_validator(mode="after")
    def _about_one(self) -> "SuppressionIn":
        if ("customer_id" in self.model_fields_set) == ("address" in self.model_fields_set):
            raise PydanticCustomError("one_of", "Input should have either customer_id or address")
        if "reference" in self.model_fields_set and self.customer_id is None:
            raise PydanticCustomError("reference", "Input should have customer_id with reference")
        return self


class LiftIn(BaseModel):
    because: Label = Field(examples=["the customer asked for it"])


class SuppressionOut(BaseModel):
    """In force until `lifted_at`. `about` an address: whose it is, is not kept."""

    id: UUID
    about: Literal["customer", "address"]
    customer_id: UUID | None
    channel: str
    reason: str
    set_at: datetime
    set_by: str
    lifted_at: datetime | None
    lifted_by: str | None
    lifted_because: str | None


class SuppressionsOut(BaseModel):
    items: list[SuppressionOut]


@router.post(
    "/suppressions",
    scopes=["suppressions:write"],
    status_code=201,
    response_model=SuppressionOut,
    responses={200: {"model": SuppressionOut, "description": "This is in force already"}},
)
def set_suppression(
    body: SuppressionIn, session: Transaction, caller: Caller_, once: Once, response: Response
) -> Any:
    """Reach a customer or an address no more on a channel, for whatever purpose.

    Holds for every lookup of contact points from the moment it is acknowledged.
    """

    def suppress() -> SuppressionOut:
        if body.customer_id is not None:
            row, new = suppressions.suppress_customer(
                session, body.customer_id, body.channel, body.reason, caller.name, body.reference
            )
        else:
            row, new = suppressions.suppress_address(
                session, body.address, body.channel, body.reason, caller.name
            )
        response.status_code = 201 if new else 200
        return _shown(row)

    return once(SuppressionOut, suppress)


@router.get("/suppressions", scopes=["suppressions:read"])
def list_suppressions(
    session: Transaction,
    page: Page,
    channel: Annotated[list[Channel], Query(max_length=6)] = [],  # noqa: B006
    reason: Annotated[
        list[Literal["bounce", "complaint", "do_not_call", "manual", "erasure"]], Query(max_length=5)
    ] = [],  # noqa: B006
    lifted: bool | None = None,
) -> PageOf[SuppressionOut]:
    """Suppressions, the latest first."""
    rows = suppressions.page(
        session,
        page.after(("-set_at", "-id")),
        page.limit + 1,
        channels=channel,
        reasons=reason,
        lifted=lifted,
    )
    shown = [_shown(row) for row in rows]
    return page_of(SuppressionOut, shown, page, key=lambda one: (one.set_at, one.id))  # type: ignore[return-value]


@router.get("/suppressions/{suppression_id}", scopes=["suppressions:read"], response_model=SuppressionOut)
def get_suppression(suppression_id: UUID, session: Transaction) -> Any:
    """One suppression."""
    return _shown(suppressions.get(session, suppression_id))


@router.post(
    "/suppressions/{suppression_id}/lift", scopes=["suppressions:write"], response_model=SuppressionOut
)
def lift_suppression(suppression_id: UUID, body: LiftIn, session: Transaction, caller: Caller_) -> Any:
    """End a suppression. Who did it, and why, is recorded in the audit log."""
    return _shown(suppressions.lift(session, suppression_id, body.because, caller.name))


@router.get("/customers/{customer_id}/suppressions", scopes=["suppressions:read"], owner="customer_id")
def list_customer_suppressions(customer_id: UUID, session: Transaction) -> SuppressionsOut:
    """Whatever was set for a customer, or for an address that the customer has now, the latest first."""
    return SuppressionsOut(items=[_shown(row) for row in suppressions.of_customer(session, customer_id)])


def _shown(row: Row[Any]) -> SuppressionOut:
    about = "address" if row.customer_id is None else "customer"
    return SuppressionOut.model_validate(dict(row._mapping) | {"id": row.suppression_id, "about": about})
