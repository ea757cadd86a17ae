"""A service with the least that lets the foundation show what it does."""

from datetime import datetime
from pathlib import Path
from typing import Annotated, Any
from uuid import UUID

from fastapi import Query, Request, Response
from pydantic import BaseModel, ConfigDict, Field
from sqlalchemy import Column, DateTime, Integer, Table, Text, Uuid, func, insert, select, tuple_, update
from starlette.concurrency import run_in_threadpool

from shared.database import new_metadata
from shared.errors import Conflict, NotFound
from shared.http.dependencies import Caller_, Now, Transaction
from shared.http.idempotency import Once, RequiredOnce
from shared.http.paging import Page, PageOf, page_of
from shared.http.routing import Router
from shared.http.versions import IfMatch, check_version, etag
from shared.ids import uuid7
from shared.service import Service

metadata = new_metadata()
item = Table(
    "item",
    metadata,
    Column("item_id", Uuid, primary_key=True),
    Column("name", Text, nullable=False),
    Column("price", Integer, nullable=False),
    Column("version", Integer, nullable=False, server_default="1"),
    Column("created_at", DateTime(timezone=True), nullable=False, server_default=func.now()),
)
sale = Table(
    "sale",
    metadata,
    Column("sale_id", Uuid, primary_key=True),
    Column("customer_id", Uuid, nullable=False),
    Column("item", Text),
)

items = Router(prefix="/v1/items", tags=["items"])
sales = Router(prefix="/v1/customers", tags=["sales"])
odd = Router(prefix="/v1/odd", tags=["odd"], include_in_schema=False)


class ItemIn(BaseModel):
    model_config = ConfigDict(extra="forbid")

    name: str = Field(min_length=1, max_length=200)
    price: int = Field(ge=0, le=1_000_000)
    tags: list[Annotated[str, Field(max_length=50)]] = Field(default=[], max_length=20)


class ItemOut(BaseModel):
    item_id: UUID
    name: str
    price: int
    version: int
    created_at: datetime


class SaleIn(BaseModel):
    item: str = Field(max_length=200)


class SaleOut(BaseModel):
    sale_id: UUID
    customer_id: UUID
    item: str


@items.post("", scopes=["items:write"], status_code=201)
def create_item(body: ItemIn, session: Transaction, now: Now, once: Once, response: Response) -> ItemOut:
    """Put a new item on the shelf."""

    def create() -> ItemOut:
        made = ItemOut(item_id=uuid7(), name=body.name, price=body.price, version=1, created_at=now)
        session.execute(insert(item).values(**made.model_dump()))
        response.headers["Location"] = f"/shop/v1/items/{made.item_id}"
        return made

    return once(ItemOut, create)


@items.get("", scopes=["items:read"])
def list_items(
    session: Transaction, page: Page, price_gte: Annotated[int | None, Query(ge=0, le=2**31 - 1)] = None
) -> PageOf[ItemOut]:
    """List the items, oldest first."""
    query = select(item).order_by(item.c.created_at, item.c.item_id).limit(page.limit + 1)
    if price_gte is not None:
        query = query.where(item.c.price >= price_gte)
    if after := page.after(("created_at", "item_id")):
        query = query.where(tuple_(item.c.created_at, item.c.item_id) > tuple_(*after))
    return page_of(ItemOut, session.execute(query), page, key=lambda row: (row.created_at, row.item_id))


@items.get("/{item_id}", scopes=["items:read"])
def get_item(item_id: UUID, session: Transaction, response: Response) -> ItemOut:
    """Show one item."""
    row = session.execute(select(item).where(item.c.item_id == item_id)).first()
    if row is None:
        raise NotFound("unknown_item", "there is no such item")
    response.headers["ETag"] = etag(row.version)
    return ItemOut.model_validate(row, from_attributes=True)


@items.patch("/{item_id}", scopes=["items:write"])
def update_item(
    item_id: UUID, body: ItemIn, session: Transaction, response: Response, if_match: IfMatch = None
) -> ItemOut:
    """Change an item that was read before."""
    row = session.execute(select(item).where(item.c.item_id == item_id).with_for_update()).first()
    if row is None:
        raise NotFound("unknown_item", "there is no such item")
    check_version(if_match, row.version)
    changed = update(item).where(item.c.item_id == item_id)
    row = session.execute(
        changed.values(name=body.name, price=body.price, version=item.c.version + 1).returning(item)
    ).one()
    response.headers["ETag"] = etag(row.version)
    return ItemOut.model_validate(row, from_attributes=True)


@sales.post("/{customer_id}/sales", scopes=["sales:write"], owner="customer_id", status_code=201)
def record_sale(customer_id: UUID, body: SaleIn, session: Transaction, once: RequiredOnce) -> SaleOut:
    """Sell something, once."""

    def sell() -> dict[str, Any]:
        made = {"sale_id": uuid7(), "customer_id": customer_id, "item": body.item}
        session.execute(insert(sale).values(made))
        if body.item == "sold out":
            raise Conflict("out_of_stock", "none is left")
        return made

    return once(SaleOut, sell)


@sales.get("/{customer_id}/sales", scopes=["sales:read"], owner="customer_id")
def list_sales(customer_id: UUID, session: Transaction) -> list[SaleOut]:
    """List what a customer bought."""
    rows = session.execute(select(sale).where(sale.c.customer_id == customer_id))
    return [SaleOut.model_validate(row, from_attributes=True) for row in rows]


@odd.get("/caller", scopes=["odd:read"])
def get_caller(caller: Caller_) -> dict[str, str]:
    return {"name": caller.name, "credential_id": caller.credential_id}


@odd.get("/unexpected", scopes=["odd:read"])
def get_unexpected(session: Transaction) -> None:
    session.execute(insert(item).values(item_id=uuid7(), name="Wang Fang", price=1))
    raise RuntimeError("Wang Fang, 1 Peace Road")


@odd.get("/late-failure", scopes=["odd:read"])
def get_late_failure(session: Transaction) -> dict[str, str]:
    """What only the commit refuses must not be answered with 200."""
    connection = session.connection()
    connection.exec_driver_sql("create temp table parent (id int primary key) on commit drop")
    connection.exec_driver_sql(
        "create temp table child (id int references parent deferrable initially deferred) on commit drop"
    )
    connection.exec_driver_sql("insert into child values (1)")
    return {"status": "fine"}


@odd.get("/awaited", scopes=["odd:read"])
async def get_awaited(session: Transaction) -> dict[str, int]:
    return {"one": await run_in_threadpool(session.scalar, select(1))}


@odd.post("/length", scopes=["odd:write"], streaming=True)
async def measure_length(request: Request) -> dict[str, int]:
    return {"length": sum([len(chunk) async for chunk in request.stream()])}


@odd.get("/files/{path:path}", scopes=["odd:read"])
def get_file(path: str) -> dict[str, str]:
    return {"path": path}


@odd.get("/names/{name}", scopes=["odd:read"])
def get_name(name: str, first: str = "") -> dict[str, str]:
    return {"name": name, "first": first}


@odd.delete("/names/{name}", scopes=["odd:write"], status_code=204)
def delete_name(name: str) -> None:
    pass


@odd.get("/names/latest", scopes=["odd:read"])
def get_latest_name() -> dict[str, str]:
    return {"latest": "王芳"}


@odd.get("/hosted", public=True)
def get_hosted_page() -> Response:
    return Response("<p>你好</p>", media_type="text/html")


ROUTERS = (items, sales, odd)
SERVICE = Service(
    name="shop",
    metadata=metadata,
    migrations=Path(__file__).parent / "migrations",
    api=__name__,
)
