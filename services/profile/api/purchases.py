"""/purchases: what customers bought."""

from datetime import datetime
from decimal import Decimal
from typing import Annotated, Literal
from uuid import UUID

from fastapi import Response
from pydantic import BaseModel, Field, StrictBool
from pydantic_core import to_json

from services.profile.api.fields import (
    Currency,
    CustomerId,
    CustomerName,
    ExternalId,
    Id,
    Label,
    Minor,
    Price,
    Quantity,
    Rate,
    Source,
    When,
    Words,
    customer_ref,
)
from services.profile.api.returns import ReturnOut
from services.profile.domain import customer_profiles, purchase_reading, purchases
from services.profile.domain.purchase_rows import Recorded
from services.profile.domain.recording import Outcome
from services.profile.rules.facts import LineFacts, PurchaseFacts
from services.profile.rules.written_purchases import told
from shared.http.dependencies import Now, Transaction
from shared.http.paging import Page, PageOf, page_of
from shared.http.problem import Problem, problem_of
from shared.http.routing import Router

router = Router(prefix="/v1", tags=["purchases"])


class PurchaseLineIn(BaseModel):
    sku: Id = Field(examples=["85123A"])
    quantity: Quantity
    unit_price: Price
    discount_minor: Minor = Field(default=0, description="off the whole line, in minor units")
    description: Words | None = None
    brand: Label | None = None
    category: Id | None = None
    unit_cost_minor: Minor | None = None


class PurchaseIn(BaseModel):
    """A purchase as the outside tells it. `customer` null = anonymous."""

    customer: Annotated[CustomerName | CustomerId | None, Field(union_mode="left_to_right")] = None
    create_customer: StrictBool = Field(
        default=False, description="make the customer if the external id is unknown"
    )
    occurred_at: When
    currency: Currency
    exchange_rate: Rate | None = Field(
        default=None, description="needed in every currency but the accounting one"
    )
    channel: Label | None = Field(default=None, examples=["web"])
    store: Label | None = None
    staff_id: Label | None = None
    tender: Label | None = Field(default=None, examples=["card"])
    campaign_id: Label | None = None
    coupon_codes: list[Label] = Field(default=[], max_length=50)
    lines: list[PurchaseLineIn] = Field(min_length=1, max_length=2500)

    def facts(self, source: str, external_id: str) -> PurchaseFacts:
        return PurchaseFacts(
            source=source,
            external_id=external_id,
            occurred_at=self.occurred_at,
            currency=self.currency,
            lines=tuple(
                LineFacts(
                    line.sku,
                    line.quantity,
                    Decimal(line.unit_price),
                    line.discount_minor,
                    line.description,
                    line.brand,
                    line.category,
                    line.unit_cost_minor,
                )
                for line in self.lines
            ),
            customer=customer_ref(self.customer),
            exchange_rate=None if self.exchange_rate is None else Decimal(self.exchange_rate),
            channel=self.channel,
            store=self.store,
            staff_id=self.staff_id,
            tender=self.tender,
            campaign_id=self.campaign_id,
            coupon_codes=tuple(self.coupon_codes),
            create_customer=self.create_customer,
        )


class PurchaseLineOut(BaseModel):
    line: int
    sku: str
    description: str | None
    brand: str | None
    category: str | None
    quantity: int
    unit_price: str
    discount_minor: int
    amount_minor: int = Field(description="unit price × quantity, a half away from zero, minus the discount")
    accounting_amount_minor: int
    unit_cost_minor: int | None
    returned_quantity: int


class PurchaseOut(BaseModel):
    id: UUID
    source: str
    external_id: str
    customer_id: UUID | None
    occurred_at: datetime
    recorded_at: datetime
    historical: bool = Field(description="too old to start anything that reaches a person")
    currency: str
    exchange_rate: str | None
    channel: str | None
    store: str | None
    staff_id: str | None
    tender: str | None
    campaign_id: str | None
    coupon_codes: list[str]
    total_minor: int
    net_minor: int = Field(description="total minus what has come back or was called off")
    accounting_total_minor: int
    accounting_net_minor: int
    cancelled_at: datetime | None
    lines: list[PurchaseLineOut]
    returns: list[ReturnOut]


