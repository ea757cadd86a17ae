"""Reports: one filter for all, and figures that plain Python finds in the planted facts."""

import random
import re
import threading
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Any
from uuid import uuid4

import pytest
from sqlalchemy import text

import services.scoring
from services.scoring.app import SERVICE
from services.scoring.domain.reports import kept
from services.scoring.jobs import REPORTS, make_reports, make_reports_nightly
from services.scoring.rules.codes import STAGES as ALL_STAGES
from services.scoring.rules.names import SEGMENTS, STAGES
from shared import jobs
from shared.events.profile import CustomerErased, CustomersMerged, CustomersUnmerged, PurchaseLine, ReturnLine
from shared.events.profile_behaviour import TagsChanged
from shared.jobs.runner import RunningJob
from shared.jobs.schedule import Context
from tests.scoring.world import NOON, World, days


def report(world: World, name: str, **query: Any) -> dict[str, Any]:
    reply = world.scoring.client.get(f"/v1/reports/{name}", params=query)
    assert reply.status_code == 200, reply.text
    return reply.json()


def merged(world: World, loser: str, winner: str) -> list[CustomersMerged]:
    ids = {"winner_id": world.customer(winner), "loser_id": world.customer(loser), "effective_at": NOON}
    return [CustomersMerged(customer_id=world.customer(each), **ids) for each in (loser, winner)]


def unmerged(world: World, loser: str, winner: str) -> list[CustomersUnmerged]:
    ids = {"winner_id": world.customer(winner), "loser_id": world.customer(loser), "effective_at": NOON}
    return [CustomersUnmerged(customer_id=world.customer(each), **ids) for each in (loser, winner)]


def erased(world: World, name: str) -> CustomerErased:
    return CustomerErased(customer_id=world.customer(name), erased_at=NOON)


def behind(world: World, **query: Any) -> list[str]:
    """The names of the customers behind a report, page by page."""
    names = {str(id_): name for name, id_ in world.customers.items()}
    found: list[str] = []
    while True:
        page = report(world, "customers", limit=2, **query)
        assert len(page["items"]) <= 2
        found += [names[each["customer_id"]] for each in page["items"]]
        if page["next_cursor"] is None:
            return sorted(found)
        query["cursor"] = page["next_cursor"]


@pytest.fixture
def company(world: World) -> World:
    """Six customers, one of whom never bought."""
    world.happens(
        world.registered(
            "ann", country="CN", region="Shanghai", acquisition_channel="web", tags=("vip", "b2b")
        ),
        world.registered("bob", country="CN", region="Beijing", acquisition_channel="store", tags=("vip",)),
        world.registered("cid", country="GB", acquisition_channel="web"),
        world.registered("dee", country="GB", acquisition_channel="store"),
        world.registered("eva"),
        world.registered("fay", country="US", acquisition_channel="web"),
        world.purchase("ann", "A1", 1_200_000, NOON - days(70)),
        world.purchase("ann", "A2", 300_000, NOON - days(40)),
        world.purchase("ann", "A3", 100_000, NOON - days(5)),
        world.purchase("bob", "B1", 250_000, NOON - days(400)),
        world.purchase("cid", "C1", 60_000, NOON - days(20)),
        world.returned("cid", "C1", 10_000, NOON - days(10)),
        world.purchase("dee", "D1", 500, NOON - days(3)),
        world.purchase("eva", "E1", 700, NOON - days(2)),
    )
    world.calibrated()
    return world


# The filter.


def test_customers_behind_a_report_are_found_by_any_of_the_filter_and_by_all_of_it(company: World) -> None:
    assert behind(company) == ["ann", "bob", "cid", "dee", "eva", "fay"]
    assert behind(company, country="CN") == ["ann", "bob"]
    assert behind(company, country=["CN", "US"]) == ["ann", "bob", "fay"]
    assert behind(company, country=["CN", "US"], acquisition_channel="web") == ["ann", "fay"]
    assert behind(company, region="Shanghai") == ["ann"]
    assert behind(company, tag="vip") == ["ann", "bob"]
    assert behind(company, tag=["b2b", "unheard of"]) == ["ann"]
    assert behind(company, tier="platinum") == ["ann"]
    assert behind(company, tier=["platinum", "gold"]) == ["ann", "bob"]
    assert behind(company, stage="prospect") == ["fay"]
    assert behind(company, value_class="low") == ["dee", "eva"]
    assert behind(company, cohort="2026-02") == ["cid"]
    assert behind(company, cohort=["2026-02", "2026-03"]) == ["cid", "dee", "eva"]
    assert behind(company, churn_band="high") == ["bob"]


