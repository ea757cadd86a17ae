"""A tier that is held by hand stays whatever happens, and gives way to what is deserved when it ends."""

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import uuid4

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sqlalchemy import text

from services.scoring.jobs import expire_tiers, expire_tiers_daily
from shared.jobs.schedule import Context
from tests.interleaving import SLOW, rolled_back
from tests.scoring.policies import drafted, published, tried, worker
from tests.scoring.test_calibrations import many
from tests.scoring.test_merges import erased, merge, tier, unmerge
from tests.scoring.world import MIDNIGHT, World, days

SOON = datetime.now(UTC) + timedelta(days=30)


def hold(world: World, name: str, code: str, **more: Any) -> Any:
    body = {"tier": code, "reason": "ambassador"} | more
    return world.scoring.client.put(f"/v1/customers/{world.customer(name)}/tier", json=body)


def release(world: World, name: str) -> None:
    reply = world.scoring.client.delete(f"/v1/customers/{world.customer(name)}/tier")
    assert reply.status_code == 204, reply.text


def ended(world: World) -> None:
    """Everything that ends has ended, and the daily job was there."""
    with world.scoring.sessions.begin() as session:
        session.execute(
            text("update manual_tier set until = now() - interval '1 hour' where until is not null")
        )
    expire_tiers_daily(Context(world.scoring.settings, world.scoring.sessions, world.scoring.engine))
    with world.scoring.sessions() as session:
        job_id = session.scalars(
            text("select id from shared.job where kind = 'tier_expiry' order by id desc limit 1")
        ).one()
    expire_tiers(worker(world, job_id))


@pytest.fixture
def company(world: World) -> World:
    many(world)
    world.calibrated(MIDNIGHT)
    return world


def test_a_tier_held_by_hand_is_announced_and_says_why_by_whom_and_until_when(company: World) -> None:
    reply = hold(company, "c000", "gold", until=SOON.isoformat())
    assert reply.status_code == 200, reply.text
    shown = reply.json()
    assert (shown["code"], shown["downgrade_due_at"]) == ("gold", None)
    assert (shown["manual"]["reason"], shown["manual"]["by"]) == ("ambassador", "admin")
    assert datetime.fromisoformat(shown["manual"]["until"]) == SOON
    assert company.score("c000")["tier"] == shown
    told = company.announced("tier_changed", "c000")[-1]
    assert (told["previous_tier"], told["tier"], told["reason"]) == ("standard", "gold", "manual")
    (entry,) = company.scoring.client.get("/v1/audit").json()["items"]
    assert (entry["action"], entry["subject"]) == ("tier_held", str(company.customer("c000")))
    assert "ambassador" not in str(entry["facts"]), "the reason may name a person"
    assert hold(company, "c000", "gold", reason="again").json()["manual"]["reason"] == "again"
    assert len(company.announced("tier_changed", "c000")) == 2, "holding the same again is no news"
    company.assert_sound()


def test_it_is_held_exactly_against_purchases_returns_and_reviews(company: World) -> None:
    hold(company, "c199", "silver")
    hold(company, "c000", "gold")
    company.happens(
        company.purchase("c199", "more", 99_000_00, MIDNIGHT + days(1)),
        company.purchase("c000", "some", 100, MIDNIGHT + days(1)),
        company.returned("c000", "c000-0", 100, MIDNIGHT + days(2)),
    )
    for later in (1, 40, 80):
        company.calibrated(MIDNIGHT + days(later))
    assert (tier(company, "c199"), tier(company, "c000")) == ("silver", "gold")
    assert company.announced("tier_downgrade_due", "c000") == []
    assert company.score("c199")["rfm"]["m"] == 5, "the score moves on"
    company.assert_sound()


def test_a_release_gives_at_once_what_is_deserved(company: World) -> None:
    for name, code in (("c000", "platinum"), ("c199", "standard"), ("c199", "silver"), ("c198", "platinum")):
        hold(company, name, code)
    for name in ("c000", "c199", "c198"):
        release(company, name)
        release(company, name)
    assert [tier(company, name) for name in ("c000", "c199", "c198")] == ["standard", "platinum", "platinum"]
    fallen, risen = (company.announced("tier_changed", name)[-1] for name in ("c000", "c199"))
    assert (fallen["previous_tier"], fallen["tier"], fallen["reason"]) == ("platinum", "standard", "manual")
    assert (risen["previous_tier"], risen["tier"], risen["reason"]) == ("silver", "platinum", "manual")
    assert len(company.announced("tier_changed", "c198")) == 1
    shown = company.score("c198")["tier"]
    assert (shown["manual"], shown["downgrade_due_at"]) == (None, None)
    actions = [each["action"] for each in company.scoring.client.get("/v1/audit").json()["items"]]
    assert actions.count("tier_released") == 3
    company.assert_sound()


def test_one_who_never_bought_may_hold_a_tier_and_is_left_the_lowest(company: World) -> None:
    company.happens(company.registered("prospect"))
    assert hold(company, "prospect", "platinum").json()["code"] == "platinum"
    company.calibrated(MIDNIGHT)
    assert tier(company, "prospect") == "platinum"
    release(company, "prospect")
    shown = company.score("prospect")["tier"]
    assert (shown["code"], shown["downgrade_due_at"]) == ("standard", None)
    told = [(each["previous_tier"], each["tier"]) for each in company.announced("tier_changed", "prospect")]
    assert told == [(None, "platinum"), ("platinum", "standard")]
    company.assert_sound()


