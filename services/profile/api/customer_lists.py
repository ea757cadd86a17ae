"""/customers as lists: filtered, searched, due for an update."""

import hashlib
from datetime import datetime
from itertools import takewhile
from typing import Annotated, Any, Literal
from uuid import UUID

from fastapi import Query
from pydantic import BaseModel, Field, StrictStr, StringConstraints
from sqlalchemy.orm import Session

from services.profile.api.customer_bodies import (
    CustomerOut,
    Education,
    Gender,
    Kind,
    OrganisationSize,
    all_shown,
)
from services.profile.api.fields import Country, Id, Label, Language, When, Zone
from services.profile.domain import customer_lists, regions, search, upkeep
from services.profile.domain.customer_lists import Filter, Range
from services.profile.domain.customer_values import normal_postcode, normalised
from shared.errors import Fault, Invalid
from shared.http.dependencies import Caller_, Now, Transaction
from shared.http.paging import Page, PageOf, page_of
from shared.http.routing import Router

router = Router(prefix="/v1/customers", tags=["customers"])

Many: Any = Field(default=[], max_length=50)
AttributeFilter = Annotated[
    StrictStr,
    StringConstraints(pattern=r"^[a-z][a-z0-9_]{0,49}:[^\x00-\x1f\x7f]{1,200}$"),
    Field(examples=["favourite_colour:red"]),
]


class CustomerFilterIn(BaseModel):
    """Which customers: a field repeated means either, different fields mean both; ranges are [gte, lt)."""

    kind: list[Kind] = Field(default=[], max_length=2)
    country: list[Country] = Many
    region: list[Label] = Many
    city: list[Label] = Many
    gender: list[Gender] = Field(default=[], max_length=4)
    education: list[Education] = Field(default=[], max_length=8)
    income_band: list[Label] = Many
    industry: list[Label] = Many
    organisation_size: list[OrganisationSize] = Field(default=[], max_length=6)
    interest: list[Label] = Many
    lifestyle: list[Label] = Many
    personal_value: list[Label] = Many
    language: list[Language] = Many
    time_zone: list[Zone] = Many
    acquisition_channel: list[Label] = Many
    tag: list[Label] = Many
    tier: list[Label] = Many
    staff_id: list[Label] = Many
    team: list[Label] = Many
    store: list[Label] = Many
    birthday: list[
        Annotated[StrictStr, StringConstraints(pattern=r"^(0[1-9]|1[0-2])-(0[1-9]|[12][0-9]|3[01])$")]
    ] = Field(default=[], max_length=50, description="MM-DD", examples=[["04-23"]])
    source: list[Id] = Field(default=[], max_length=50, description="known to this outside system")
    external_id: list[Id] = Field(default=[], max_length=50, description="known there by this name")
    attribute: list[AttributeFilter] = Field(
        default=[], max_length=50, description="`name:value` of a defined attribute that is not personal"
    )
    attribute_gte: list[AttributeFilter] = Field(
        default=[], max_length=20, description="`name:value`, of numbers and dates"
    )
    attribute_lt: list[AttributeFilter] = Field(default=[], max_length=20)
    area: list[
        Annotated[
            StrictStr,
            StringConstraints(pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]{0,63}:[^\x00-\x1f\x7f]{1,100}$"),
        ]
    ] = Field(
        default=[],
        max_length=20,
        description="`set:area` of a region set; areas of one set are alternatives",
        examples=[[]],
    )
    last_purchase_at_gte: When | None = None
    last_purchase_at_lt: When | None = None
    registered_at_gte: When | None = None
    registered_at_lt: When | None = None
    created_at_gte: When | None = None
    created_at_lt: When | None = None

    def filter(self, session: Session) -> Filter:
        """Raises Invalid ``attribute_filter_invalid``."""
        facets, measured = customer_lists.of_attributes(
            session, self.attribute, self.attribute_gte, self.attribute_lt
        )
        return Filter(
            facets=customer_lists.facets_of({name: getattr(self, name) for name in _FACETS}) + facets,
            measured=measured,
            sources=tuple(self.source),
            external_ids=tuple(self.external_id),
            created_at=Range(self.created_at_gte, self.created_at_lt),
            registered_at=Range(self.registered_at_gte, self.registered_at_lt),
            last_purchase_at=Range(self.last_purchase_at_gte, self.last_purchase_at_lt),
            areas=regions.asked(session, self.area),
        )


_FACETS = tuple(takewhile(lambda name: name != "source", CustomerFilterIn.model_fields))


class ListIn(CustomerFilterIn):
    include: Literal["total"] | None = Field(
        default=None, description="total: count them as well, which takes as long as there are many"
    )


class CustomersOut(PageOf[CustomerOut]):
    total: int | None = Field(default=None, description="how many there are, if asked for")


class NameIn(BaseModel):
    """An outside system's name for the customer, in one system or in any."""

    source: Id | None = Field(default=None, examples=["shop"])
    external_id: Id = Field(examples=["17850"])