def test_every_cell_of_a_report_leads_to_as_many_customers_as_it_counts(company: World) -> None:
    grid = report(company, "rfm-grid")
    for cell in grid["cells"]:
        assert len(behind(company, r=cell["r"], fm=cell["fm"])) == cell["customers"]
    for each in grid["segments"]:
        assert len(behind(company, segment=each["segment"])) == each["customers"]
    for each in report(company, "tier-distribution")["tiers"]:
        assert len(behind(company, tier=each["tier"])) == each["customers"]
    for each in report(company, "lifecycle")["stages"]:
        assert len(behind(company, stage=each["stage"])) == each["customers"]


def test_a_customer_behind_a_report_is_shown_with_what_reports_ask_for(company: World) -> None:
    (ann,) = report(company, "customers", region="Shanghai")["items"]
    assert ann == {
        "customer_id": str(company.customer("ann")), "tier": "platinum", "segment": "champions", "value_class": "high",
        "stage": "growing", "churn_band": "low", "trend": "steady", "kind": "person", "country": "CN",
        "region": "Shanghai", "acquisition_channel": "web", "tags": ["b2b", "vip"], "net_revenue_minor": 1_600_000,
        "purchase_count": 3, "last_purchase_at": "2026-03-05T12:00:00Z",
    }  # fmt: skip


def test_every_report_is_drilled_into_by_the_same_filter(company: World) -> None:
    assert report(company, "rfm-grid", country="CN")["customers"] == 2
    tiers = report(company, "tier-distribution", acquisition_channel="web")
    assert (tiers["customers"], tiers["without_tier"]) == (2, 1)
    assert {each["tier"]: each["customers"] for each in tiers["tiers"]} == {
        "platinum": 1, "gold": 0, "silver": 1, "standard": 0,
    }  # fmt: skip
    lifecycle = report(company, "lifecycle", tag="vip")
    assert lifecycle["customers"] == 2
    assert sum(each["net_revenue_minor"] for each in lifecycle["stages"]) == 1_850_000


@pytest.mark.parametrize(
    ("query", "pointer"),
    [
        ({"tier": ["gold", "tin"]}, "/query/tier/1"),
        ({"segment": "best friends"}, "/query/segment/0"),
        ({"value_class": "none"}, "/query/value_class/0"),
        ({"stage": ["mature", "asleep"]}, "/query/stage/1"),
        ({"churn_band": "huge"}, "/query/churn_band/0"),
        ({"trend": "sideways"}, "/query/trend/0"),
        ({"country": "China"}, "/query/country/0"),
        ({"cohort": "2026-13"}, "/query/cohort/0"),
        ({"r": 6}, "/query/r/0"),
    ],
)
def test_what_the_filter_does_not_know_is_refused_with_its_place(
    company: World, query: Any, pointer: str
) -> None:
    for name in ("customers", "rfm-grid", "tier-distribution", "lifecycle"):
        reply = company.scoring.client.get(f"/v1/reports/{name}", params=query)
        assert reply.status_code == 422
        assert [each["pointer"] for each in reply.json()["errors"]] == [pointer]


def test_a_cursor_belongs_to_its_filter(company: World) -> None:
    cursor = report(company, "customers", limit=1, country="CN")["next_cursor"]
    reply = company.scoring.client.get("/v1/reports/customers", params={"cursor": cursor, "country": "GB"})
    assert (reply.status_code, reply.json()["code"]) == (400, "cursor_mismatch")


def test_traits_follow_what_profile_says_and_an_unmerge_finds_both_sides_again(company: World) -> None:
    bob = company.customer("bob")
    company.happens(
        TagsChanged(customer_id=bob, tags=("wholesale",), source="hand", effective_at=NOON),
        company.registered("dee", country="DE"),
    )
    assert behind(company, tag="vip") == ["ann"]
    assert behind(company, tag="wholesale") == ["bob"]
    assert behind(company, country="DE") == ["dee"]
    company.happens(*merged(company, "bob", "ann"))
    assert behind(company, tag="wholesale") == []
    assert behind(company, country="CN") == ["ann"]
    assert report(company, "rfm-grid")["customers"] == 4
    company.happens(*unmerged(company, "bob", "ann"))
    assert behind(company, tag="wholesale") == ["bob"]
    company.happens(erased(company, "bob"))
    assert behind(company, country="CN") == ["ann"]
    with company.scoring.sessions() as session:
        assert session.scalar(text("select count(*) from trait where customer_id = :id"), {"id": bob}) == 0
    company.happens(TagsChanged(customer_id=bob, tags=("late",), source="hand", effective_at=NOON))
    company.happens(company.registered("bob", tags=("late",)))
    assert behind(company, tag="late") == []
    company.assert_sound()


