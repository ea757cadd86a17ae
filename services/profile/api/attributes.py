"""/attributes: what a company wants to know of its customers beyond the standard, and how fresh it has to be."""

from datetime import datetime
from typing import Annotated, Any, Literal
from uuid import UUID

from fastapi import Path, Query, Response
from pydantic import BaseModel, Field, StrictBool

from services.profile.api.customer_bodies import Kind
from services.profile.api.fields import Label, Words
from services.profile.domain import attributes, upkeep
from services.profile.domain import customer_profiles as profiles
from shared.http.dependencies import Now, Transaction
from shared.http.paging import Page, PageOf, page_of
from shared.http.routing import Router
from shared.http.versions import IfMatch, check_version, etag

router = Router(tags=["attributes"])

Named = Annotated[str, Path(pattern=r"^[a-z][a-z0-9_]{0,49}$", examples=["favourite_colour"])]
FieldName = Annotated[
    str,
    Field(
        pattern=r"^(attributes\.)?[a-z][a-z0-9_]{0,49}$",
        description="a standard field, or `attributes.` and the name of a defined one",
        examples=["email"],
    ),
]
Days = Annotated[int, Field(strict=True, ge=1, le=36_500, examples=[365])]


class AttributeIn(BaseModel):
    """What an attribute is. Its type and whether it is personal stay as they were first said."""

    type: Literal["text", "number", "boolean", "date", "choice", "list"] = Field(examples=["choice"])
    description: Words | None = Field(default=None, examples=["The colour that the customer likes best"])
    allowed_values: list[Label] = Field(
        default=[], max_length=500, description="of a choice or a list", examples=[["red", "green", "blue"]]
    )
    personal: StrictBool = Field(
        default=False,
        description="sealed, shown with pii:read only, and nothing that lists can be filtered by",
    )
    required: StrictBool = Field(
        default=False,
        description="whoever makes a customer by hand must give it, nobody can remove it, and a customer without it is"
        " due for an update",
    )


class AttributeOut(AttributeIn):
    name: str
    created_at: datetime
    updated_at: datetime
    retired_at: datetime | None = Field(description="takes no values since then")
    version: int


class UpkeepIn(BaseModel):
    """What should be known of customers of a kind, and after how many days each field has to be asked again."""

    expected: list[FieldName] = Field(max_length=100, examples=[["name", "email", "phone", "country"]])
    stale_after_days: Days
    stale_after_days_of: dict[FieldName, Days | None] = Field(
        default={},
        max_length=100,
        description="exceptions; null = never",
        examples=[{"email": 180, "name": None}],
    )


class UpkeepOut(UpkeepIn):
    kind: Kind
    updated_at: datetime
    version: int


class ToldOut(BaseModel):
    """When a field was told or last confirmed, and by whom."""

    at: datetime
    source: str


class FreshnessOut(BaseModel):
    """How complete and how fresh a customer's file is, and where each field of it comes from."""

    customer_id: UUID
    completeness: int = Field(description="known fields in percent of the expected ones")
    due_at: datetime | None = Field(description="since or from when something expected is missing or stale")
    missing: list[str]
    stale: list[str]
    fields: dict[str, ToldOut]


@router.put(
    "/v1/attributes/{name}",
    scopes=["attributes:write"],
    response_model=AttributeOut,
    responses={201: {"model": AttributeOut, "description": "The attribute was defined"}},
)
def put_attribute(
    name: Named,
    body: AttributeIn,
    session: Transaction,
    now: Now,
    response: Response,
    if_match: IfMatch = None,
) -> Any:
    """Define an attribute, or change its definition.

    A new one needs no If-Match, a change does. Values that are no longer allowed stay where they are and cannot be given
    anew. A retired attribute comes back.
    """
    row, made = attributes.define(
        session,
        name,
        kind=body.type,
        **body.model_dump(exclude={"type"}),
        now=now,
        before_change=lambda version: check_version(if_match, version),
    )
    response.status_code = 201 if made else 200
    response.headers["ETag"] = etag(row.version)
    return row._mapping


@router.get("/v1/attributes", scopes=["profile:read"], reach="anyone")
def list_attributes(
    session: Transaction,
    page: Page,
    retired: Annotated[bool | None, Query(description="only retired ones, or only the others")] = None,
) -> PageOf[AttributeOut]:
    """The defined attributes, by name."""
    rows = attributes.page(session, page.after(("name",)), page.limit + 1, retired=retired)
    return page_of(AttributeOut, rows, page, key=lambda row: (row.name,))  # type: ignore[return-value]


@router.get("/v1/attributes/{name}", scopes=["profile:read"], response_model=AttributeOut, reach="anyone")
def get_attribute(name: Named, session: Transaction, response: Response) -> Any:
    """A defined attribute."""
    row = attributes.get(session, name)
    response.headers["ETag"] = etag(row.version)
    return row._mapping


@router.delete("/v1/attributes/{name}", scopes=["attributes:write"], response_model=AttributeOut)
def retire_attribute(name: Named, session: Transaction, now: Now, response: Response) -> Any:
    """Retire an attribute: it takes no values any more. What is known stays; defining it again brings it back."""
    row = attributes.retire(session, name, now)
    response.headers["ETag"] = etag(row.version)
    return row._mapping


@router.get("/v1/upkeep-policies/{kind}", scopes=["profile:read"], response_model=UpkeepOut, reach="anyone")
def get_upkeep_policy(kind: Kind, session: Transaction, response: Response) -> Any:
    """What should be known of customers of a kind, and how fresh."""
    row = upkeep.policy(session, kind)
    response.headers["ETag"] = etag(row.version)
    return row._mapping


@router.put("/v1/upkeep-policies/{kind}", scopes=["attributes:write"], response_model=UpkeepOut)
def put_upkeep_policy(
    kind: Kind, body: UpkeepIn, session: Transaction, now: Now, response: Response, if_match: IfMatch = None
) -> Any:
    """Say what should be known of customers of a kind. Needs If-Match.

    Every customer is held against it within minutes; until then the list of those due goes by the policy before.
    """
    row = upkeep.lock_policy(session, kind)
    check_version(if_match, row.version)
    row = upkeep.set_policy(session, row, body.expected, body.stale_after_days, body.stale_after_days_of, now)
    response.headers["ETag"] = etag(row.version)
    return row._mapping


@router.get("/v1/customers/{customer_id}/freshness", scopes=["profile:read"], owner="customer_id")
def get_customer_freshness(customer_id: UUID, session: Transaction, now: Now) -> FreshnessOut:
    """How complete and fresh a customer's file is, and when and from where each field of it came."""
    row = profiles.get(session, customer_id)
    fresh = upkeep.freshness(upkeep.standard(session), row, now)
    return FreshnessOut.model_validate(fresh._asdict())
