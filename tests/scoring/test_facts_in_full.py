"""Where, how and what somebody bought is kept line by line; occasions are calendar days of the company's time zone."""

from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any
from uuid import uuid4

from sqlalchemy import text

from services.scoring.app import SERVICE
from shared.events.profile import ProductChanged, PurchaseLine, ReturnLine, ReturnMatched
from tests.scoring.world import NOON, World, days


def line(number: int, sku: str, amount_minor: int, **more: Any) -> PurchaseLine:
    values = {
        "line": number,
        "sku": sku,
        "quantity": 2,
        "unit_price": "1.00",
        "amount_minor": amount_minor,
        "accounting_amount_minor": amount_minor,
    }
    return PurchaseLine(**(values | more))


def rows(world: World, query: str) -> list[tuple[Any, ...]]:
    with world.scoring.sessions() as session:
        return [tuple(row) for row in session.execute(text(query))]


def product(sku: str, **more: Any) -> ProductChanged:
    return ProductChanged(
        **({"product_id": uuid4(), "sku": sku, "complete": True, "effective_at": NOON} | more)
    )


def test_a_purchase_is_kept_with_its_lines_and_repeating_it_changes_nothing(world: World) -> None:
    bought = world.purchase(
        "ann",
        "P1",
        900,
        channel="app",
        store="S1",
        campaign_id="spring",
        coupon_codes=("A", "B"),
        lines=(
            line(1, "tea", 500, category="Food/Tea", brand="Lu Yu", discount_minor=100, unit_cost_minor=120),
            line(2, "cup", 400),
        ),
    )
    world.happens(world.registered("ann"), bought)
    world.happens(bought)
    assert rows(world, "select channel, store, campaign_id, coupon_count from purchase") == [
        ("app", "S1", "spring", 2)
    ]
    kept = "select line, sku, category, brand, quantity, amount_minor, discount_minor, cost_minor from purchase_line order by line"
    assert rows(world, kept) == [
        (1, "tea", "Food/Tea", "Lu Yu", 2, 500, 100, 240),
        (2, "cup", None, None, 2, 400, 0, None),
    ]


def test_what_somebody_bought_and_gave_back_is_part_of_their_personal_data(world: World) -> None:
    back = (ReturnLine(line=1, sku="tea", quantity=1, amount_minor=250, accounting_amount_minor=250),)
    world.happens(
        world.registered("ann"),
        world.purchase("ann", "P1", 500, lines=(line(1, "tea", 500),)),
        world.returned("ann", "P1", 250, lines=back),
        world.registered("bob"),
        world.purchase("bob", "P2", 500, lines=(line(1, "cup", 500),)),
    )
    reply = world.scoring.client.get(f"/v1/customers/{world.customer('ann')}/personal-data")
    sections = reply.json()["sections"]
    assert [row["sku"] for row in sections["purchase_line"]] == ["tea"]
    assert [row["quantity"] for row in sections["purchase_return_line"]] == [1]


def test_discounts_and_costs_are_converted_at_the_rate_of_their_purchase(world: World) -> None:
    world.happens(
        world.registered("ann"),
        world.purchase("ann", "P0", 100),
        world.purchase(
            "ann",
            "P1",
            7_000,
            currency="JPY",
            exchange_rate="0.05",
            total_minor=1_400,
            lines=(
                line(1, "tea", 1_400, accounting_amount_minor=7_000, discount_minor=101, unit_cost_minor=333),
            ),
        ),
    )
    assert rows(world, "select amount_minor, discount_minor, cost_minor from purchase_line") == [
        (7_000, 505, 3_330)
    ]


def test_a_matched_return_says_its_lines_anew(world: World) -> None:
    unmatched = world.returned(
        "ann",
        None,
        300,
        lines=(ReturnLine(sku="tea", quantity=1, amount_minor=300, accounting_amount_minor=300),),
    )
    world.happens(
        world.registered("ann"), world.purchase("ann", "P1", 500, lines=(line(1, "tea", 500),)), unmatched
    )
    kept = "select line, sku, quantity, amount_minor from purchase_return_line"
    assert rows(world, kept) == [(None, "tea", 1, 300)]
    matched = unmatched.model_dump() | {
        "purchase_id": world.purchases["P1"],
        "amount_minor": 250,
        "accounting_amount_minor": 250,
        "unmatched_amount_minor": 300,
        "accounting_unmatched_amount_minor": 300,
        "lines": (ReturnLine(line=1, sku="tea", quantity=1, amount_minor=250, accounting_amount_minor=250),),
    }
    world.happens(ReturnMatched(**matched))
    assert rows(world, kept) == [(1, "tea", 1, 250)]


def test_the_last_word_about_a_product_holds(world: World) -> None:
    world.happens(
        product("tea", stock=5), product("cup", replenishable=True), product("tea", stock=0, active=False)
    )
    assert rows(world, "select sku, stock, active, replenishable from product order by sku") == [
        ("cup", None, True, True),
        ("tea", 0, False, False),
    ]


def test_occasions_are_days_of_the_companys_time_zone_and_follow_it_when_it_changes(
    service: Callable[..., Any],
) -> None:
    world = World(service(SERVICE, time_zone="Asia/Shanghai"))
    # 23:30, 00:30 and 00:30 of the day after, in Shanghai; in UTC the first two are of one day.
    moments = [datetime(2026, 3, day, hour, 30, tzinfo=UTC) for day, hour in ((1, 15), (1, 16), (2, 16))]
    world.happens(
        world.registered("ann"),
        *(world.purchase("ann", f"P{number}", 100, at) for number, at in enumerate(moments)),
        world.purchase("ann", "P9", 100, moments[0] - days(4)),
    )
    rhythm = "select occasions, gap_square_sum from metrics"
    assert rows(world, rhythm) == [(4, 16 + 1 + 1)]
    world.assert_sound()
    moved = world.scoring.settings.model_copy(update={"time_zone": "UTC"})
    world.scoring.sessions.kw["info"]["settings"] = moved
    world.scoring = replace(world.scoring, settings=moved)
    world.calibrated()
    assert rows(world, rhythm) == [(3, 16 + 1)]
    assert rows(world, "select time_zone from accounting") == [("UTC",)]
    world.assert_sound()
