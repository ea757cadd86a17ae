"""/activities: what people do before they buy."""

from datetime import datetime, timedelta
from typing import Annotated, Any, Literal
from uuid import UUID

from fastapi import Path, Query
from pydantic import BaseModel, Field, StrictBool, StrictStr, StringConstraints

from services.profile.api.fields import CustomerId, CustomerName, Id, Label, When, Words, customer_ref
from services.profile.domain import activities, activity_types, browsing, customer_profiles
from services.profile.domain.recording import Outcome
from services.profile.rules.activities import ActivityFacts, coarse_page
from shared.http.dependencies import Caller_, Now, Transaction
from shared.http.paging import Page, PageOf, page_of
from shared.http.problem import Problem, problem_of
from shared.http.routing import Router

router = Router(prefix="/v1", tags=["activities"])

Type = Annotated[
    StrictStr, StringConstraints(pattern=r"^[a-z][a-z0-9_]{0,63}$"), Field(examples=["product_view"])
]
TypeName = Annotated[str, Path(pattern=r"^[a-z][a-z0-9_]{0,63}$", examples=["video_watched"])]
Count = Annotated[int, Field(strict=True, ge=0, le=2**31 - 1)]
Number = Annotated[float, Field(strict=True, ge=-(10**15), le=10**15)]


class ActivityIn(BaseModel):
    """One activity, named by `source` and `external_id` or by an `id` of the sender's.

    `customer` or `device_id` says who it was, or both. A device id is kept as a keyed hash only. What was searched for
    (`query`) is kept under seal for a known customer and not at all for an unknown device; a `page` is kept as its path,
    with `:id` for every step that holds an address or a number.
    """

    id: UUID | None = None
    source: Id | None = Field(default=None, examples=["web"])
    external_id: Id | None = Field(default=None, examples=["e-1001"])
    type: Type
    occurred_at: When
    customer: Annotated[CustomerName | CustomerId | None, Field(union_mode="left_to_right")] = None
    device_id: Id | None = Field(default=None, examples=["9f86d081884c7d65"])
    channel: Label | None = Field(default=None, examples=["web"])
    sku: Id | None = Field(default=None, examples=["85123A"])
    category: Id | None = None
    page: Words | None = Field(default=None, examples=["/products/lamps"])
    query: Words | None = Field(default=None, examples=["white lantern"])
    result_count: Count | None = None
    quantity: Count | None = None
    campaign_id: Label | None = None
    properties: dict[
        Annotated[str, StringConstraints(pattern=r"^[a-z][a-z0-9_]{0,63}$")], StrictBool | Number | Label
    ] = Field(default={}, max_length=20, description="as the definition of the type allows")

    def facts(self) -> ActivityFacts:
        return ActivityFacts(
            type=self.type,
            occurred_at=self.occurred_at,
            activity_id=self.id,
            source=self.source,
            external_id=self.external_id,
            customer=customer_ref(self.customer),
            device_id=self.device_id,
            channel=self.channel,
            sku=self.sku,
            category=self.category,
            page=coarse_page(self.page),
            query=self.query or None,
            result_count=self.result_count,
            quantity=self.quantity,
            campaign_id=self.campaign_id,
            properties=tuple(sorted(self.properties.items())),
        )


class ActivityBatchIn(BaseModel):
    items: list[ActivityIn] = Field(min_length=1, max_length=1000)


class ActivityBatchItemOut(BaseModel):
    """201 recorded, 200 recorded before with the same facts, else the problem."""

    status: Literal[200, 201, 409, 410, 422]
    id: UUID | None = None
    customer_id: UUID | None = None
    problem: Problem | None = None


class ActivityBatchOut(BaseModel):
    items: list[ActivityBatchItemOut]


class ActivityOut(BaseModel):
    """`query` is shown to callers with the scope pii:read."""

    id: UUID
    type: str
    occurred_at: datetime
    recorded_at: datetime
    historical: bool
    channel: str | None
    sku: str | None
    category: str | None
    page: str | None
    query: str | None
    result_count: int | None
    quantity: int | None
    campaign_id: str | None
    properties: dict[str, bool | float | str]


class PropertyDefinition(BaseModel):
    """What a property may hold; never free text, which could hold anybody's name."""

    kind: Literal["number", "boolean", "code"]
    values: list[Label] = Field(default=[], max_length=100, description="of a code: those that there are")


class ActivityTypeIn(BaseModel):
    description: Words | None = None
    properties: dict[
        Annotated[str, StringConstraints(pattern=r"^[a-z][a-z0-9_]{0,63}$")], PropertyDefinition
    ] = Field(default={}, max_length=20)


