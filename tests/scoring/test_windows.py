"""Windows and qualifying periods: what SQL counts after every event is what rules/ counts from all facts so far."""

from collections.abc import Sequence
from datetime import UTC, datetime, time, timedelta
from typing import Any
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sqlalchemy import text

from services.scoring.app import SERVICE
from services.scoring.rules import rfm, tiers
from services.scoring.rules.policy import Policy, parse
from services.scoring.rules.tiers import Fact
from shared.events.profile import PurchaseRecorded
from tests.interleaving import SLOW, rolled_back
from tests.scoring.policies import drafted, published
from tests.scoring.world import World, days

# Two years meet here, and the leap day lies between.
NEW_YEAR = datetime(2025, 1, 1, tzinfo=UTC)
COUNTED = NEW_YEAR + days(20)
LEVELS = ("standard", "silver", "gold", "platinum")


@st.composite
def policies(draw: Any) -> dict[str, Any]:
    by = draw(st.sampled_from(["score_percentile", "score_threshold", "period", "period"]))
    qualification: dict[str, Any] = {"by": by}
    if by == "period":
        qualification["measure"] = draw(st.sampled_from(["net_revenue", "purchases", "occasions"]))
        qualification["period"] = draw(st.sampled_from(["calendar_year", "rolling_days"]))
        if qualification["period"] == "rolling_days":
            qualification["days"] = draw(st.sampled_from([1, 30, 365]))
    highest = 100 if by == "score_threshold" else 8
    thresholds = sorted(draw(st.sets(st.integers(1, highest), min_size=3, max_size=3)))
    return {
        "small_base": draw(st.sampled_from([1, 3, 100])),
        "window_days": draw(st.sampled_from([None, 1, 30, 366])),
        "qualification": qualification,
        "tiers": [
            {"code": code, "percentile": percentile, "net_revenue": revenue, "threshold": threshold}
            for code, percentile, revenue, threshold in zip(
                LEVELS, (0, 30, 60, 90), (None, 2, 4, 6), (None, *thresholds), strict=True
            )
        ],
        "downgrade": {"to": draw(st.sampled_from(["deserved", "one_step"]))},
    }


# (customer, amount, half days from new year, per cent that came back, half days later)
bought = st.tuples(
    st.integers(0, 3), st.integers(0, 4).map(lambda units: units * 100), st.integers(-1500, 60),
    st.sampled_from([0, 0, 40, 100]), st.integers(0, 900),
)  # fmt: skip
histories = st.lists(bought, max_size=10)


def events_of(world: World, history: Sequence[Any], label: str) -> list[Any]:
    events: list[Any] = []
    for number, (who, amount, day, part, later) in enumerate(history):
        name, at = f"c{who}", NEW_YEAR + days(day / 2)
        events.append(world.purchase(name, f"{label}{number}", amount, at))
        if back := amount * part // 100:
            events.append(world.returned(name, f"{label}{number}", back, at + days(later / 2)))
    return events


def facts_of(
    events: Sequence[Any], customer_id: Any, zone: ZoneInfo, before: datetime | None = None
) -> list[Fact]:
    """What rules/ counts, from what was told; as of ``before`` nothing later is known."""
    mine = [
        event for event in events
        if event.customer_id == customer_id and (before is None or event.occurred_at < before)
    ]  # fmt: skip
    facts = []
    for event in mine:
        if isinstance(event, PurchaseRecorded):
            back = sum(
                each.accounting_amount_minor
                for each in mine
                if not isinstance(each, PurchaseRecorded) and each.purchase_id == event.purchase_id
            )
            amount, counts = event.accounting_total_minor, event.accounting_total_minor > back
        else:
            amount, counts = -event.accounting_amount_minor, False
        facts.append(Fact(event.occurred_at.astimezone(zone), amount, counts))
    return facts


def rfm_of(facts: Sequence[Fact], policy: Policy, as_of: datetime) -> tuple[int, int, int] | None:
    counted = [fact for fact in facts if fact.counts]
    if not counted:
        return None
    seen = facts if policy.window_days is None else tiers.within(facts, as_of, policy.window_days)
    last = max(fact.occurred_at for fact in counted)
    return (
        -rfm.whole_days(last, as_of),
        tiers.measured(seen, "purchases"),
        tiers.measured(seen, "net_revenue"),
    )


