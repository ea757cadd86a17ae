"""/customers/{id}/identities and external ids; logging in and out on a device."""

from collections.abc import Sequence
from datetime import datetime
from typing import Annotated, Any, Literal
from uuid import UUID

from fastapi import Response
from pydantic import BaseModel, Field, StrictBool
from sqlalchemy import Row
from sqlalchemy.orm import Session

from services.profile.api.fields import CustomerId, CustomerName, ExternalId, Id, Source, customer_ref
from services.profile.domain import customer_profiles, identities, logins
from shared.auth.callers import Caller
from shared.http.dependencies import Caller_, Now, Transaction
from shared.http.idempotency import Once
from shared.http.routing import Router

router = Router(prefix="/v1", tags=["identities"])

Namespace = Literal["email", "phone", "wechat_openid", "wechat_unionid", "pos_card", "cookie", "device"]


class NamedIdentity(BaseModel):
    """Phone numbers in E.164; an openid with its app (`app:openid`)."""

    namespace: Namespace = Field(examples=["wechat_unionid"])
    value: Id = Field(examples=["oR5GjjgEhCMJFyzaVZdrxZ2zRRF4"])


class IdentityIn(NamedIdentity):
    verified: StrictBool = Field(
        default=False, description="the customer proved to hold it: by a code, a link, a login"
    )


class IdentityOut(BaseModel):
    """`value` is shown to callers with the scope pii:read and to the customer. `customer_id` is to whom it was given:
    somebody who was merged, perhaps."""

    id: UUID
    customer_id: UUID
    namespace: str
    value: str | None
    verified_at: datetime | None
    added_at: datetime
    added_by: str


class IdentitiesOut(BaseModel):
    items: list[IdentityOut]


class NamesOut(BaseModel):
    """The names that outside systems have for a customer."""

    items: list[CustomerName]


class Device(BaseModel):
    namespace: Literal["cookie", "device"] = Field(examples=["cookie"])
    value: Id = Field(examples=["5d0c7cc1-9d0e"])


class LogInIn(BaseModel):
    """`authenticated`: the person proved to be who is said, and to hold `identities`. Of anybody else the identities are
    noted as unverified for `customer`, and nothing is attached or merged."""

    device: Device | None = None
    customer: Annotated[CustomerName | CustomerId | None, Field(union_mode="left_to_right")] = None
    identities: list[NamedIdentity] = Field(default=[], max_length=20)
    authenticated: StrictBool = False
    create_customer: StrictBool = Field(
        default=False, description="make a customer if nobody is known by this"
    )


class LoggedInOut(BaseModel):
    """`merge_ids`: the merges that this made, because both customers proved to hold an identity that only one person can
    have. `doubted_customer_ids`: customers who hold one too, where something speaks against it; see /duplicates."""

    customer_id: UUID
    created: bool
    merge_ids: list[UUID]
    doubted_customer_ids: list[UUID]
    attached_count: int = Field(description="activities of the device that are the customer's now")


class LogOutIn(BaseModel):
    device: Device


class LoggedOutOut(BaseModel):
    """`anonymous_id` is by what to call the device from now on: what it does is nobody's until somebody logs in."""

    anonymous_id: UUID


@router.post(
    "/customers/{customer_id}/identities",
    scopes=["profile:write"],
    status_code=201,
    response_model=IdentityOut,
    responses={200: {"model": IdentityOut, "description": "The customer had it; it may be verified by now"}},
)
def add_identity(
    customer_id: UUID,
    body: IdentityIn,
    session: Transaction,
    now: Now,
    caller: Caller_,
    once: Once,
    response: Response,
) -> Any:
    """Give a customer an identity, or say that one it has is verified.

    A verified one that by its nature is one person's belongs to one customer: 409 `identity_taken` otherwise.
    """

    def add() -> IdentityOut:
        row, new = identities.add(
            session, customer_id, body.namespace, body.value, verified=body.verified, by=caller.name, now=now
        )
        response.status_code = 201 if new else 200
        return _shown(session, [row], caller)[0]

    return once(IdentityOut, add)


