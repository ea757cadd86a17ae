"""What the channels cost against the customers whom they brought: computed by hand, right after merges and erasures."""

from datetime import UTC, datetime
from typing import Any

import pytest
from sqlalchemy import text

from services.scoring.rules.acquisition import each, paid_back_in, ratio
from shared.events.envelope import Event
from shared.events.profile import CustomerErased, CustomersMerged, CustomersUnmerged, CustomerUpdated
from tests.scoring.test_outlooks import company
from tests.scoring.world import MIDNIGHT, NOON, World

PERIOD = {"from": "2026-01", "to": "2026-03"}


def at(month: int, day: int, year: int = 2026) -> datetime:
    return datetime(year, month, day, 12, tzinfo=UTC)


def acquired(world: World, name: str, channel: str | None, on: datetime) -> Event:
    return world.registered(name, acquisition_channel=channel, registered_at=on)


def spend(
    world: World, channel: str, month: str, amount_minor: int, tag: str | None = None, **more: Any
) -> Any:
    body = {"amount_minor": amount_minor, "currency": "CNY"} | more
    headers = {} if tag is None else {"If-Match": tag}
    return world.scoring.client.put(f"/v1/acquisition-costs/{channel}/{month}", json=body, headers=headers)


def report(world: World, **more: str) -> dict[tuple[str | None, str | None], dict[str, Any]]:
    reply = world.scoring.client.get("/v1/reports/acquisition", params=PERIOD | more)
    assert reply.status_code == 200, reply.text
    return {(row["channel"], row["month"]): row for row in reply.json()["rows"]}


def merge(world: World, loser: str, winner: str, kind: Any = CustomersMerged) -> list[Event]:
    both = (world.customer(winner), world.customer(loser))
    return [kind(customer_id=each, winner_id=both[0], loser_id=both[1], effective_at=NOON) for each in both]


@pytest.fixture
def winter(world: World) -> World:
    world.happens(
        acquired(world, "ann", "web", at(1, 10)),
        acquired(world, "bob", "web", at(1, 20)),
        acquired(world, "cid", "web", at(2, 2)),
        acquired(world, "dan", "shop", at(1, 5)),
        acquired(world, "eve", None, at(2, 1)),
        world.purchase("ann", "A1", 10_000, at(1, 12)),
        world.purchase("ann", "A2", 5_000, at(2, 5)),
        world.purchase("bob", "B1", 8_000, at(3, 1)),
        world.returned("bob", "B1", 3_000, at(3, 2)),
        world.purchase("dan", "D1", 7_000, at(12, 20, 2025)),
        world.purchase("eve", "E1", 2_000, at(2, 1)),
    )
    return world


def test_without_customers_and_costs_the_report_is_one_row_of_nothing(world: World) -> None:
    (row,) = report(world, by="month").values()
    assert (row["channel"], row["month"], row["customers"], row["net_revenue_minor"]) == (None, None, 0, 0)
    assert row["cost_minor"] is None and row["payback_years"] is None and row["clv_to_cost"] is None
    assert row["first_year_complete"] is False and row["days_to_first_purchase"] is None


def test_payback_as_computed_by_hand(winter: World) -> None:
    assert spend(winter, "web", "2026-01", 12_000).status_code == 201
    assert spend(winter, "web", "2026-02", 6_000).status_code == 201
    assert spend(winter, "web", "2026-03", 99_999).status_code == 201, "not in the period"
    web = report(winter)["web", None]
    assert web == {
        "channel": "web", "month": None, "customers": 3, "buyers": 2,
        "days_to_first_purchase": 21.0,  # 2 and 40
        "net_revenue_minor": 20_000, "first_year_minor": 20_000, "first_year_complete": False,
        "first_year_minor_each": 6_667, "predicted_clv_minor_each": None, "clv_minor_each": None,
        "cost_minor": 18_000, "cost_minor_each": 6_000, "payback_years": 0.9,
        "paid_back_in": "2026-03-01",  # 10,000, 15,000, 20,000
        "clv_to_cost": None,
    }  # fmt: skip


