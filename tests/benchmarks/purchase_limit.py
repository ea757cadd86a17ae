"""The limit that the purchase route is measured against: Starlette and raw asyncpg, by hand, statement by statement.

It makes the same rows as `PUT /profile/v1/purchases/{source}/{external_id}` – purchase, lines, stream number, outbox,
pending – in one READ COMMITTED transaction, and nothing else: no authentication, no validation beyond what the
database does, no metrics. Started as `python -m tests.benchmarks.purchase_limit <port> <database url>`.
"""

import hashlib
import json
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from decimal import ROUND_HALF_UP, Decimal
from uuid import UUID

import asyncpg
import uvicorn
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from shared.ids import uuid7

TOPIC = "regulars.profile.customer.v1"
TYPE = "regulars.profile.purchase_recorded.v1"
CENT = Decimal(100)


def minor(price: str, quantity: int) -> int:
    return int((Decimal(price) * quantity * CENT).quantize(Decimal(1), rounding=ROUND_HALF_UP))


def application(database_url: str, pool_size: int) -> Starlette:
    pool: asyncpg.Pool

    async def start() -> None:
        nonlocal pool
        pool = await asyncpg.create_pool(database_url, min_size=pool_size, max_size=pool_size)

    async def put_purchase(request: Request) -> Response:
        source, external_id = request.path_params["source"], request.path_params["external_id"]
        raw = await request.body()
        body = json.loads(raw)
        now = datetime.now(UTC)
        occurred_at = datetime.fromisoformat(body["occurred_at"])
        purchase_id = uuid7()
        amounts = [minor(line["unit_price"], line["quantity"]) for line in body["lines"]]
        total = sum(amounts)
        async with pool.acquire() as connection, connection.transaction():
            customer_id: UUID = await connection.fetchval(
                "select customer_id from customer_external_id where source = $1 and external_id = $2",
                body["customer"]["source"],
                body["customer"]["external_id"],
            )
            await connection.execute(
                INSERT_PURCHASE,
                purchase_id,
                customer_id,
                source,
                external_id,
                occurred_at,
                now,
                body["currency"],
                body["channel"],
                total,
                hashlib.sha256(raw).digest(),
            )
            for number, (line, amount) in enumerate(zip(body["lines"], amounts, strict=True), 1):
                await connection.execute(
                    INSERT_LINE,
                    purchase_id,
                    number,
                    line["sku"],
                    line["description"],
                    line["quantity"],
                    Decimal(line["unit_price"]),
                    amount,
                )
            data = {
                "customer_id": str(customer_id),
                "purchase_id": str(purchase_id),
                "source": source,
                "external_id": external_id,
                "occurred_at": body["occurred_at"],
                "recorded_at": now.isoformat(),
                "historical": False,
                "currency": body["currency"],
                "channel": body["channel"],
                "total_minor": total,
                "accounting_total_minor": total,
                "lines": [
                    {**line, "line": number, "amount_minor": amount, "accounting_amount_minor": amount}
                    for number, (line, amount) in enumerate(zip(body["lines"], amounts, strict=True), 1)
                ],
            }
            sequence = await connection.fetchval(
                "insert into shared.stream (topic, key, last) values ($1, $2, 1)"
                " on conflict (topic, key) do update set last = stream.last + 1 returning last",
                TOPIC,
                str(customer_id),
            )
            row = await connection.fetchrow(
                INSERT_OUTBOX, uuid7(), TOPIC, TYPE, str(customer_id), sequence, json.dumps(data)
            )
            await connection.execute(
                "insert into shared.outbox_pending (id, created_at) values ($1, $2)",
                row["id"],
                row["created_at"],
            )
        reply = {
            "id": str(purchase_id),
            "customer_id": str(customer_id),
            "total_minor": total,
            "lines": data["lines"],
        }
        return Response(json.dumps(reply), 201, media_type="application/json")

    route = Route(
        "/profile/v1/purchases/{source}/{external_id}", put_purchase, methods=["PUT"], name="put_purchase"
    )

    @asynccontextmanager
    async def lifespan(_: Starlette) -> AsyncIterator[None]:
        await start()
        yield

    return Starlette(routes=[route], lifespan=lifespan)


INSERT_PURCHASE = """insert into purchase (purchase_id, source, external_id, customer_id, recorded_customer_id,
    occurred_at, recorded_at, historical, currency, channel, total_minor, accounting_total_minor, fingerprint)
    values ($1, $3, $4, $2, $2, $5, $6, false, $7, $8, $9, $9, $10)"""
INSERT_LINE = """insert into purchase_line (purchase_id, line, sku, description, quantity, unit_price, amount_minor,
    accounting_amount_minor) values ($1, $2, $3, $4, $5, $6, $7, $7)"""
INSERT_OUTBOX = (
    "insert into shared.outbox (event_id, topic, type, key, sequence, data)"
    " values ($1, $2, $3, $4, $5, $6::text::jsonb) returning id, created_at"
)


def main() -> None:
    port, database_url = int(sys.argv[1]), sys.argv[2]
    uvicorn.run(
        application(database_url, 8), host="127.0.0.1", port=port, log_level="warning", access_log=False
    )


if __name__ == "__main__":
    main()