def test_what_has_ended_is_released_by_the_daily_job_and_nothing_else_is(
    company: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("services.scoring.jobs.passing_time.MOVED_AT_ONCE", 2)
    for i in range(5):
        hold(company, f"c{i:03}", "gold", until=SOON.isoformat())
    hold(company, "c005", "gold")
    ended(company)
    assert [tier(company, f"c{i:03}") for i in range(6)] == ["standard"] * 5 + ["gold"]
    assert company.announced("tier_changed", "c000")[-1]["reason"] == "manual"
    company.assert_sound()


def test_what_cannot_be_held_is_refused(world: World) -> None:
    world.happens(world.registered("ann"), world.purchase("ann", "P1", 100))
    early = hold(world, "ann", "gold")
    assert (early.status_code, early.json()["code"]) == (409, "no_calibration")
    world.calibrated(MIDNIGHT)
    unknown = hold(world, "ann", "tin")
    assert (unknown.status_code, unknown.json()["errors"][0]["pointer"]) == (422, "/tier")
    past = hold(world, "ann", "gold", until="2020-01-01T00:00:00Z")
    assert (past.status_code, past.json()["code"]) == (422, "until_past")
    assert hold(world, "ann", "gold", reason=" ").status_code == 422
    stranger = f"/v1/customers/{uuid4()}/tier"
    assert world.scoring.client.put(stranger, json={"tier": "gold", "reason": "x"}).status_code == 404
    assert world.scoring.client.delete(stranger).status_code == 404
    world.happens(erased(world, "ann"))
    assert hold(world, "ann", "gold").status_code == 410


def test_of_an_erased_customer_no_tier_is_held_any_more(company: World) -> None:
    hold(company, "c001", "gold")
    company.happens(erased(company, "c001"))
    with company.scoring.sessions() as session:
        assert session.scalar(text("select count(*) from manual_tier")) == 0
    company.assert_sound()


def test_a_held_tier_rests_and_wakes_with_the_customer_who_has_it(company: World) -> None:
    hold(company, "c000", "gold")
    company.happens(*merge(company, "c000", "c001"))
    assert tier(company, "c000") == tier(company, "c001") == "standard", "the winner's rules"
    company.assert_sound()
    company.calibrated(MIDNIGHT + days(50))
    company.happens(*unmerge(company, "c000", "c001"))
    assert (tier(company, "c000"), tier(company, "c001")) == ("gold", "standard")
    assert company.score("c000")["tier"]["manual"]["reason"] == "ambassador"
    company.assert_sound()


def test_a_merged_customers_held_tier_is_its_winners_and_outlasts_the_merge(company: World) -> None:
    company.happens(*merge(company, "c000", "c001"))
    assert hold(company, "c000", "gold").status_code == 200
    assert tier(company, "c001") == "gold"
    company.happens(*unmerge(company, "c000", "c001"))
    assert (tier(company, "c000"), tier(company, "c001")) == ("standard", "gold")
    company.assert_sound()
    release(company, "c001")
    assert tier(company, "c001") == "standard"


def test_what_ended_while_it_rested_is_reviewed_when_it_wakes(company: World) -> None:
    hold(company, "c000", "gold", until=SOON.isoformat())
    company.happens(*merge(company, "c000", "c001"))
    ended(company)
    company.assert_sound()
    company.happens(*unmerge(company, "c000", "c001"))
    assert company.score("c000")["tier"]["manual"] is None
    company.calibrated(datetime.now(UTC) + days(1))
    assert tier(company, "c000") == "standard"
    company.assert_sound()


def test_a_backtest_leaves_held_tiers_where_they_are(company: World) -> None:
    hold(company, "c000", "platinum")
    hold(company, "c199", "standard")
    draft = drafted(company, grace_days=0)
    result = tried(company, draft)
    assert (result["rising"], result["falling"]) == (0, 0)
    published(company, draft)
    company.calibrated(MIDNIGHT)
    assert (tier(company, "c000"), tier(company, "c199")) == ("platinum", "standard")


steps = st.lists(
    st.one_of(
        st.tuples(
            st.just("hold"), st.sampled_from("abc"), st.sampled_from(["standard", "silver", "platinum"])
        ),
        st.tuples(st.just("release"), st.sampled_from("abc"), st.none()),
        st.tuples(st.just("buy"), st.sampled_from("abc"), st.integers(1, 3)),
        st.tuples(st.just("merge"), st.sampled_from("abc"), st.sampled_from("abc")),
        st.tuples(st.just("unmerge"), st.sampled_from("abc"), st.sampled_from("abc")),
        st.tuples(st.just("calibrate"), st.none(), st.integers(0, 60)),
        st.tuples(st.just("end"), st.none(), st.none()),
    ),
    max_size=12,
)


@settings(max_examples=40, **SLOW)
@given(steps)
def test_whatever_happens_who_is_held_is_held_and_nobody_else(world: World, told: Sequence[Any]) -> None:
    with rolled_back(world.scoring.sessions):
        fresh = World(world.scoring)
        fresh.happens(*(fresh.registered(name) for name in "abc"))
        fresh.calibrated(MIDNIGHT)
        into: dict[str, str] = {}
        for number, (kind, who, what) in enumerate(told):
            if kind == "hold":
                assert hold(fresh, who, what, until=SOON.isoformat()).json()["code"] == what
            elif kind == "release":
                release(fresh, who)
            elif kind == "buy":
                fresh.happens(fresh.purchase(who, f"P{number}", 60_000 * what, MIDNIGHT))
            elif kind == "merge" and who != what and not {who, what} & {*into, *into.values()}:
                into[who] = what
                fresh.happens(*merge(fresh, who, what))
            elif kind == "unmerge" and into.get(who) == what:
                del into[who]
                fresh.happens(*unmerge(fresh, who, what))
            elif kind == "calibrate":
                fresh.calibrated(MIDNIGHT + days(what))
            elif kind == "end":
                ended(fresh)
            fresh.assert_sound()
