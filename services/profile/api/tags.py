"""Tags of customers: by hand, by rule, in bulk; why they are there and how they came and went."""

from datetime import datetime
from typing import Annotated, Any, Literal
from uuid import UUID

from fastapi import Path, Response
from pydantic import BaseModel, Field

from services.profile.api.customer_lists import CustomerFilterIn
from services.profile.api.fields import Label, When
from services.profile.domain import customer_profiles, tag_rules, tags
from shared.http.dependencies import Caller_, Now, Transaction
from shared.http.idempotency import Once
from shared.http.paging import Page, PageOf, page_of
from shared.http.routing import Router
from shared.http.versions import IfMatch, check_version, etag
from shared.jobs import jobs

router = Router(prefix="/v1", tags=["tags"])

Tag = Annotated[
    str, Path(min_length=1, max_length=100, pattern=r"^[^\x00-\x1f\x7f]*$", examples=["wine-lover"])
]
RuleName = Annotated[str, Path(pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]{0,63}$", examples=["wine-lovers"])]
Days = Annotated[int, Field(strict=True, ge=1, le=36_500)]
Number = Annotated[int, Field(strict=True, ge=-(10**15), le=10**15)]


class CustomerTagOut(BaseModel):
    """A reason for a tag. `source` is hand, bulk, import or `rule:<name>`; one tag may have several."""

    tag: str
    source: str
    since: datetime
    expires_at: datetime | None
    given_by: str


class CustomerTagsOut(BaseModel):
    items: list[CustomerTagOut]


class TagIn(BaseModel):
    expires_at: When | None = Field(default=None, description="stays unless said")


class TagChangeOut(BaseModel):
    tag: str
    action: str = Field(description="added, removed, expired")
    source: str
    expires_at: datetime | None
    changed_at: datetime
    changed_by: str


class ConditionsIn(CustomerFilterIn):
    """Which customers; all of it has to be true. What lists filter by, and what only makes sense over time."""

    without_tag: list[Label] = Field(default=[], max_length=50)
    registered_within_days: Days | None = None
    registered_days_ago: Days | None = Field(default=None, description="at least so long ago")
    purchased_within_days: Days | None = Field(default=None, description="the last purchase")
    purchased_days_ago: Days | None = Field(
        default=None, description="the last purchase, at least so long ago"
    )
    purchase_count_gte: Number | None = Field(
        default=None, description="purchases of which something is left"
    )
    purchase_count_lt: Number | None = None
    net_revenue_minor_gte: Number | None = Field(
        default=None, description="of matched purchases and returns, in the accounting currency"
    )
    net_revenue_minor_lt: Number | None = None
    counted_days: Days | None = Field(
        default=None, description="count purchases and revenue of the last days only"
    )

    def stored(self) -> dict[str, Any]:
        return self.model_dump(mode="json", exclude_defaults=True)


class TagRuleIn(BaseModel):
    tag: Label = Field(examples=["wine-lover"])
    conditions: ConditionsIn
    enabled: bool = Field(default=True, strict=True)


class TagRuleOut(BaseModel):
    name: str
    tag: str
    conditions: ConditionsIn
    enabled: bool
    version: int
    created_at: datetime
    updated_at: datetime
    updated_by: str
    evaluated_at: datetime | None
    tagged_count: int | None = Field(description="who has the tag by this rule, as of the last evaluation")


class TagsChangeIn(BaseModel):
    """For the customers of a filter, or for up to 1,000 named by their ids."""

    action: Literal["add", "remove"]
    tag: Label
    expires_at: When | None = None
    conditions: ConditionsIn | None = None
    customer_ids: list[UUID] = Field(default=[], max_length=1000)


class TagJobOut(BaseModel):
    """The job is at the Location."""

    id: UUID
    kind: str
    state: str


@router.get("/customers/{customer_id}/tags", scopes=["profile:read"])
def list_customer_tags(customer_id: UUID, session: Transaction) -> CustomerTagsOut:
    """Why a customer has which tags."""
    owner = customer_profiles.get(session, customer_id).customer_id
    return _tags(tags.of_customer(session, owner))


@router.put("/customers/{customer_id}/tags/{tag}", scopes=["tags:write"])
def add_customer_tag(
    customer_id: UUID, tag: Tag, body: TagIn, session: Transaction, now: Now, caller: Caller_
) -> CustomerTagsOut:
    """Tag a customer by hand. Again changes the end only."""
    customer_profiles.get(session, customer_id)
    tags.add(session, [tags.Tagging(customer_id, tag, body.expires_at)], tags.HAND, caller.name, now)
    return list_of(session, customer_id)


@router.delete("/customers/{customer_id}/tags/{tag}", scopes=["tags:write"])
def remove_customer_tag(
    customer_id: UUID, tag: Tag, session: Transaction, now: Now, caller: Caller_
) -> CustomerTagsOut:
    """Take a tag away, whoever gave it. What a rule gives, the rule alone takes away."""
    customer_profiles.get(session, customer_id)
    tags.remove(session, [(customer_id, tag)], None, caller.name, now)
    return list_of(session, customer_id)


@router.get("/customers/{customer_id}/tags/history", scopes=["profile:read"])
def list_customer_tag_history(customer_id: UUID, session: Transaction, page: Page) -> PageOf[TagChangeOut]:
    """How a customer's tags came and went, latest first."""
    owner = customer_profiles.get(session, customer_id).customer_id
    rows = tags.history(session, owner, page.after(("-change_id",)), page.limit + 1)
    return page_of(TagChangeOut, rows, page, key=lambda row: (row.change_id,))  # type: ignore[return-value]


@router.put(
    "/tag-rules/{name}",
    scopes=["tags:write"],
    response_model=TagRuleOut,
    responses={201: {"model": TagRuleOut, "description": "It is new."}},
)
def save_tag_rule(
    name: RuleName,
    body: TagRuleIn,
    session: Transaction,
    now: Now,
    caller: Caller_,
    response: Response,
    if_match: IfMatch = None,
) -> Any:
    """Say whom a tag is for. Rules are evaluated every hour, and when asked.

    With If-Match only the version named is changed; without it the rule is made or replaced.
    """
    if if_match is not None:
        check_version(if_match, tag_rules.get(session, name, lock=True).version)
    conditions = body.conditions.stored()
    tag_rules.conditions_of(session, conditions, now)  # refuses what cannot be evaluated
    row, new = tag_rules.save(session, name, body.tag, conditions, body.enabled, caller.name)
    response.status_code = 201 if new else 200
    response.headers["ETag"] = etag(row.version)
    return TagRuleOut.model_validate(row._mapping)


@router.get("/tag-rules", scopes=["profile:read"])
def list_tag_rules(session: Transaction, page: Page) -> PageOf[TagRuleOut]:
    """Rules by name."""
    after = page.after(("name",))
    rows = tag_rules.listed(session, after[0] if after else None, page.limit + 1)
    return page_of(TagRuleOut, rows, page, key=lambda row: (row.name,))  # type: ignore[return-value]


@router.get("/tag-rules/{name}", scopes=["profile:read"], response_model=TagRuleOut)
def get_tag_rule(name: RuleName, session: Transaction, response: Response) -> Any:
    """A rule."""
    row = tag_rules.get(session, name)
    response.headers["ETag"] = etag(row.version)
    return TagRuleOut.model_validate(row._mapping)


@router.delete("/tag-rules/{name}", scopes=["tags:write"], status_code=202)
def delete_tag_rule(name: RuleName, session: Transaction, caller: Caller_, response: Response) -> TagJobOut:
    """Do away with a rule; a job takes away what it gave."""
    tag_rules.retire(session, name)
    return _evaluation(session, name, caller.name, response)


@router.post("/tag-rules/{name}/evaluate", scopes=["tags:write"], status_code=202)
def evaluate_tag_rule(
    name: RuleName, session: Transaction, caller: Caller_, once: Once, response: Response
) -> TagJobOut:
    """Evaluate a rule now."""
    tag_rules.get(session, name)
    return once(TagJobOut, lambda: _evaluation(session, name, caller.name, response))


@router.post("/tag-changes", scopes=["tags:write"], status_code=202)
def change_tags(
    body: TagsChangeIn, session: Transaction, now: Now, caller: Caller_, once: Once, response: Response
) -> TagJobOut:
    """Tag many customers, or take a tag away from many: those of a filter, or those named by id.

    A job does it in portions. An empty filter means everybody; without a filter and without ids it is for nobody.
    """

    def start() -> TagJobOut:
        parameters = body.model_dump(mode="json", exclude={"conditions"})
        if body.conditions is not None:
            parameters["conditions"] = body.conditions.stored()
            tag_rules.conditions_of(session, parameters["conditions"], now)
        return _started(session, "change_tags", parameters, caller.name, response)

    return once(TagJobOut, start)


def list_of(session: Transaction, customer_id: UUID) -> CustomerTagsOut:
    return _tags(tags.of_customer(session, customer_profiles.get(session, customer_id).customer_id))


def _tags(rows: Any) -> CustomerTagsOut:
    return CustomerTagsOut(items=[CustomerTagOut.model_validate(row._mapping) for row in rows])


def _evaluation(session: Transaction, name: str, by: str, response: Response) -> TagJobOut:
    return _started(session, "evaluate_tag_rule", {"name": name}, by, response)


def _started(
    session: Transaction, kind: str, parameters: dict[str, Any], by: str, response: Response
) -> TagJobOut:
    job_id = jobs.create(session, kind, parameters, created_by=by)
    response.headers["Location"] = f"/profile/v1/jobs/{job_id}"
    return TagJobOut(id=job_id, kind=kind, state="queued")
