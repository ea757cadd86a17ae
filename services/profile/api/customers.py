"""/customers: who the customers are."""

from collections.abc import Sequence
from datetime import date, datetime
from typing import Annotated, Any, Literal
from uuid import UUID

from fastapi import Query, Response
from pydantic import BaseModel, Field
from sqlalchemy import Row
from sqlalchemy.orm import Session

from services.profile.api.fields import (
    Country,
    CustomerName,
    Day,
    ExternalId,
    Label,
    Language,
    Source,
    When,
    Zone,
)
from services.profile.domain import customer_profiles as profiles
from shared.auth.callers import Caller
from shared.http.dependencies import Caller_, Now, Transaction
from shared.http.idempotency import Once
from shared.http.paging import Page, PageOf, page_of
from shared.http.routing import Router
from shared.http.versions import IfMatch, check_version, etag

router = Router(prefix="/v1/customers", tags=["customers"])

Kind = Literal["person", "organisation"]


class CustomerIn(BaseModel):
    """What is known about a customer. A field that is absent stays as it is, null removes it."""

    kind: Kind = "person"
    name: Annotated[str, Field(min_length=1, max_length=200)] | None = Field(default=None, examples=["王芳"])
    email: Annotated[str, Field(max_length=254)] | None = Field(
        default=None, examples=["wang.fang@example.com"]
    )
    phone: Annotated[str, Field(max_length=40)] | None = Field(
        default=None,
        description="kept as E.164; without + it is a number of `country`",
        examples=["+8613812345678"],
    )
    birth_date: Day | None = None
    country: Country | None = None
    region: Label | None = None
    language: Language | None = None
    time_zone: Zone | None = None
    acquisition_channel: Label | None = Field(default=None, examples=["web"])
    tags: list[Label] = Field(default=[], max_length=100)
    registered_at: When = Field(
        default=None,  # type: ignore[assignment]
        validate_default=False,
        description="when the customer became one; now unless said",
    )

    def given(self) -> dict[str, Any]:
        return self.model_dump(exclude_unset=True, exclude={"external_ids"})


class NewCustomerIn(CustomerIn):
    external_ids: list[CustomerName] = Field(default=[], max_length=20)


class CustomerOut(BaseModel):
    """Name, e-mail, phone and birth date are shown to callers with the scope pii:read and to the customer."""

    id: UUID
    kind: str
    external_ids: list[CustomerName]
    personal_data: Literal["shown", "withheld"]
    name: str | None
    email: str | None
    phone: str | None
    birth_date: date | None
    country: str | None
    region: str | None
    language: str | None
    time_zone: str | None
    acquisition_channel: str | None
    tags: list[str]
    registered_at: datetime
    created_at: datetime
    updated_at: datetime
    version: int


@router.put(
    "/by-external-id/{source}/{external_id}",
    scopes=["profile:write"],
    response_model=CustomerOut,
    responses={201: {"model": CustomerOut, "description": "The customer was made"}},
)
def put_customer(
    source: Source,
    external_id: ExternalId,
    body: CustomerIn,
    session: Transaction,
    now: Now,
    caller: Caller_,
    response: Response,
) -> Any:
    """Say what an outside system knows about its customer.

    Makes the customer (201) or writes the given fields over what is known (200). The same again changes nothing.
    """
    row, made = profiles.put(session, (source, external_id), body.given(), now)
    response.status_code = 201 if made else 200
    return _shown(session, row, caller, response)


@router.post("", scopes=["profile:write"], status_code=201, response_model=CustomerOut)
def create_customer(
    body: NewCustomerIn, session: Transaction, now: Now, caller: Caller_, once: Once, response: Response
) -> Any:
    """Make a customer, with or without names in outside systems."""

    def create() -> CustomerOut:
        names = [(name.source, name.external_id) for name in body.external_ids]
        customer_id = profiles.register(session, body.given(), names, now)
        response.headers["Location"] = f"/profile/v1/customers/{customer_id}"
        return _shown(session, profiles.get(session, customer_id), caller, response)

    return once(CustomerOut, create)


@router.get("/by-external-id/{source}/{external_id}", scopes=["profile:read"], response_model=CustomerOut)
def get_customer_by_external_id(
    source: Source, external_id: ExternalId, session: Transaction, caller: Caller_, response: Response
) -> Any:
    """The customer whom an outside system calls so."""
    return _shown(session, profiles.by_name(session, (source, external_id)), caller, response)


@router.get("/{customer_id}", scopes=["profile:read"], owner="customer_id", response_model=CustomerOut)
def get_customer(customer_id: UUID, session: Transaction, caller: Caller_, response: Response) -> Any:
    """A customer. The id of a merged customer answers with the one it became."""
    return _shown(session, profiles.get(session, customer_id), caller, response)


@router.patch("/{customer_id}", scopes=["profile:write"], owner="customer_id", response_model=CustomerOut)
def update_customer(
    customer_id: UUID,
    body: CustomerIn,
    session: Transaction,
    now: Now,
    caller: Caller_,
    response: Response,
    if_match: IfMatch = None,
) -> Any:
    """Change some fields (JSON merge patch): null removes, absent stays. Needs If-Match."""
    row = profiles.lock(session, customer_id)
    check_version(if_match, row.version)
    return _shown(session, profiles.change(session, row, body.given(), now), caller, response)


@router.get("", scopes=["profile:read"])
def list_customers(
    session: Transaction,
    page: Page,
    caller: Caller_,
    country: Annotated[list[Country], Query(max_length=50)] = [],  # noqa: B006
    kind: Annotated[list[Kind], Query(max_length=2)] = [],  # noqa: B006
    source: Annotated[list[Label], Query(max_length=50, description="known to this outside system")] = [],  # noqa: B006
    external_id: Annotated[list[Label], Query(max_length=50, description="known there by this name")] = [],  # noqa: B006
    created_at_gte: Annotated[When | None, Query()] = None,
    created_at_lt: Annotated[When | None, Query()] = None,
) -> PageOf[CustomerOut]:
    """Customers in the order in which they became known here."""
    rows = profiles.page(
        session,
        page.after(("created_at", "id")),
        page.limit + 1,
        countries=country,
        kinds=kind,
        sources=source,
        external_ids=external_id,
        created_at_gte=created_at_gte,
        created_at_lt=created_at_lt,
    )
    shown = _all_shown(session, rows, caller)
    return page_of(CustomerOut, shown, page, key=lambda one: (one.created_at, one.id))  # type: ignore[return-value]


def _shown(session: Session, row: Row[Any], caller: Caller, response: Response) -> CustomerOut:
    response.headers["ETag"] = etag(row.version)
    return _all_shown(session, [row], caller)[0]


def _all_shown(session: Session, rows: Sequence[Row[Any]], caller: Caller) -> list[CustomerOut]:
    names = profiles.names_of(session, [row.customer_id for row in rows])
    may_see = caller.may("pii:read") or caller.customer_id is not None
    personal: Sequence[dict[str, str | None]]
    personal = (
        profiles.personal_of(session, rows) if may_see else [dict.fromkeys(profiles.PERSONAL)] * len(rows)
    )
    return [
        CustomerOut.model_validate(
            dict(row._mapping)
            | clear
            | {
                "id": row.customer_id,
                "personal_data": "shown" if may_see else "withheld",
                "external_ids": [
                    CustomerName(source=source, external_id=name) for source, name in names[row.customer_id]
                ],
            }
        )
        for row, clear in zip(rows, personal, strict=True)
    ]
