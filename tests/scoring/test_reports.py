"""Reports: one filter for all, and figures that plain Python finds in the planted facts."""

from typing import Any
from uuid import uuid4

import pytest
from sqlalchemy import text

from services.scoring.rules.names import SEGMENTS, STAGES
from services.scoring.rules.stages import STAGES as ALL_STAGES
from shared.events.profile import CustomerErased, CustomersMerged, CustomersUnmerged
from shared.events.profile_behaviour import TagsChanged
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