@router.get("/customers/{customer_id}/identities", scopes=["profile:read"], owner="customer_id")
def list_identities(customer_id: UUID, session: Transaction, caller: Caller_) -> IdentitiesOut:
    """By what a customer is recognised, with what came from customers who were merged into it."""
    rows = identities.of_customer(session, customer_id)
    return IdentitiesOut(items=_shown(session, rows, caller))


@router.delete("/customers/{customer_id}/identities/{identity_id}", scopes=["profile:write"], status_code=204)
def remove_identity(customer_id: UUID, identity_id: UUID, session: Transaction) -> None:
    """Take an identity away."""
    identities.remove(session, customer_id, identity_id)


@router.put(
    "/customers/{customer_id}/external-ids/{source}/{external_id}",
    scopes=["profile:write"],
    status_code=201,
    response_model=NamesOut,
    responses={200: {"model": NamesOut, "description": "The customer had it"}},
)
def add_external_id(
    customer_id: UUID,
    source: Source,
    external_id: ExternalId,
    session: Transaction,
    now: Now,
    response: Response,
) -> Any:
    """Give a customer a name of an outside system."""
    new = identities.add_name(session, customer_id, (source, external_id), now)
    response.status_code = 201 if new else 200
    return _names(session, customer_id)


@router.delete(
    "/customers/{customer_id}/external-ids/{source}/{external_id}", scopes=["profile:write"], status_code=204
)
def remove_external_id(
    customer_id: UUID, source: Source, external_id: ExternalId, session: Transaction, now: Now
) -> None:
    """Take a name of an outside system away. What was told under it stays the customer's."""
    identities.remove_name(session, customer_id, (source, external_id), now)


@router.post("/identities/log-in", scopes=["profile:write"])
def log_in(body: LogInIn, session: Transaction, now: Now, caller: Caller_, once: Once) -> LoggedInOut:
    """Note who somebody on a device is: anonymous becomes known.

    What the device did and is nobody's yet becomes the customer's, who keeps its id. Where the person proves to be two
    customers, they are merged if nothing speaks against it, and else listed for somebody to decide.
    """

    def log_in() -> LoggedInOut:
        found = logins.log_in(
            session,
            None if body.device is None else (body.device.namespace, body.device.value),
            customer_ref(body.customer),
            [(one.namespace, one.value) for one in body.identities],
            authenticated=body.authenticated,
            create=body.create_customer,
            by=caller.name,
            now=now,
        )
        return LoggedInOut(
            customer_id=found.customer_id,
            created=found.created,
            merge_ids=list(found.merged),
            doubted_customer_ids=list(found.doubted),
            attached_count=found.attached_count,
        )

    return once(LoggedInOut, log_in)


@router.post("/identities/log-out", scopes=["profile:write"])
def log_out(body: LogOutIn, session: Transaction, now: Now) -> LoggedOutOut:
    """Somebody leaves a device: what it does from now on is a new anonymous visitor's."""
    return LoggedOutOut(anonymous_id=logins.log_out(session, (body.device.namespace, body.device.value), now))


def _shown(session: Session, rows: Sequence[Row[Any]], caller: Caller) -> list[IdentityOut]:
    may_see = caller.may("pii:read") or caller.customer_id is not None
    clear = identities.values_of(session, rows) if may_see else [None] * len(rows)
    return [
        IdentityOut.model_validate(dict(row._mapping) | {"id": row.identity_id, "value": value})
        for row, value in zip(rows, clear, strict=True)
    ]


def _names(session: Session, customer_id: UUID) -> NamesOut:
    own = customer_profiles.names_of(session, [customer_id])[customer_id]
    return NamesOut(items=[CustomerName(source=source, external_id=name) for source, name in own])