def test_each_month_stands_by_itself(winter: World) -> None:
    spend(winter, "web", "2026-01", 12_000)
    spend(winter, "web", "2026-02", 6_000)
    rows = report(winter, by="month")
    january, february = rows["web", "2026-01-01"], rows["web", "2026-02-01"]
    assert (january["customers"], january["cost_minor"], january["paid_back_in"]) == (2, 12_000, "2026-02-01")
    assert (february["customers"], february["buyers"], february["paid_back_in"]) == (1, 0, None)
    assert (february["payback_years"], february["net_revenue_minor"]) == (None, 0)
    whole = rows[None, None]
    assert (
        whole["customers"]
        == 4
        == sum(row["customers"] for (channel, month), row in rows.items() if channel and month is None)
    )
    assert whole["net_revenue_minor"] == 22_000


def test_one_who_bought_before_being_registered_was_acquired_then(winter: World) -> None:
    assert ("shop", None) not in report(winter)
    december = report(winter, **{"from": "2025-12"})["shop", None]
    assert (december["customers"], december["days_to_first_purchase"]) == (1, 0)


def test_whom_no_channel_is_known_to_have_brought_is_unknown(winter: World) -> None:
    assert report(winter)["unknown", None]["net_revenue_minor"] == 2_000
    winter.happens(
        CustomerUpdated(
            customer_id=winter.customer("eve"), kind="person", acquisition_channel="fair", registered_at=at(2, 1)
        )
    )  # fmt: skip
    rows = report(winter)
    assert rows["fair", None]["customers"] == 1
    assert ("unknown", None) not in rows


def test_the_first_year_ends_after_365_days(world: World) -> None:
    world.happens(
        acquired(world, "ann", "web", at(1, 1, 2023)),
        world.purchase("ann", "A1", 100, at(1, 1, 2023)),
        world.purchase("ann", "A2", 10, at(12, 31, 2023)),
        world.purchase("ann", "A3", 1, at(1, 1, 2024)),
    )
    web = report(world, **{"from": "2023-01", "to": "2023-02"})["web", None]
    assert (web["first_year_minor"], web["net_revenue_minor"]) == (110, 111)
    assert web["first_year_complete"] is True


def test_a_cost_without_customers_is_shown(winter: World) -> None:
    spend(winter, "fair", "2026-02", 5_000)
    fair = report(winter)["fair", None]
    assert (fair["customers"], fair["cost_minor"], fair["cost_minor_each"]) == (0, 5_000, None)
    assert report(winter)[None, None]["cost_minor"] == 5_000


def test_predicted_value_against_cost(world: World) -> None:
    world.happens(*company(world))
    world.calibrated(MIDNIGHT)
    with world.scoring.sessions() as session:
        predicted = session.scalar(text("select sum(clv_minor)::bigint from outlook"))
        net = session.scalar(text("select sum(gross_minor)::bigint from metrics"))
    everybody = {"from": "2023-01", "to": "2026-04"}
    spend(world, "unknown", "2025-01", 1_000_000)
    row = report(world, **everybody)["unknown", None]
    assert row["customers"] == 240
    assert row["predicted_clv_minor_each"] == each(predicted, 240)
    assert row["clv_minor_each"] == each(predicted + net, 240)
    assert row["clv_to_cost"] == pytest.approx((predicted + net) / 1_000_000, abs=1e-4)


def test_of_merged_records_the_earliest_says_when_and_by_which_channel(winter: World) -> None:
    before = report(winter, by="month")
    winter.happens(acquired(winter, "ann again", "shop", at(2, 20)))
    apart = report(winter, by="month")
    assert apart["shop", None]["customers"] == 1
    # The winner was acquired later than the loser.
    winter.happens(*merge(winter, "ann", "ann again"))
    assert report(winter, by="month") == before
    winter.happens(acquired(winter, "ann", "web", at(1, 10)))  # told again under the loser's key
    assert report(winter, by="month") == before
    winter.assert_sound()
    winter.happens(*merge(winter, "ann", "ann again", CustomersUnmerged))
    assert report(winter, by="month") == apart
    winter.assert_sound()


def test_an_erased_customer_is_in_no_cohort_any_more(winter: World) -> None:
    winter.happens(CustomerErased(customer_id=winter.customer("ann"), erased_at=NOON))
    web = report(winter)["web", None]
    assert (web["customers"], web["net_revenue_minor"]) == (2, 5_000)
    winter.happens(acquired(winter, "ann", "web", at(1, 10)))
    assert report(winter)["web", None]["customers"] == 2
    with winter.scoring.sessions() as session:
        kept = text("select count(*) from acquisition where recorded_customer_id = :id")
        assert session.scalar(kept, {"id": winter.customer("ann")}) == 0


