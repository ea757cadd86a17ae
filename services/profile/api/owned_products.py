"""/owned-products: things that customers own, with their serial numbers and warranties."""

from datetime import date, datetime
from typing import Annotated, Any, Literal
from uuid import UUID

from fastapi import Query, Response
from pydantic import BaseModel, Field, StrictStr, StringConstraints
from sqlalchemy import Row
from sqlalchemy.orm import Session

from services.profile.api.fields import Day, Id, Quantity
from services.profile.api.returns import PurchaseName
from services.profile.domain import owned_products
from services.profile.domain.owned_products import Registration
from shared.auth.callers import Caller
from shared.http.dependencies import Caller_, Now, Transaction
from shared.http.idempotency import Once
from shared.http.paging import Page, PageOf, page_of
from shared.http.routing import Router

router = Router(prefix="/v1", tags=["owned products"])

# A code, never a text about somebody.
Reason = Annotated[StrictStr, StringConstraints(pattern=r"^[a-z][a-z0-9_]{0,49}$")]


class PurchasedLine(PurchaseName):
    line: Quantity = Field(default=1, description="the purchase's line, from 1")


class OwnedProductIn(BaseModel):
    """A thing: of a sku, or of a line of a purchase."""

    sku: Id | None = None
    purchase: PurchasedLine | None = None
    serial_number: Id | None = Field(default=None, description="unique per sku, whatever its case")
    acquired_on: Day | None = Field(default=None, description="the day of the purchase unless said")
    warranty_until: Day | None = Field(default=None, description="its last day")


class ExtensionIn(BaseModel):
    until: Day = Field(description="the new last day")
    reason: Reason = Field(examples=["benefit"])
    reference: Id | None = Field(default=None, description="a campaign, a case", examples=["summer-care"])


class ExtensionOut(BaseModel):
    previous_until: date | None
    until: date
    reason: str
    reference: str | None
    extended_at: datetime
    extended_by: str


class OwnedProductOut(BaseModel):
    """The serial number is shown to callers with the scope pii:read and to the customer."""

    id: UUID
    customer_id: UUID
    sku: str
    personal_data: Literal["shown", "withheld"]
    serial_number: str | None
    purchase_id: UUID | None
    line: int | None
    acquired_on: date | None
    warranty_until: date | None
    extensions: list[ExtensionOut]
    registered_at: datetime


@router.post(
    "/customers/{customer_id}/owned-products",
    scopes=["profile:write"],
    owner="customer_id",
    status_code=201,
    response_model=OwnedProductOut,
    responses={200: {"model": OwnedProductOut, "description": "This serial number was registered before"}},
)
def register_owned_product(
    customer_id: UUID,
    body: OwnedProductIn,
    session: Transaction,
    now: Now,
    caller: Caller_,
    once: Once,
    response: Response,
) -> Any:
    """Register a thing that a customer owns.

    Of a line of a purchase as many can be registered as were bought and kept. A serial number belongs to one customer;
    registered by the same one again, it answers with what is there.
    """

    def register() -> OwnedProductOut:
        bought = body.purchase
        facts = Registration(
            body.sku,
            None if bought is None else (bought.source, bought.external_id, bought.line),
            body.serial_number,
            body.acquired_on,
            body.warranty_until,
        )
        row, new = owned_products.register(session, customer_id, facts, now)
        response.status_code = 201 if new else 200
        response.headers["Location"] = f"/profile/v1/owned-products/{row.owned_product_id}"
        return _all(session, [row], caller)[0]

    return once(OwnedProductOut, register)


@router.get("/customers/{customer_id}/owned-products", scopes=["profile:read"], owner="customer_id")
def list_customer_owned_products(
    customer_id: UUID, session: Transaction, page: Page, caller: Caller_
) -> PageOf[OwnedProductOut]:
    """What a customer owns, registered latest first."""
    after = page.after(("-registered_at", "-id"))
    rows = owned_products.of_customer(session, customer_id, after, page.limit + 1)
    shown = _all(session, rows, caller)
    return page_of(OwnedProductOut, shown, page, key=lambda one: (one.registered_at, one.id))  # type: ignore[return-value]


@router.get("/owned-products", scopes=["profile:read"])
def list_owned_products(
    session: Transaction,
    page: Page,
    caller: Caller_,
    sku: Annotated[Id | None, Query()] = None,
    serial_number: Annotated[
        Id | None, Query(description="the one that bears it, with or without a warranty")
    ] = None,
    warranty_until_gte: Annotated[Day | None, Query()] = None,
    warranty_until_lt: Annotated[Day | None, Query()] = None,
) -> PageOf[OwnedProductOut]:
    """Things with a warranty, the earliest end first."""
    rows = owned_products.page(
        session,
        page.after(("warranty_until", "id")),
        page.limit + 1,
        sku=sku,
        serial_number=serial_number,
        warranty_until_gte=warranty_until_gte,
        warranty_until_lt=warranty_until_lt,
    )
    shown = _all(session, rows, caller)
    return page_of(OwnedProductOut, shown, page, key=lambda one: (one.warranty_until, one.id))  # type: ignore[return-value]


@router.get("/owned-products/{owned_product_id}", scopes=["profile:read"])
def get_owned_product(owned_product_id: UUID, session: Transaction, caller: Caller_) -> OwnedProductOut:
    """A thing that somebody owns."""
    return _all(session, [owned_products.get(session, owned_product_id)], caller)[0]


@router.post(
    "/owned-products/{owned_product_id}/warranty-extensions",
    scopes=["profile:write"],
    status_code=201,
    response_model=OwnedProductOut,
)
def extend_warranty(
    owned_product_id: UUID, body: ExtensionIn, session: Transaction, now: Now, caller: Caller_, once: Once
) -> Any:
    """Let a warranty end later, with the reason; every extension is kept."""

    def extend() -> OwnedProductOut:
        row = owned_products.extend(
            session, owned_product_id, body.until, body.reason, body.reference, caller.name, now
        )
        return _all(session, [row], caller)[0]

    return once(OwnedProductOut, extend)


@router.delete("/owned-products/{owned_product_id}", scopes=["profile:write"], status_code=204)
def remove_owned_product(owned_product_id: UUID, session: Transaction) -> None:
    """Forget a thing: given away, thrown away, registered in error."""
    owned_products.remove(session, owned_product_id)


def _all(session: Session, rows: Any, caller: Caller) -> list[OwnedProductOut]:
    clear = caller.may("pii:read") or caller.customer_id is not None
    found: list[Row[Any]] = list(rows)
    personal = "shown" if clear else "withheld"
    return [
        OwnedProductOut(**one, personal_data=personal)
        for one in owned_products.shown(session, found, clear=clear)
    ]
