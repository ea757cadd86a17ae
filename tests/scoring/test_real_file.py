"""The public retail file as events, against plain SQL over the file (written from the design, not from our code)."""

from datetime import datetime
from typing import Any

import duckdb
import pytest

from tests import real_file
from tests.scoring.world import World

ORDERS = """
select regexp_replace("CustomerID", '\\.0$', '') as customer, "InvoiceNo" as order_number,
    min(timezone('Europe/London', "InvoiceDate"::timestamp)) as moment,
    sum(round("Quantity"::decimal(18, 0) * "UnitPrice"::decimal(18, 4) * 100, 0)::bigint)::bigint as amount
from read_csv($file, all_varchar = true, header = true)
where "CustomerID" is not null and "CustomerID" <> ''
group by all order by moment, order_number, customer
"""

# Value score and tier of first-hour.md, over what real_file.recompute gives.
TIERS = """
with worse as (
    select customer, count(*) over () as n, rank() over (order by recency_days desc) - 1 as r,
        rank() over (order by frequency) - 1 as f, rank() over (order by monetary) - 1 as m
    from counted),
scored as (select customer, n, 20 * r + 40 * f + 40 * m as s from worse),
ranked as (select *, rank() over (order by s) - 1 as lower from scored)
select customer, case when lower >= 0.95 * n then 'platinum' when lower >= 0.8 * n then 'gold'
    when lower >= 0.5 * n then 'silver' else 'standard' end from ranked
"""


@pytest.mark.skipif(not real_file.FILE.exists(), reason=f"the public retail file is not at {real_file.FILE}")
def test_every_customer_of_the_real_file_is_scored_as_plain_sql_says(world: World) -> None:
    with duckdb.connect() as connection:
        connection.execute("set timezone = 'UTC'")
        orders = connection.execute(ORDERS, {"file": str(real_file.FILE)}).fetchall()
    for start in range(0, len(orders), 2_000):
        world.happens(*(event for order in orders[start : start + 2_000] for event in events(world, *order)))
    world.calibrated(datetime.fromisoformat(real_file.AS_OF))

    scores = everybody(world)
    expected = real_file.recompute()
    assert len(expected) == 4_372
    assert {name: real_file.told(score) for name, score in scores.items()} == expected

    with duckdb.connect() as connection:
        connection.execute(
            "create table counted (customer text, recency_days bigint, frequency bigint, monetary bigint)"
        )
        connection.executemany(
            "insert into counted values (?, ?, ?, ?)",
            [(name, row[4], row[2], row[3]) for name, row in expected.items() if row[4] is not None],
        )
        tiers = dict(connection.execute(TIERS).fetchall())
    assert {name: score["tier"]["code"] for name, score in scores.items() if score["tier"]} == tiers
    world.assert_sound()


def events(world: World, customer: str, order: str, moment: Any, amount: int) -> list[Any]:
    first = [] if customer in world.customers else [world.registered(customer)]
    if order.startswith("C"):
        return [*first, world.returned(customer, None, -amount, moment, currency="GBP")]
    return [*first, world.purchase(customer, order, amount, moment, currency="GBP", historical=True)]


def everybody(world: World) -> dict[str, dict[str, Any]]:
    names = {str(id_): name for name, id_ in world.customers.items()}
    scores: dict[str, dict[str, Any]] = {}
    parameters: dict[str, Any] = {"limit": 200}
    while True:
        page = world.scoring.client.get("/v1/scores", params=parameters).json()
        scores |= {names[item["customer_id"]]: item for item in page["items"]}
        if page["next_cursor"] is None:
            return scores
        parameters["cursor"] = page["next_cursor"]