def test_costs_are_entered_corrected_and_deleted(winter: World) -> None:
    client = winter.scoring.client
    entered = spend(winter, "web", "2026-01", 12_000, note="search ads")
    assert (entered.status_code, entered.headers["etag"]) == (201, '"1"')
    again = spend(winter, "web", "2026-01", 12_000, note="search ads")
    assert (again.status_code, again.json()) == (200, entered.json())
    assert spend(winter, "web", "2026-01", 13_000).status_code == 428
    assert spend(winter, "web", "2026-01", 13_000, '"7"').status_code == 412
    corrected = spend(winter, "web", "2026-01", 13_000, '"1"')
    assert (corrected.status_code, corrected.headers["etag"]) == (200, '"2"')
    shown = client.get("/v1/acquisition-costs/web/2026-01").json()
    assert (shown["amount_minor"], shown["month"], shown["note"]) == (13_000, "2026-01-01", None)
    assert report(winter)["web", None]["cost_minor"] == 13_000
    assert client.delete("/v1/acquisition-costs/web/2026-01").status_code == 204
    for gone in (client.get, client.delete):
        reply = gone("/v1/acquisition-costs/web/2026-01")
        assert (reply.status_code, reply.json()["code"]) == (404, "acquisition_cost_not_found")
    assert report(winter)["web", None]["cost_minor"] is None


def test_a_cost_that_cannot_be_is_refused(winter: World) -> None:
    other = spend(winter, "web", "2026-01", 1, currency="EUR")
    assert (other.status_code, other.json()["code"]) == (422, "another_currency")
    assert other.json()["errors"][0]["pointer"] == "/currency"
    assert spend(winter, "web", "2026-01", -1).status_code == 422
    assert spend(winter, "web", "2026-13", 1).status_code == 422
    assert spend(winter, "x" * 101, "2026-01", 1).status_code == 422


def test_before_the_first_purchase_nobody_knows_in_which_currency_costs_are(world: World) -> None:
    reply = spend(world, "web", "2026-01", 1)
    assert (reply.status_code, reply.json()["code"]) == (409, "accounting_currency_unknown")


def test_costs_are_listed_by_channel_and_month_in_pages(winter: World) -> None:
    client = winter.scoring.client
    for month in ("2026-01", "2026-02", "2026-03"):
        for channel in ("web", "fair"):
            spend(winter, channel, month, 100)

    def listed(**filters: Any) -> list[tuple[str, str]]:
        found, cursor = [], None
        while True:
            page = client.get(
                "/v1/acquisition-costs",
                params=filters | {"limit": 2} | ({"cursor": cursor} if cursor else {}),
            ).json()
            found += [(row["month"][:7], row["channel"]) for row in page["items"]]
            if (cursor := page["next_cursor"]) is None:
                return found

    assert listed() == sorted(
        ((month, channel) for month in ("2026-01", "2026-02", "2026-03") for channel in ("web", "fair")),
        reverse=True,
    )
    assert listed(channel="web", month_gte="2026-02", month_lt="2026-03") == [("2026-02", "web")]


def test_a_period_ends_after_it_begins_and_is_at_most_ten_years(world: World) -> None:
    for since, until in (("2026-02", "2026-02"), ("2026-03", "2026-02"), ("2010-01", "2026-01")):
        reply = world.scoring.client.get("/v1/reports/acquisition", params={"from": since, "to": until})
        assert (reply.status_code, reply.json()["code"]) == (422, "wrong_period")
    lately = world.scoring.client.get("/v1/reports/acquisition").json()
    assert int(lately["to"][:4]) * 12 + int(lately["to"][5:7]) - 12 == (
        int(lately["from"][:4]) * 12 + int(lately["from"][5:7])
    )


def test_what_was_lost_again_through_returns_is_not_paid_back_before_it_comes_again() -> None:
    months = [datetime(2026, month, 1, tzinfo=UTC).date() for month in (1, 2, 3)]
    assert paid_back_in(100, dict(zip(months, (50, -20, 70), strict=True))) == months[2]
    assert paid_back_in(100, dict(zip(months, (100, -20, 0), strict=True))) == months[0]
    assert paid_back_in(101, dict(zip(months, (100, -20, 0), strict=True))) is None
    assert paid_back_in(0, {months[0]: 5}) is None
    assert (each(5, 2), each(-5, 2), each(5, 0), each(None, 3)) == (3, -2, None, None)
    assert (ratio(1, 3), ratio(1, 0), ratio(None, 1)) == (0.3333, None, None)