def expected(
    facts: Sequence[Fact],
    base: Sequence[tuple[int, int, int]],
    policy: Policy,
    zone: ZoneInfo,
    counted_at: datetime,
) -> tuple[Any, ...]:
    """(as_of, r, f, m, numerator, deserved tier) in plain Python."""
    latest = max(fact.occurred_at for fact in facts).astimezone(zone)
    end_of_day = datetime.combine(latest.date() + timedelta(days=1), time(), zone)
    as_of = max(counted_at, end_of_day.astimezone(UTC))
    mine, n = rfm_of(facts, policy, as_of), len(base)
    if mine is None:
        return as_of, None, None, None, None, None
    weights = (policy.recency_weight, policy.frequency_weight, policy.monetary_weight)

    def worse(each: tuple[int, int, int]) -> tuple[int, int, int]:
        r, f, m = (rfm.worse([other[k] for other in base], each[k]) for k in range(3))
        return r, f, m

    numerator = tiers.value_numerator(weights, worse(mine)) if n else None
    lower = rfm.worse([tiers.value_numerator(weights, worse(other)) for other in base], numerator or 0)
    population = policy.basis(n) == "population"
    if population and n:
        r, f, m = (rfm.band(count, n) for count in worse(mine))
    else:
        r = rfm.fixed_recency_band(-mine[0], policy.fixed_recency_days)
        f = rfm.fixed_band(mine[1], policy.fixed_frequency)
        m = rfm.fixed_band(mine[2], [each * 100 for each in policy.fixed_monetary])
    qualification = policy.qualification
    if qualification.by == "period":
        has = tiers.qualifying(facts, qualification, as_of, zone)
        deserved = tiers.level_by_threshold(
            policy.tiers, has, 100 if qualification.measure == "net_revenue" else 1
        )
    elif not population:
        deserved = tiers.level_by_revenue(policy.tiers, mine[2], 100)
    elif qualification.by == "score_threshold":
        deserved = tiers.level_by_threshold(policy.tiers, numerator or 0, n)
    else:
        deserved = tiers.level_by_score(policy.tiers, lower, n)
    return as_of, r, f, m, numerator, LEVELS[deserved]


@pytest.mark.parametrize("zone_name", ["UTC", "Asia/Shanghai", "America/New_York"])
@settings(max_examples=60, **SLOW)
@given(policies(), histories, histories, st.integers(1, 6))
def test_sql_counts_windows_and_periods_after_every_event_as_the_rules_do(
    scorings: dict[str, Any], zone_name: str, changes: dict[str, Any], before: Any, after: Any, cut: int
) -> None:
    scoring, zone = scorings[zone_name], ZoneInfo(zone_name)
    with rolled_back(scoring.sessions):
        world = World(scoring)
        draft = drafted(world, **changes)
        assert draft["faults"] == []
        published(world, draft)
        policy = parse(2, draft["content"])
        told = events_of(world, before, "B")
        world.happens(*(world.registered(f"c{i}") for i in range(4)), *told)
        world.calibrated(COUNTED)
        customers = [world.customer(f"c{i}") for i in range(4)]
        found = [rfm_of(facts_of(told, each, zone, COUNTED), policy, COUNTED) for each in customers]
        base = [each for each in found if each is not None]

        def seen(customer_id: Any) -> tuple[Any, ...]:
            return expected(facts_of(told, customer_id, zone), base, policy, zone, COUNTED)

        changed: dict[Any, list[tuple[str, datetime]]] = {each: [] for each in customers}

        def judge(customer_id: Any) -> None:
            as_of, *_, deserved = seen(customer_id)
            held = changed[customer_id][-1][0] if changed[customer_id] else None
            if deserved is not None and (held is None or LEVELS.index(deserved) > LEVELS.index(held)):
                changed[customer_id].append((deserved, as_of))

        for each in {event.customer_id for event in told}:
            judge(each)
        later = events_of(world, after, "A")
        purchases = [event for event in later if isinstance(event, PurchaseRecorded)]
        for start in range(0, len(purchases), cut):
            world.happens(*purchases[start : start + cut])
        for event in purchases:
            told.append(event)
            judge(event.customer_id)
        for i, each in enumerate(customers):
            announced = world.announced("tier_changed", f"c{i}")
            assert [(e["tier"], datetime.fromisoformat(e["as_of"])) for e in announced] == changed[each]
        returns = [event for event in later if event not in purchases]
        if returns:
            world.happens(*returns)
        told += returns
        for each in {event.customer_id for event in told}:
            assert stored(world, each) == seen(each)[:-1]
        world.assert_sound()


