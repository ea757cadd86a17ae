"""/products: what there is to buy."""

from datetime import datetime
from decimal import Decimal
from typing import Annotated, Any, Literal
from uuid import UUID

from fastapi import Path, Query, Response
from pydantic import BaseModel, Field, StrictBool, StrictStr, StringConstraints
from sqlalchemy import Row

from services.profile.api.fields import PRINTABLE, Currency, Id, Label, Price
from services.profile.domain import products
from services.profile.domain.products import Outcome
from services.profile.rules.products import LONGEST_CATEGORY, missing
from shared.http.dependencies import Now, Transaction
from shared.http.paging import Page, PageOf, page_of
from shared.http.problem import Problem, problem_of
from shared.http.routing import Router
from shared.http.versions import IfMatch, check_version, etag
from shared.money import to_decimal

router = Router(prefix="/v1/products", tags=["products"])

Sku = Annotated[str, Path(min_length=1, max_length=200, pattern=PRINTABLE, examples=["85123A"])]
ProductName = Annotated[StrictStr, StringConstraints(min_length=1, max_length=300, pattern=PRINTABLE)]
Category = Annotated[
    StrictStr,
    StringConstraints(min_length=1, max_length=LONGEST_CATEGORY, pattern=PRINTABLE),
    Field(description="a path from the widest to the narrowest", examples=["Home/Kitchen/Mugs"]),
]
Stock = Annotated[
    int, Field(strict=True, ge=-(10**12), le=10**12, description="pieces; below zero: oversold")
]


class PriceIn(BaseModel):
    """A price for one piece."""

    amount: Price
    currency: Currency | None = Field(default=None, description="the accounting currency unless said")


class ProductIn(BaseModel):
    """What is known of a product. A field that is absent stays as it is, null removes it."""

    name_zh: ProductName | None = Field(default=None, examples=["白色心形挂灯"])
    name_en: ProductName | None = Field(default=None, examples=["White hanging heart light"])
    brand: Label | None = None
    category: Category | None = None
    price: PriceIn | None = None
    stock: Stock | None = None
    replenishable: StrictBool | None = Field(default=None, description="it is used up and bought again")
    accessory_of: Id | None = Field(default=None, description="sku of the product that it goes with")
    active: StrictBool | None = Field(default=None, description="false = no longer sold")

    def given(self) -> dict[str, Any]:
        given = self.model_dump(exclude_unset=True, exclude={"price", "sku"})
        if "price" in self.model_fields_set:
            given["price"] = None if self.price is None else Decimal(self.price.amount)
            given["currency"] = None if self.price is None else self.price.currency
        return given


class PriceOut(BaseModel):
    amount: str
    amount_minor: int
    currency: str


class ProductOut(BaseModel):
    id: UUID
    sku: str
    name_zh: str | None
    name_en: str | None
    brand: str | None
    category: str | None
    price: PriceOut | None
    stock: int | None
    replenishable: bool
    accessory_of: str | None
    active: bool
    complete: bool
    missing: list[str] = Field(description="what would make it complete")
    described_as: str | None = Field(description="what the first purchase of an unknown sku called it")
    created_at: datetime
    updated_at: datetime
    version: int


class ProductItemIn(ProductIn):
    sku: Id = Field(examples=["85123A"])


class ProductBatchIn(BaseModel):
    items: list[ProductItemIn] = Field(min_length=1, max_length=1000)


class ProductItemOut(BaseModel):
    """201 made, 200 changed or as it was, else the problem."""

    status: Literal[200, 201, 422]
    id: UUID | None = None
    problem: Problem | None = None


class ProductBatchOut(BaseModel):
    items: list[ProductItemOut]


@router.put(
    "/{sku}",
    scopes=["products:write"],
    response_model=ProductOut,
    responses={201: {"model": ProductOut, "description": "The product was made"}},
)
def put_product(
    sku: Sku,
    body: ProductIn,
    session: Transaction,
    now: Now,
    response: Response,
    if_match: IfMatch = None,
) -> Any:
    """Say what is known of a product.

    Makes it (201) or writes the given fields over what is known (200); with If-Match only the version named is
    changed. The same again changes nothing.
    """
    if if_match is not None:
        check_version(if_match, products.get(session, sku, lock=True).version)
    outcome = products.put(session, sku, body.given(), now)
    response.status_code = 201 if outcome.state == "made" else 200
    return _shown(products.get(session, sku), response)


@router.post(
    "/batch",
    scopes=["products:write"],
    status_code=207,
    response_model=ProductBatchOut,
    response_model_exclude_none=True,
)
def put_products(body: ProductBatchIn, session: Transaction, now: Now) -> ProductBatchOut:
    """Say what is known of up to 1,000 products, each whole or not at all, in one transaction.

    `items` answers in the order of the request. Safe to repeat.
    """
    outcomes = products.put_many(session, [(item.sku, item.given()) for item in body.items], now)
    return ProductBatchOut(items=[_item(outcome) for outcome in outcomes])


@router.get("/{sku}", scopes=["products:read"], reach="anyone", response_model=ProductOut)
def get_product(sku: Sku, session: Transaction, response: Response) -> Any:
    """A product of the catalogue."""
    return _shown(products.get(session, sku), response)


@router.get("", scopes=["products:read"], reach="anyone")
def list_products(
    session: Transaction,
    page: Page,
    complete: Annotated[
        bool | None, Query(description="false = those that only purchases spoke of, for completion")
    ] = None,
    active: Annotated[bool | None, Query()] = None,
    replenishable: Annotated[bool | None, Query()] = None,
    brand: Annotated[list[Label], Query(max_length=50)] = [],  # noqa: B006
    category: Annotated[list[Category], Query(max_length=20, description="this one or below it")] = [],  # noqa: B006
    accessory_of: Annotated[Id | None, Query()] = None,
) -> PageOf[ProductOut]:
    """Products by sku."""
    rows = products.page(
        session,
        page.after(("sku",)),
        page.limit + 1,
        categories=category,
        brand=brand,
        complete=complete,
        active=active,
        replenishable=replenishable,
        accessory_of=accessory_of,
    )
    shown = [_out(row) for row in rows]
    return page_of(ProductOut, shown, page, key=lambda one: (one.sku,))  # type: ignore[return-value]


def _item(outcome: Outcome) -> ProductItemOut:
    if outcome.problem is not None:
        return ProductItemOut(status=422, problem=problem_of(outcome.problem))
    return ProductItemOut(status=201 if outcome.state == "made" else 200, id=outcome.product_id)


def _shown(row: Any, response: Response) -> ProductOut:
    response.headers["ETag"] = etag(row.version)
    return _out(row)


def _out(found: Row[Any]) -> ProductOut:
    row = found._asdict()
    price = None
    if row["price_minor"] is not None:
        price = PriceOut(
            amount=format(to_decimal(row["price_minor"], row["currency"]), "f"),
            amount_minor=row["price_minor"],
            currency=row["currency"],
        )
    return ProductOut(**row | {"price": price, "missing": missing(row)}, id=row["product_id"])