class ActivityTypeOut(BaseModel):
    name: str
    description: str | None
    properties: dict[str, PropertyDefinition]
    updated_at: datetime
    updated_by: str


class BrowsedOut(BaseModel):
    """Somebody who looked at a product and did not buy it."""

    sku: str
    customer_id: UUID
    views: int
    last_viewed_at: datetime


@router.post(
    "/activities/batch",
    scopes=["activities:write"],
    status_code=207,
    response_model=ActivityBatchOut,
    response_model_exclude_none=True,
)
def record_activities(body: ActivityBatchIn, session: Transaction, now: Now) -> ActivityBatchOut:
    """Record up to 1,000 activities, each whole or not at all.

    `items` answers in the order of the request. Safe to repeat: what was told before is 200, with other facts 409.
    """
    outcomes = activities.record_many(session, [item.facts() for item in body.items], now)
    return ActivityBatchOut(items=[_item(outcome) for outcome in outcomes])


@router.get("/customers/{customer_id}/activities", scopes=["activities:read"])
def list_customer_activities(
    customer_id: UUID,
    session: Transaction,
    page: Page,
    caller: Caller_,
    type: Annotated[list[Type], Query(max_length=20)] = [],  # noqa: A002, B006 - the name outside
) -> PageOf[ActivityOut]:
    """What a customer did, latest first."""
    owner = customer_profiles.get(session, customer_id).customer_id
    rows = activities.of_customer(
        session, owner, page.after(("-occurred_at", "-id")), page.limit + 1, types=type
    )
    queries = activities.queries_of(session, rows) if caller.may("pii:read") else [None] * len(rows)
    shown = [
        ActivityOut.model_validate(
            dict(row._mapping) | {"id": row.activity_id, "query": query, "properties": row.properties or {}}
        )
        for row, query in zip(rows, queries, strict=True)
    ]
    return page_of(ActivityOut, shown, page, key=lambda one: (one.occurred_at, one.id))  # type: ignore[return-value]


@router.put("/activity-types/{name}", scopes=["activities:write"])
def define_activity_type(
    name: TypeName, body: ActivityTypeIn, session: Transaction, caller: Caller_
) -> ActivityTypeOut:
    """Define a type of activity beside the built-in ones, and which properties it carries.

    Built in: product_view, page_view, search, add_to_cart, checkout_started, app_open.
    """
    properties = {key: definition.model_dump() for key, definition in body.properties.items()}
    row = activity_types.define(session, name, body.description, properties, caller.name)
    return ActivityTypeOut.model_validate(row._mapping)


@router.get("/activity-types", scopes=["activities:read"], reach="anyone")
def list_activity_types(session: Transaction, page: Page) -> PageOf[ActivityTypeOut]:
    """The company's own types of activities, by name."""
    after = page.after(("name",))
    rows = activity_types.listed(session, after[0] if after else None, page.limit + 1)
    return page_of(ActivityTypeOut, rows, page, key=lambda row: (row.name,))  # type: ignore[return-value]


@router.get("/reports/browsed-not-bought", scopes=["activities:read"])
def report_browsed_not_bought(
    session: Transaction,
    page: Page,
    now: Now,
    sku: Annotated[list[Id], Query(max_length=50, description="only these products")] = [],  # noqa: B006
    views: Annotated[int, Query(ge=1, le=10_000, description="at least so often")] = 2,
    since: Annotated[
        When | None, Query(description="beginning of the period; 30 days ago unless said")
    ] = None,
    before: Annotated[When | None, Query(description="its end; now unless said")] = None,
) -> PageOf[BrowsedOut]:
    """Who viewed a product repeatedly and has not bought it.

    Known customers with at least `views` views of a product in `[since, before)` and no purchase of it from `since`
    on, by product and customer.
    """
    rows = browsing.not_bought(
        session,
        skus=sku,
        views=views,
        since=since or now - timedelta(days=30),
        before=before or now,
        after=page.after(("sku", "customer_id")),
        limit=page.limit + 1,
    )
    return page_of(BrowsedOut, rows, page, key=lambda row: (row.sku, row.customer_id))  # type: ignore[return-value]


def _item(outcome: Outcome) -> ActivityBatchItemOut:
    if outcome.problem is not None:
        status: Any = outcome.problem.status
        return ActivityBatchItemOut(status=status, problem=problem_of(outcome.problem))
    known: Literal[200, 201] = 201 if outcome.state == "recorded" else 200
    return ActivityBatchItemOut(status=known, id=outcome.id, customer_id=outcome.customer_id)