def test_an_empty_base_has_empty_reports(world: World) -> None:
    assert report(world, "rfm-grid")["cells"] == []
    assert report(world, "customers") == {"items": [], "next_cursor": None}
    lifecycle = report(world, "lifecycle")
    assert (lifecycle["customers"], lifecycle["as_of"]) == (0, None)
    assert [each["stage"] for each in lifecycle["stages"]] == list(ALL_STAGES)


def test_before_a_calibration_buyers_have_no_stage_and_others_are_prospects(world: World) -> None:
    world.happens(world.registered("ann"), world.registered("bob"), world.purchase("bob", "P1", 100))
    lifecycle = report(world, "lifecycle")
    assert (lifecycle["customers"], lifecycle["without_stage"]) == (1, 1)
    assert behind(world, stage="prospect") == ["ann"]


def test_segments_and_stages_are_named_in_both_languages(company: World) -> None:
    for name, part, published in (("rfm-grid", "segments", SEGMENTS), ("lifecycle", "stages", STAGES)):
        for each in report(company, name)[part]:
            assert each["names"] == published[each[part[:-1]]]
            assert each["names"].keys() == {"en", "zh"}
    policy = company.scoring.client.get("/v1/policy").json()["content"]
    assert {segment for row in policy["segments"] for segment in row} == set(SEGMENTS)


def test_stages_are_entered_and_left_in_the_period_in_which_it_happened(company: World) -> None:
    company.happens(company.purchase("fay", "F1", 900, NOON + days(1)))
    company.happens(company.purchase("bob", "B2", 900, NOON + days(2)))
    moved = {
        each["stage"]: (each["entered"], each["left"])
        for each in report(company, "lifecycle", **{"from": "2026-03-11", "until": "2026-03-20"})["stages"]
        if each["entered"] or each["left"]
    }
    assert moved == {"acquired": (1, 0), "won_back": (1, 0), "lost": (0, 1)}
    earlier = report(company, "lifecycle", **{"from": "2026-03-01", "until": "2026-03-11"})
    assert sum(each["entered"] for each in earlier["stages"]) == 0


def test_reports_need_a_scope(world: World) -> None:
    for name in ("customers", "lifecycle"):
        assert world.scoring.stranger.get(f"/v1/reports/{name}").status_code == 401
    assert world.scoring.client.get(f"/v1/customers/{uuid4()}/score").status_code == 404


# Migration between tiers.


def matrix(world: World, **query: Any) -> dict[tuple[str | None, str], int]:
    return {
        (row["tier"], cell["tier"]): cell["customers"]
        for row in report(world, "tier-migration", **query)["rows"]
        for cell in row["cells"]
        if cell["customers"]
    }


def test_the_migration_matrix_shows_who_was_where_at_both_dates(company: World) -> None:
    with company.scoring.sessions.begin() as session:
        session.execute(text("update tier_change set effective_at = '2026-03-11T00:00:00Z'"))
    company.happens(
        company.purchase("dee", "D2", 900_000, NOON + days(10)),
        company.purchase("fay", "F1", 60_000, NOON + days(11)),
        company.purchase("cid", "C2", 900_000, NOON + days(30)),
    )
    told = report(company, "tier-migration", **{"from": "2026-03-15", "until": "2026-04-01"})
    assert (told["customers"], told["raised"], told["lowered"]) == (6, 1, 0)
    assert [row["tier"] for row in told["rows"]] == ["platinum", "gold", "silver", "standard", None]
    period = {"from": "2026-03-15", "until": "2026-04-01"}
    assert matrix(company, **period) == {
        ("platinum", "platinum"): 1, ("gold", "gold"): 1, ("silver", "silver"): 1, ("standard", "standard"): 1,
        ("standard", "gold"): 1, (None, "silver"): 1,
    }  # fmt: skip
    assert matrix(company, country="GB", **period) == {("silver", "silver"): 1, ("standard", "gold"): 1}
    assert matrix(company, **{"from": "2026-03-15", "until": "2026-05-01"})["silver", "gold"] == 1
    assert matrix(company, **{"from": "2026-03-01", "until": "2026-03-02"}) == {}
    company.happens(*merged(company, "cid", "ann"), erased(company, "bob"))
    assert report(company, "tier-migration", **period)["customers"] == 4


def test_an_empty_period_is_refused(company: World) -> None:
    for name in ("tier-migration", "lifecycle"):
        for query in ({"from": "2026-03-02", "until": "2026-03-02"}, {"from": "2199-01-01"}):
            reply = company.scoring.client.get(f"/v1/reports/{name}", params=query)
            assert (reply.status_code, reply.json()["code"]) == (422, "empty_period")
        reply = company.scoring.client.get(f"/v1/reports/{name}", params={"until": "0001-01-01"})
        assert reply.json()["errors"][0]["pointer"] == "/query/until"


# Cohorts, repurchase and Pareto against plain Python.