@pytest.fixture
def scorings(service: Any) -> dict[str, Any]:
    return {name: service(SERVICE, time_zone=name) for name in ("UTC", "Asia/Shanghai", "America/New_York")}


def stored(world: World, customer_id: Any) -> tuple[Any, ...]:
    with world.scoring.sessions() as session:
        row = session.execute(
            text("select as_of, r, f, m, numerator from score where customer_id = :id"), {"id": customer_id}
        ).one()
    return tuple(row)


PERIOD = {
    "by": "period", "period": "calendar_year", "measure": "net_revenue",
}  # fmt: skip
BY_REVENUE = [
    {"code": "standard"}, {"code": "silver", "threshold": 100}, {"code": "gold", "threshold": 1_000},
]  # fmt: skip


def test_what_was_earned_in_one_year_holds_through_the_next_and_the_sheet_says_what_counts(
    world: World,
) -> None:
    world.happens(world.registered("ann"), world.purchase("ann", "P1", 150_00, NEW_YEAR - days(200)))
    published(world, drafted(world, qualification=PERIOD, tiers=BY_REVENUE, grace_days=0))
    world.calibrated(NEW_YEAR)
    assert world.score("ann")["tier"]["code"] == "silver"
    # As of midnight of the first of January the year that has just ended is under way for the last time.
    for late in (1, 364, 365):
        world.calibrated(NEW_YEAR + days(late))
        assert (world.score("ann")["tier"]["code"], world.score("ann")["tier"]["downgrade_due_at"]) == (
            "silver",
            None,
        )
    world.happens(world.purchase("ann", "P2", 20_00, NEW_YEAR + days(100)))
    assert world.score("ann")["tier"]["qualifying"] == 150_00, "the better of both years"
    world.calibrated(NEW_YEAR + days(366))
    world.calibrated(NEW_YEAR + days(367))
    sheet = world.score("ann")["tier"]
    assert (sheet["code"], sheet["qualifying"]) == ("standard", 20_00)


def test_a_raise_comes_with_the_purchase_that_reaches_the_threshold(world: World) -> None:
    world.happens(world.registered("ann"), world.purchase("ann", "P1", 60_00, NEW_YEAR - days(5)))
    published(world, drafted(world, qualification=PERIOD, tiers=BY_REVENUE))
    world.calibrated(NEW_YEAR)
    # A new year begins at nothing: what was bought in the old one is not added.
    world.happens(world.purchase("ann", "P2", 60_00, NEW_YEAR + days(3)))
    assert world.score("ann")["tier"]["code"] == "standard"
    world.happens(world.purchase("ann", "P3", 40_00, NEW_YEAR + days(4)))
    assert world.score("ann")["tier"]["code"] == "silver"
    assert world.announced("tier_changed", "ann")[-1]["reason"] == "purchase"


def test_a_downgrade_by_one_step_takes_a_grace_for_each(world: World) -> None:
    world.happens(world.registered("ann"), world.purchase("ann", "P1", 5_000_00, NEW_YEAR - days(5)))
    rolling = {"by": "period", "period": "rolling_days", "days": 30, "measure": "net_revenue"}
    changes = {"qualification": rolling, "tiers": BY_REVENUE, "grace_days": 10}
    published(world, drafted(world, downgrade={"to": "one_step", "notice": False}, **changes))
    held = []
    for late in (0, 40, 49, 50, 51, 60, 61):
        world.calibrated(NEW_YEAR + days(late))
        held.append(world.score("ann")["tier"]["code"])
    assert held == ["gold", "gold", "gold", "silver", "silver", "silver", "standard"]
    assert world.announced("tier_downgrade_due") == [], "no notice is wanted"


def test_frequency_and_monetary_of_the_sheet_are_those_of_the_window(world: World) -> None:
    world.happens(
        world.registered("ann"),
        world.purchase("ann", "old", 500_00, NEW_YEAR - days(100)),
        world.purchase("ann", "new", 30_00, NEW_YEAR - days(10)),
    )
    published(world, drafted(world, window_days=30))
    world.calibrated(NEW_YEAR)
    score = world.score("ann")
    assert (score["rfm"]["frequency"], score["rfm"]["monetary_minor"]) == (1, 30_00)
    assert (score["metrics"]["purchase_count"], score["metrics"]["net_revenue_minor"]) == (2, 530_00)
    published(world, drafted(world, window_days=None))
    world.calibrated(NEW_YEAR)
    assert world.score("ann")["rfm"]["frequency"] == 2
