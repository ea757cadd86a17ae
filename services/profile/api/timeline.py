"""/customers/{id}/overview and /timeline: the whole customer at a glance, and everything that happened in one order."""

from collections.abc import Sequence
from datetime import datetime
from typing import Annotated, Any, Literal, TypeAlias
from uuid import UUID

from fastapi import Query, Request
from pydantic import BaseModel, Field, TypeAdapter
from sqlalchemy import Row

from services.profile.api.customer_bodies import CustomerOut, all_shown
from services.profile.api.tags import CustomerTagOut
from services.profile.domain import consents, customer_profiles, tags, timeline
from shared.http.dependencies import Caller_, Transaction
from shared.http.paging import MAX_LIMIT, Page, PageOf, PageRequest, first_page, page_of
from shared.http.routing import Router

router = Router(prefix="/v1/customers/{customer_id}", tags=["timeline"])

Kind = Literal["purchase", "return", "activity", "interaction", "consent", "referral"]
ORDER = ("-occurred_at", "-id")


class Entry(BaseModel):
    id: UUID
    occurred_at: datetime


class PurchaseEntry(Entry):
    """A purchase as it stands: `net_minor` is what is left of it, `skus` are its first five lines."""

    kind: Literal["purchase"]
    source: str
    external_id: str
    channel: str | None
    store: str | None
    currency: str
    total_minor: int
    net_minor: int
    accounting_net_minor: int
    cancelled_at: datetime | None
    line_count: int
    skus: list[str]


class ReturnEntry(Entry):
    """What came back; `purchase_id` null = nobody said of which purchase."""

    kind: Literal["return"]
    source: str
    external_id: str
    purchase_id: UUID | None
    currency: str
    amount_minor: int
    accounting_amount_minor: int


class ActivityEntry(Entry):
    kind: Literal["activity"]
    type: str
    channel: str | None
    sku: str | None
    category: str | None
    page: str | None
    quantity: int | None
    result_count: int | None
    campaign_id: str | None


class InteractionEntry(Entry):
    """A contact, without its notes."""

    kind: Literal["interaction"]
    contact: str
    direction: str
    channel: str | None
    staff_id: str | None
    outcome: str | None
    case_id: UUID | None
    next_step_due_at: datetime | None
    next_step_done_at: datetime | None


class ConsentEntry(Entry):
    """What was said about a consent, when it was collected."""

    kind: Literal["consent"]
    purpose: str
    channel: str
    state: str
    text_version: str | None


class ReferralEntry(Entry):
    """Brought somebody (`role` referrer) or was brought (referee); `other_id` is the other one."""

    kind: Literal["referral"]
    role: Literal["referrer", "referee"]
    other_id: UUID
    state: str


TimelineEntry: TypeAlias = Annotated[
    PurchaseEntry | ReturnEntry | ActivityEntry | InteractionEntry | ConsentEntry | ReferralEntry,
    Field(discriminator="kind"),
]
_ENTRIES: TypeAdapter[list[TimelineEntry]] = TypeAdapter(list[TimelineEntry])


class ConsentState(BaseModel):
    purpose: str
    channel: str
    state: str
    consent_id: UUID
    since: datetime


class SummaryOut(BaseModel):
    """Purchases of which something is left, and all that was bought minus all that came back, in the accounting
    currency (null before the first purchase); and when the customer was last seen."""

    purchase_count: int
    first_purchase_at: datetime | None
    last_purchase_at: datetime | None
    net_revenue_minor: int
    currency: str | None
    last_activity_at: datetime | None
    open_next_steps: int
    next_step_due_at: datetime | None


class OverviewOut(BaseModel):
    """A customer at a glance. `tags` say why they are there; `timeline` is its first page."""

    customer: CustomerOut
    tags: list[CustomerTagOut]
    consents: list[ConsentState]
    summary: SummaryOut
    timeline: PageOf[TimelineEntry]


@router.get("/overview", scopes=["profile:read"])
def get_customer_overview(
    customer_id: UUID,
    request: Request,
    session: Transaction,
    caller: Caller_,
    limit: Annotated[int, Query(ge=1, le=MAX_LIMIT, description="entries of the timeline")] = 20,
) -> OverviewOut:
    """The whole customer in one call: profile, tags, consents, what was bought in all, and the latest that happened.

    The cursor of its timeline is for `/timeline`.
    """
    row = customer_profiles.get(session, customer_id)
    owner = row.customer_id
    page = first_page(request, request.url.path.removesuffix("overview") + "timeline", limit)
    page.after(ORDER)
    found = timeline.summary(session, owner)
    return OverviewOut(
        customer=all_shown(session, [row], caller)[0],
        tags=[CustomerTagOut.model_validate(tag._mapping) for tag in tags.of_customer(session, owner)],
        consents=[
            ConsentState(
                purpose=one.purpose,
                channel=one.channel,
                state=one.state,
                consent_id=one.consent_id,
                since=one.in_force_from,
            )
            for one in consents.all_in_force(session, owner)
        ],
        summary=SummaryOut.model_validate(
            found | {"first_purchase_at": found["first_at"], "last_purchase_at": found["last_at"]}
        ),
        timeline=PageOf[TimelineEntry].model_validate(
            _page(timeline.page(session, owner, (), None, page.limit + 1), page)
        ),
    )


@router.get("/timeline", scopes=["profile:read"])
def list_customer_timeline(
    customer_id: UUID,
    session: Transaction,
    page: Page,
    kind: Annotated[list[Kind], Query(max_length=10, description="only these")] = [],  # noqa: B006
) -> PageOf[TimelineEntry]:
    """Everything that happened with a customer, latest first; what was merged into it included."""
    owner = customer_profiles.get(session, customer_id).customer_id
    rows = timeline.page(session, owner, kind, page.after(ORDER), page.limit + 1)
    return _page(rows, page)  # type: ignore[return-value]


def _page(rows: Sequence[Row[Any]], page: PageRequest) -> dict[str, Any]:
    entries = _ENTRIES.validate_python(
        [row.data | {"kind": row.kind, "id": row.id, "occurred_at": row.occurred_at} for row in rows]
    )
    return page_of(Entry, entries, page, key=lambda one: (one.occurred_at, one.id))