@dataclass
class Bought:
    """A purchase of somebody, and what came back of it and when."""

    who: str
    at: datetime
    amount: int
    back: list[tuple[datetime, int]]


def many_purchases(world: World, seed: int = 5, people: int = 60) -> tuple[list[Bought], list[Bought]]:
    """Three years of purchases, some of them taken back in part or as a whole, and returns that name no purchase (as
    purchases of a negative amount), told in any order."""
    chance = random.Random(seed)
    bought, unmatched, events = [], [], []
    for number in range(people):
        name = f"c{number:02}"
        events.append(world.registered(name, country=("CN", "GB")[number % 2]))
        at = NOON - days(chance.uniform(0, 1000))
        while at < NOON:
            each = Bought(name, at, chance.randint(1, 90_000), [])
            if chance.random() < 0.3:
                each.back.append(
                    (at + days(chance.uniform(0, 60)), chance.choice((each.amount, each.amount // 3 or 1)))
                )
            if chance.random() < 0.1:
                unmatched.append(
                    Bought(name, at + days(chance.uniform(-40, 40)), -chance.randint(1, 20_000), [])
                )
            bought.append(each)
            at += days(chance.choice((0.1, 3, 25, 70, 200)) * chance.uniform(0.5, 1.5))
    for number, each in enumerate(bought):
        events.append(world.purchase(each.who, f"P{number}", each.amount, each.at))
        events += [world.returned(each.who, f"P{number}", amount, at) for at, amount in each.back]
    events += [world.returned(each.who, None, -each.amount, each.at) for each in unmatched]
    told = events[:people], events[people:]
    chance.shuffle(told[1])
    world.happens(*told[0], *told[1])
    return bought, unmatched


def facts_before(as_of: datetime, bought: list[Bought], unmatched: list[Bought]) -> tuple[Any, Any]:
    """Per customer: the days of their occasions in UTC+8, and every (moment, amount)."""
    occasions: dict[str, set[date]] = {}
    amounts: dict[str, list[tuple[datetime, int]]] = {}
    for each in [*bought, *unmatched]:
        if each.at >= as_of:
            continue
        back = [(at, amount) for at, amount in each.back if at < as_of]
        amounts.setdefault(each.who, []).extend(
            [(each.at, each.amount), *((at, -amount) for at, amount in back)]
        )
        if each.amount - sum(amount for _, amount in back) > 0:
            occasions.setdefault(each.who, set()).add(day_of(each.at))
    return {who: sorted(found) for who, found in occasions.items()}, amounts


def day_of(moment: datetime) -> date:
    """In Shanghai, which has no summer time."""
    return (moment + timedelta(hours=8)).date()


def month_of(day: date) -> int:
    return day.year * 12 + day.month - 1


AS_OF = datetime(2026, 3, 11, tzinfo=UTC)
DATES = [AS_OF, AS_OF - days(100), AS_OF - days(400)]


@pytest.fixture
def shanghai(service: Callable[..., Any]) -> World:
    return World(service(SERVICE, time_zone="Asia/Shanghai"))


@pytest.fixture
def shoppers(shanghai: World) -> tuple[World, list[Bought], list[Bought]]:
    return shanghai, *many_purchases(shanghai)


@pytest.mark.parametrize("as_of", DATES)
def test_cohorts_are_what_plain_python_counts_in_the_facts_before_as_of(
    shoppers: Any, as_of: datetime
) -> None:
    world, *facts = shoppers
    occasions, amounts = facts_before(as_of, *facts)
    last = month_of(day_of(as_of))
    expected: dict[int, dict[int, list[int]]] = {}
    for who, found in occasions.items():
        cohort = month_of(found[0])
        months = expected.setdefault(cohort, {})
        for month in {month_of(day) for day in found}:
            months.setdefault(month - cohort, [0, 0])[0] += 1
        for at, amount in amounts[who]:
            months.setdefault(max(0, month_of(day_of(at)) - cohort), [0, 0])[1] += amount
    told = report(world, "cohorts", as_of=as_of.isoformat(), months=60)
    for row in told["cohorts"]:
        year, month = map(int, row["cohort"].split("-"))
        cohort = year * 12 + month - 1
        months = expected.pop(cohort, {})
        assert row["customers"] == months.get(0, [0, 0])[0]
        assert [[each["customers"], each["net_revenue_minor"]] for each in row["months"]] == [
            months.get(after, [0, 0]) for after in range(last - cohort + 1 if months else 0)
        ]
        assert all(each["share"] == round(each["customers"] / row["customers"], 6) for each in row["months"])
    assert expected == {}
    assert told["customers"] == len(occasions) > 30
    assert [
        each["cohort"] for each in report(world, "cohorts", as_of=as_of.isoformat(), months=2)["cohorts"]
    ] == [each["cohort"] for each in told["cohorts"][-2:]]


@pytest.mark.parametrize("as_of", DATES)
def test_the_repurchase_rate_counts_only_cohorts_that_are_old_enough(shoppers: Any, as_of: datetime) -> None:
    world, *facts = shoppers
    occasions, _ = facts_before(as_of, *facts)
    told = report(world, "repurchase-rate", as_of=as_of.isoformat(), months=60)
    for total in told["within"]:
        old = [
            found
            for found in occasions.values()
            if (found[0].replace(day=1) + days(32)).replace(day=1) + days(total["days"]) <= day_of(as_of)
        ]
        again = sum((after - before).days <= total["days"] for before, after in map(first_two, old) if after)
        assert (total["first_time_buyers"], total["customers"]) == (len(old), again)
        assert total["share"] == (round(again / len(old), 6) if old else None)
        told_old = [
            row["customers"] for row in told["cohorts"] for each in row["within"]
            if each["days"] == total["days"] and each["share"] is not None
        ]  # fmt: skip
        assert sum(told_old) == len(old)
    assert told["within"][0]["customers"] > 5


def first_two(found: list[date]) -> tuple[date, date | None]:
    return found[0], found[1] if len(found) > 1 else None


@pytest.mark.parametrize("as_of", DATES)
def test_pareto_and_gini_are_what_plain_python_finds(shoppers: Any, as_of: datetime) -> None:
    world, *facts = shoppers
    _, amounts = facts_before(as_of, *facts)
    net = sorted(
        (total for each in amounts.values() if (total := sum(amount for _, amount in each)) > 0), reverse=True
    )
    told = report(world, "pareto", as_of=as_of.isoformat())
    assert (told["customers"], told["net_revenue_minor"]) == (len(net), sum(net))
    for top in told["top"]:
        count = -(-len(net) * top["percent"] // 100)
        assert (top["customers"], top["net_revenue_minor"]) == (count, sum(net[:count]))
    # The mean difference of all pairs over twice the mean (Gini 1912).
    differences = sum(abs(one - other) for one in net for other in net)
    assert told["gini"] == pytest.approx(differences / (2 * len(net) * sum(net)), abs=1e-6)


def test_reports_over_facts_are_drilled_into_and_merged_customers_count_once(shoppers: Any) -> None:
    world, *_ = shoppers
    query = {"as_of": AS_OF.isoformat(), "months": 60}
    whole = {name: report(world, name, **query)["customers"] for name in ("cohorts", "pareto")}
    for name in whole:
        parts = [report(world, name, country=country, **query)["customers"] for country in ("CN", "GB")]
        assert sum(parts) == whole[name] > max(parts)
    world.happens(*merged(world, "c00", "c01"), erased(world, "c02"))
    assert report(world, "cohorts", **query)["customers"] == whole["cohorts"] - 2
    rows = report(world, "repurchase-rate", **query)["cohorts"]
    assert sum(row["customers"] for row in rows) == whole["cohorts"] - 2


def test_a_month_begins_at_midnight_of_the_companys_time_zone(shanghai: World) -> None:
    world = shanghai
    world.happens(
        world.purchase("ann", "A1", 100, datetime(2026, 1, 31, 15, 59, 59, tzinfo=UTC)),
        world.purchase("bob", "B1", 100, datetime(2026, 1, 31, 16, tzinfo=UTC)),
        world.purchase("bob", "B2", 100, datetime(2026, 2, 28, 16, tzinfo=UTC)),
    )
    rows = report(world, "cohorts", as_of="2026-03-10T00:00:00Z", months=3)["cohorts"]
    assert [(row["cohort"], [each["customers"] for each in row["months"]]) for row in rows] == [
        ("2026-01", [1, 0, 0]), ("2026-02", [1, 1]), ("2026-03", []),
    ]  # fmt: skip
    assert behind(world, cohort="2026-02") == ["bob"]


def test_facts_are_looked_at_as_of_the_pinned_calibration_unless_asked_otherwise(company: World) -> None:
    assert report(company, "cohorts")["as_of"] == "2026-03-11T00:00:00Z"
    company.happens(company.purchase("fay", "F1", 900, NOON + days(9)))
    assert report(company, "pareto")["customers"] == 5
    assert report(company, "pareto", as_of="2026-04-01T00:00:00Z")["customers"] == 6


def test_nothing_bought_is_no_cohort_and_no_inequality(world: World) -> None:
    world.happens(world.registered("ann"))
    for months in (1, 24):
        cohorts = report(world, "cohorts", months=months)
        assert (cohorts["customers"], [row["months"] for row in cohorts["cohorts"]]) == (0, [[]] * months)
    assert [each["share"] for each in report(world, "repurchase-rate")["within"]] == [None] * 5
    pareto = report(world, "pareto")
    assert (pareto["customers"], pareto["gini"], pareto["top"][0]["share"]) == (0, None, 0.0)
    clv = report(world, "clv-distribution")
    assert (clv["customers"], clv["predicted_deciles"], clv["as_of"]) == (0, [], None)


@pytest.mark.parametrize("as_of", ["1969-12-31T00:00:00Z", "2300-01-01T00:00:00Z", "2026-01-01", "yesterday"])
def test_an_as_of_that_is_no_such_moment_is_refused(world: World, as_of: str) -> None:
    for name in ("cohorts", "repurchase-rate", "pareto"):
        reply = world.scoring.client.get(f"/v1/reports/{name}", params={"as_of": as_of})
        assert (reply.status_code, reply.json()["errors"][0]["pointer"]) == (422, "/query/as_of")


# Lifetime value and trends.


def forecast(world: World, **values: dict[str, Any]) -> None:
    """Put outlooks in the state that a calibration with models would have put them in."""
    with world.scoring.sessions.begin() as session:
        for name, columns in values.items():
            wanted = ", ".join(f"{column} = :{column}" for column in columns)
            session.execute(
                text(f"update outlook set {wanted} where customer_id = :id"),
                {"id": world.customer(name), **columns},
            )


def test_lifetime_value_stands_in_deciles_beside_those_without_a_prediction_and_why(world: World) -> None:
    names = [f"c{number:02}" for number in range(24)]
    world.happens(*(world.purchase(name, name, 100 + i, NOON) for i, name in enumerate(names)))
    world.calibrated()
    told = report(world, "clv-distribution")
    assert (told["customers"], told["without_prediction"]) == (0, 24)
    assert told["reasons"] == ["too_few_customers", "too_few_repeat_buyers", "too_short_a_history"]
    forecast(world, **{name: {"clv_minor": 1_000 * (i + 1)} for i, name in enumerate(names[:20])})
    told = report(world, "clv-distribution")
    assert (told["customers"], told["without_prediction"], told["horizon_days"]) == (20, 4, 365)
    assert [tuple(each.values()) for each in told["predicted_deciles"]] == [
        (n, 2, 2_000 * n - 1_000, 2_000 * n, 4_000 * n - 1_000) for n in range(1, 11)
    ]
    assert sum(each["sum_minor"] for each in told["total_deciles"]) == sum(
        1_000 * (i + 1) + 100 + i for i in range(20)
    )
    assert report(world, "clv-distribution", cohort="2020-01")["predicted_deciles"] == []


def test_those_whose_spend_moves_are_listed_the_largest_change_first(company: World) -> None:
    forecast(
        company,
        ann={"trend": "rising", "recent_minor": 500, "before_minor": 100},
        bob={"trend": "rising", "recent_minor": 900, "before_minor": 100},
        cid={"trend": "declining", "recent_minor": 0, "before_minor": 100},
        dee={"trend": "declining", "recent_minor": 5, "before_minor": 300},
        eva={"trend": "rising", "recent_minor": 500, "before_minor": 100},
    )
    names = {str(id_): name for name, id_ in company.customers.items()}
    found, query = [], {"limit": 1, "direction": "rising"}
    while True:
        page = report(company, "trends", **query)
        found += [(names[each["customer_id"]], each["change_minor"]) for each in page["items"]]
        if page["next_cursor"] is None:
            break
        query["cursor"] = page["next_cursor"]
    assert found[0] == ("bob", 800)
    assert sorted(found[1:]) == [("ann", 400), ("eva", 400)]
    falling = report(company, "trends", direction="declining")["items"]
    assert [names[each["customer_id"]] for each in falling] == ["dee", "cid"]
    assert [
        names[each["customer_id"]] for each in report(company, "trends", country="CN", limit=1)["items"]
    ] == ["bob"]
    reply = company.scoring.client.get("/v1/reports/trends", params={"direction": "steady"})
    assert reply.json()["errors"][0]["pointer"] == "/query/direction"


# Groups, categories and first purchases.


def line(number: int, category: str | None, amount: int) -> PurchaseLine:
    return PurchaseLine(
        line=number, sku=f"S{category}", category=category, quantity=1, unit_price="1", amount_minor=amount,
        accounting_amount_minor=amount,
    )  # fmt: skip


def bought(world: World, name: str, purchase: str, at: datetime, **categories: int) -> Any:
    lines = tuple(line(i, category, amount) for i, (category, amount) in enumerate(categories.items(), 1))
    return world.purchase(name, purchase, sum(categories.values()), at, lines=lines)


def cells(told: dict[str, Any]) -> dict[tuple[Any, ...], list[tuple[int, int, int]]]:
    return {
        tuple(member["value"] for member in row["group"]): [
            (each["net_revenue_minor"], each["purchases"], each["customers"]) for each in row["months"]
        ]
        for row in told["rows"]
    }


@pytest.fixture
def shop(company: World) -> World:
    company.happens(
        bought(company, "ann", "L1", NOON - days(40), Toys=100, Food=50),
        bought(company, "ann", "L2", NOON - days(8), Toys=70),
        bought(company, "bob", "L3", NOON - days(9), Toys=30),
        bought(company, "cid", "L4", NOON - days(9), Food=500),
        bought(company, "dee", "L5", NOON - days(9), Food=900),
        company.cancelled("dee", "L5", 900, NOON - days(1)),
        company.returned(
            "ann", "L1", 40, NOON - days(7),
            lines=(ReturnLine(line=1, sku="SToys", quantity=1, amount_minor=40, accounting_amount_minor=40),),
        ),
    )  # fmt: skip
    with company.scoring.sessions.begin() as session:
        session.execute(
            text("""
                insert into product (sku, product_id, category, replenishable, active, effective_at)
                values ('SToys', gen_random_uuid(), 'Toys/Wooden', false, true, now())""")
        )
    return company


def test_categories_and_groups_are_followed_by_month(shop: World) -> None:
    told = report(shop, "development", by="category", months=2, as_of=AS_OF.isoformat())
    assert cells(told) == {
        ("Food",): [(0, 0, 0), (500, 1, 1)], ("Toys",): [(0, 0, 0), (60, 2, 2)],
    }  # fmt: skip
    crossed = report(shop, "development", by=["category", "country"], months=3, as_of=AS_OF.isoformat())
    assert cells(crossed) == {
        ("Food", "GB"): [(0, 0, 0), (0, 0, 0), (500, 1, 1)],
        ("Toys", "CN"): [(100, 1, 1), (0, 0, 0), (60, 2, 2)],
        ("Food", "CN"): [(50, 1, 1), (0, 0, 0), (0, 0, 0)],
    }  # fmt: skip
    assert cells(report(shop, "development", by="tag", months=1, as_of=AS_OF.isoformat())) == {
        ("vip",): [(100_060, 3, 2)], ("b2b",): [(100_030, 2, 1)], (None,): [(1_700, 3, 3)],
    }  # fmt: skip
    assert [
        row["group"] for row in report(shop, "development", by=["category", "stage"], country="GB")["rows"]
    ] == [
        [
            {"name": "category", "value": "Food", "names": {}},
            {"name": "stage", "value": "growing", "names": {"en": "Growing", "zh": "成长"}},
        ]
    ]


def test_growth_is_against_the_month_before(shop: World) -> None:
    shop.happens(bought(shop, "bob", "L6", NOON - days(35), Toys=40))
    (row,) = report(shop, "development", by="category", country="CN", months=3, tag="vip", region="Beijing")[
        "rows"
    ]
    assert [each["growth"] for each in row["months"]] == [None, None, -0.25]


def test_before_an_as_of_what_is_called_off_later_still_counts(shop: World) -> None:
    before = (NOON - days(2)).isoformat()
    assert cells(report(shop, "development", by="category", months=1, as_of=before))["Food",] == [
        (1_400, 2, 2)
    ]


def test_a_group_is_not_crossed_with_itself_nor_with_two_others(company: World) -> None:
    for by in (["tier", "tier"], ["tier", "stage", "country"], ["size"], []):
        reply = company.scoring.client.get("/v1/reports/development", params={"by": by})
        assert reply.status_code == (422 if by else 200)
    assert company.scoring.client.get("/v1/reports/white-space", params={"by": "category"}).status_code == 422


def test_white_space_is_where_a_group_buys_clearly_less_than_all_others(world: World) -> None:
    events = []
    for number in range(240):
        name, country = f"c{number}", ("CN", "GB", "DE")[number % 3]
        events.append(
            world.registered(name, country=country, tags=("even",) if number % 2 else ("even", "odd"))
        )
        # Two thirds buy food and toys everywhere, but hardly anybody in Germany buys toys.
        wanted = {"Wear": 10, "Food": 20} if number % 2 else {"Wear": 10}
        if number // 3 % 3 and (country != "DE" or number % 40 == 2):
            wanted["Toys"] = 30
        events.append(bought(world, name, name, NOON - days(number % 200), **wanted))
    world.happens(*events)
    at = AS_OF.isoformat()
    told = report(world, "white-space", as_of=at, by="country")
    (found,) = told["items"]
    assert (found["group"]["value"], found["category"], found["customers"]) == ("DE", "Toys", 80)
    assert found["share"] < 0.1 < 0.6 < found["other_share"]
    assert found["missing_buyers"] == round(80 * found["other_share"] - found["buyers"])
    assert found["z"] < -5
    assert told["compared"] == 9
    assert report(world, "white-space", as_of=at, by="tier")["items"] == []
    assert report(world, "white-space", as_of=at, by="country", country="DE")["compared"] == 0
    assert report(world, "white-space", as_of=at, by="country", days=3)["items"] == []


def test_days_to_the_first_purchase_are_told_by_acquisition_channel(world: World) -> None:
    for i, waited in enumerate((1, 2, 3, 10)):
        world.happens(
            world.registered(f"w{i}", acquisition_channel="web", registered_at=NOON - days(30)),
            world.purchase(f"w{i}", f"W{i}", 100, NOON - days(30 - waited)),
        )
    world.happens(
        world.registered("s0", acquisition_channel="store", registered_at=NOON),
        world.purchase("s0", "S0", 100, NOON - days(1)),
        world.registered("s1", acquisition_channel="store", registered_at=NOON),
        world.registered("n0", registered_at=NOON - days(5)),
        world.purchase("n0", "N0", 100, NOON),
    )
    told = report(world, "first-purchases")
    by = {each["acquisition_channel"]: list(each.values())[1:] for each in told["channels"]}
    assert by == {
        "web": [4, 4, 0, 0, 1.75, 2.5, 4.75], "store": [2, 0, 1, 1, None, None, None], None: [1, 1, 0, 0, 5, 5, 5],
    }  # fmt: skip
    assert list(told["all"].values()) == [None, 7, 5, 1, 1, 2.0, 3.0, 5.0]
    assert report(world, "first-purchases", country="CN")["all"]["customers"] == 0


# What is kept overnight.


def nightly(world: World, made: int = 0) -> None:
    with world.scoring.sessions.begin() as session:
        job_id = jobs.create(session, REPORTS, {})
        session.execute(
            text("update shared.job set state = 'running', epoch = 1 where id = :id"), {"id": job_id}
        )
    running = RunningJob(
        id=job_id, kind=REPORTS, parameters={}, cursor={"made": made}, report={}, created_by=None, settings=world.scoring.settings,
        sessions=world.scoring.sessions, engine=world.scoring.engine, epoch=1, stop=threading.Event(),
    )  # fmt: skip
    make_reports(running)


def test_what_is_kept_overnight_is_what_would_be_computed_and_answers_the_plain_question_only(
    shop: World,
) -> None:
    asked = {
        "cohorts": {},
        "clv-distribution": {},
        "first-purchases": {},
        "repurchase-rate": {},
        "pareto": {},
        "development": {"by": "tier"},
        "white-space": {"by": "tier"},
    }
    before = {name: report(shop, name, **query) for name, query in asked.items()}
    nightly(shop)
    assert {name: report(shop, name, **query) for name, query in asked.items()} == before
    shop.happens(shop.purchase("fay", "F1", 900, NOON), shop.purchase("bob", "B9", 900, NOON))
    assert {name: report(shop, name, **query) for name, query in asked.items()} == before
    assert report(shop, "development")["by"] == ["category"]
    for name in ("cohorts", "repurchase-rate", "pareto", "development"):
        assert report(shop, name, as_of=AS_OF.isoformat(), **asked[name]) != before[name]
    assert report(shop, "pareto", country="US")["customers"] == 1
    with shop.scoring.sessions.begin() as session:
        session.execute(text("update report set made_at = made_at - interval '2 days'"))
    assert report(shop, "cohorts")["customers"] == before["cohorts"]["customers"] + 1


def test_the_nightly_job_goes_on_with_the_next_answer_where_it_was_killed(shop: World) -> None:
    nightly(shop, made=3)
    with shop.scoring.sessions() as session:
        kept_keys = session.scalars(text("select key from report")).all()
    assert sorted(kept_keys) == sorted(list(kept.NIGHTLY)[3:])


def test_a_small_company_keeps_nothing_overnight(shop: World) -> None:
    make_reports_nightly(Context(shop.scoring.settings, shop.scoring.sessions, shop.scoring.engine))
    with shop.scoring.sessions() as session:
        assert (
            session.scalar(text("select count(*) from shared.job where kind = :kind"), {"kind": REPORTS}) == 0
        )


def test_the_published_table_of_names_is_the_one_of_the_answers() -> None:
    page = (Path(services.scoring.__file__).parent / "README.md").read_text(encoding="utf-8")
    published = re.findall(r"^\| (segment|stage) \| (\w+) \| (.+) \| (.+) \|$", page, re.MULTILINE)
    assert published == [
        (kind, code, names["en"], names["zh"])
        for kind, table in (("segment", SEGMENTS), ("stage", STAGES))
        for code, names in table.items()
    ]