class SearchIn(BaseModel):
    """What is known of the customer looked for; all of it has to be true of one customer, or of one of its contacts."""

    name: Annotated[str, Field(min_length=1, max_length=200)] | None = Field(
        default=None,
        description="whole words in any order, without case and accents; in Chinese, Japanese and Korean two or more"
        " neighbouring characters",
        examples=["王芳"],
    )
    email: Annotated[str, Field(max_length=254)] | None = Field(default=None, examples=[None])
    phone: Annotated[str, Field(max_length=40)] | None = Field(
        default=None, description="without + it is a number of `country`", examples=[None]
    )
    country: Country | None = Field(default=None, description="for a phone number without +", examples=[None])
    postcode: Annotated[str, Field(max_length=20)] | None = Field(default=None, examples=[None])
    external_id: NameIn | None = Field(default=None, examples=[None])


class DueOut(BaseModel):
    """A customer whose file lacks something or has grown old."""

    customer_id: UUID
    kind: str
    due_at: datetime = Field(description="since when something expected is missing or stale")
    completeness: int = Field(description="known fields in percent of the expected ones")
    missing: list[str]
    stale: list[str]


@router.get("", scopes=["profile:read"], reach="filtered")
def list_customers(
    session: Transaction, page: Page, caller: Caller_, query: Annotated[ListIn, Query()]
) -> CustomersOut:
    """Customers in the order in which they became known here."""
    wanted = customer_lists.within(query.filter(session), caller.reach)
    rows = customer_lists.page(session, wanted, page.after(("created_at", "id")), page.limit + 1)
    listed = page_of(
        CustomerOut, all_shown(session, rows, caller), page, key=lambda one: (one.created_at, one.id)
    )
    if query.include == "total":
        listed["total"] = customer_lists.total(session, wanted)
    return listed  # type: ignore[return-value]


@router.post("/search", scopes=["profile:read", "pii:read"], reach="filtered")
def search_customers(
    body: SearchIn, session: Transaction, page: Page, caller: Caller_
) -> PageOf[CustomerOut]:
    """Find customers by name, e-mail, phone, postcode or external id.

    Needs pii:read too, for the answer tells that somebody with this address is a customer. What is looked for stands in
    the body, so that it is in no log of addresses; pages go on with `?cursor=`, for the same body.
    """
    wanted = _wanted(body)
    digest = hashlib.sha256(body.model_dump_json().encode()).hexdigest()
    after = page.after((f"found_id of {digest}",))
    found = search.find(
        session,
        wanted,
        after[0] if after else None,
        page.limit + 1,
        external_id=body.external_id.external_id if body.external_id else None,
        source=body.external_id.source if body.external_id else None,
        reach=caller.reach,
    )
    listed = found[: page.limit]
    meant = list(dict.fromkeys(match.customer_id for match in listed))
    return {  # type: ignore[return-value]
        "items": all_shown(session, customer_lists.rows_of(session, meant), caller),
        "next_cursor": page.cursor_after((listed[-1].found_id,)) if len(found) > page.limit else None,
    }


@router.get("/due", scopes=["profile:read"], reach="filtered")
def list_due_customers(
    session: Transaction,
    page: Page,
    now: Now,
    caller: Caller_,
    kind: Annotated[list[Kind], Query(max_length=2)] = [],  # noqa: B006
    completeness_lt: Annotated[int | None, Query(ge=0, le=101)] = None,
) -> PageOf[DueOut]:
    """Customers of whom something expected is missing or stale, the longest overdue first."""
    order = ("due_at", "customer_id")
    rows = upkeep.due(
        session,
        now,
        page.after(order),
        page.limit + 1,
        kinds=kind,
        completeness_lt=completeness_lt,
        reach=caller.reach,
    )
    held = upkeep.standard(session)
    due = []
    for row in rows:
        fresh = upkeep.freshness(held, row, now)
        due.append(
            DueOut(
                customer_id=row.customer_id,
                kind=row.kind,
                due_at=row.due_at,
                completeness=fresh.completeness,
                missing=list(fresh.missing),
                stale=list(fresh.stale),
            )
        )
    return page_of(DueOut, due, page, key=lambda one: (one.due_at, one.customer_id))  # type: ignore[return-value]


def _wanted(body: SearchIn) -> dict[str, str]:
    """Raises Invalid ``search_empty``, ``email_invalid``, ``phone_invalid``, ``name_unsearchable``."""
    given = {name: value for name in ("name", "email", "phone") if (value := getattr(body, name)) is not None}
    values = normalised(given, body.country)
    if body.postcode is not None:
        values["postcode"] = normal_postcode(body.postcode)
    if body.name is not None and not search.is_searchable(body.name):
        raise _unusable("name", "name_unsearchable", "a name needs a word, or two neighbouring characters")
    wanted = {name: value for name, value in values.items() if value is not None}
    if not wanted and body.external_id is None:
        raise _unusable("name", "search_empty", "say at least one thing about the customer")
    return wanted


def _unusable(field: str, code: str, message: str) -> Invalid:
    return Invalid(code, message, faults=[Fault(f"/{field}", code, message)])