class BatchItemIn(PurchaseIn):
    source: Id = Field(examples=["shop"])
    external_id: Id = Field(examples=["536365"])


class BatchIn(BaseModel):
    items: list[BatchItemIn] = Field(min_length=1, max_length=1000)


class BatchItemOut(BaseModel):
    """201 recorded, 200 recorded before with the same facts, else the problem."""

    status: Literal[200, 201, 409, 410, 422]
    id: UUID | None = None
    customer_id: UUID | None = None
    problem: Problem | None = None


class BatchOut(BaseModel):
    items: list[BatchItemOut]


@router.put(
    "/purchases/{source}/{external_id}",
    scopes=["purchases:write"],
    status_code=201,
    response_model=PurchaseOut,
    responses={200: {"model": PurchaseOut, "description": "Recorded before with the same facts"}},
)
def record_purchase(
    source: Source, external_id: ExternalId, body: PurchaseIn, session: Transaction
) -> Response:
    """Record a purchase.

    Safe to repeat: the same facts again give 200 and the same purchase, other facts 409 `purchase_differs`.
    """
    facts = body.facts(source, external_id)
    recorded = purchases.record(session, facts)
    if recorded is None:
        known = purchase_reading.get(session, source, external_id)
        return Response(PurchaseOut(**known).model_dump_json(), 200, media_type="application/json")
    return Response(_as_recorded(facts, recorded), 201, media_type="application/json")


@router.get("/purchases/{source}/{external_id}", scopes=["purchases:read"])
def get_purchase(source: Source, external_id: ExternalId, session: Transaction) -> PurchaseOut:
    """A purchase with its lines and what has come back of it."""
    return PurchaseOut(**purchase_reading.get(session, source, external_id))


@router.post(
    "/purchases/batch",
    scopes=["purchases:write"],
    status_code=207,
    response_model=BatchOut,
    response_model_exclude_none=True,
)
def record_purchases(body: BatchIn, session: Transaction, now: Now) -> BatchOut:
    """Record up to 1,000 purchases, each whole or not at all, in one transaction.

    `items` answers in the order of the request. Safe to repeat, as every single one is.
    """
    facts = [item.facts(item.source, item.external_id) for item in body.items]
    return BatchOut(items=[_item(outcome) for outcome in purchases.record_many(session, facts, now)])


@router.get("/customers/{customer_id}/purchases", scopes=["purchases:read"], owner="customer_id")
def list_customer_purchases(customer_id: UUID, session: Transaction, page: Page) -> PageOf[PurchaseOut]:
    """What a customer bought, latest first."""
    owner = customer_profiles.get(session, customer_id).customer_id
    rows = purchase_reading.of_customer(session, owner, page.after(("-occurred_at", "-id")), page.limit + 1)
    return page_of(PurchaseOut, rows, page, key=lambda row: (row["occurred_at"], row["id"]))  # type: ignore[return-value]


def _item(outcome: Outcome) -> BatchItemOut:
    if outcome.problem is not None:
        return BatchItemOut(status=outcome.problem.status, problem=problem_of(outcome.problem))
    status: Literal[200, 201] = 201 if outcome.state == "recorded" else 200
    return BatchItemOut(status=status, id=outcome.id, customer_id=outcome.customer_id)


def _as_recorded(facts: PurchaseFacts, recorded: Recorded) -> bytes:
    """A PurchaseOut of what was just told, without asking for it: this is the busiest route of the suite."""
    amounts = recorded.amounts
    reply = told(facts, amounts) | {
        "id": str(recorded.purchase_id),
        "customer_id": None if recorded.customer_id is None else str(recorded.customer_id),
        "recorded_at": recorded.recorded_at.isoformat().replace("+00:00", "Z"),
        "historical": recorded.historical,
        "tender": facts.tender,
        "net_minor": amounts.total,
        "accounting_net_minor": amounts.accounting_total,
        "cancelled_at": None,
        "lines": [line | {"returned_quantity": 0} for line in recorded.lines],
        "returns": [],
    }
    return to_json(reply)
