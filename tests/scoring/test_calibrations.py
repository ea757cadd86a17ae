from datetime import UTC, datetime
from uuid import uuid4

import pytest
from sqlalchemy import text

from services.scoring.app import SERVICE
from services.scoring.jobs import calibrate, calibrate_nightly
from shared.jobs.schedule import Context
from tests.scoring.chunks import die_inside_a_chunk, one_chunk
from tests.scoring.world import MIDNIGHT, NOON, World, days


def many(world: World, count: int = 200) -> None:
    """Customers c000 … with one to nine purchases, the later the richer; everything long before NOON."""
    names = [f"c{i:03}" for i in range(count)]
    world.happens(*(world.registered(name) for name in names))
    world.happens(
        *(
            world.purchase(name, f"{name}-{k}", 100 * (i + 1), NOON - days(10 + (count - i) % 90 + k))
            for i, name in enumerate(names)
            for k in range(1 + i * 9 // count)
        )
    )


def test_the_first_calibration_is_silent_and_says_what_it_did(world: World) -> None:
    many(world)
    job = world.calibrated(MIDNIGHT)

    tiers = [world.score(f"c{i:03}")["tier"]["code"] for i in range(200)]
    assert {code: tiers.count(code) for code in set(tiers)} == job_counts(world)
    changed = world.announced("tier_changed")
    assert len(changed) == 200
    assert all(each["initial"] and each["reason"] == "calibration" for each in changed)
    assert all(each["previous_tier"] is None and each["policy_version"] == 1 for each in changed)
    assert {each["historical"] for each in changed} == {True}, "as_of is months before the database's clock"
    assert job.report["counted"] == 200
    assert job.report["basis"] == "population"
    assert job.report["tiers"] == {"raised": 200}
    world.assert_sound()


def job_counts(world: World) -> dict[str, int]:
    report = world.scoring.client.get("/v1/reports/tier-distribution").json()
    assert report["customers"] == 200 and report["without_tier"] == 0
    assert [each["tier"] for each in report["tiers"]] == ["platinum", "gold", "silver", "standard"]
    return {each["tier"]: each["customers"] for each in report["tiers"]}


def test_equal_customers_are_banded_equally(world: World) -> None:
    names = [f"c{i:03}" for i in range(150)]
    world.happens(*(world.registered(name) for name in names))
    world.happens(*(world.purchase(name, f"{name}-1", 1_000) for name in names))
    world.happens(*(world.purchase(name, f"{name}-2", 1_000) for name in names[:30]))
    world.calibrated(MIDNIGHT)
    assert {(each["f"], each["m"]) for each in (world.score(name)["rfm"] for name in names[30:])} == {(1, 1)}
    # 120 of 150 are strictly worse: 1 + floor(5 × 120 / 150).
    assert {(each["f"], each["m"]) for each in (world.score(name)["rfm"] for name in names[:30])} == {(5, 5)}
    assert {world.score(name)["tier"]["code"] for name in names[:30]} == {"gold"}, "80 % score strictly lower"


def test_facts_at_or_after_as_of_are_not_counted_but_make_the_live_score(world: World) -> None:
    many(world, 120)
    world.happens(world.registered("late"), world.purchase("late", "L1", 9_999_00, MIDNIGHT))
    # A purchase before as_of that came back after it still counted then.
    world.happens(world.returned("c119", "c119-0", 120 * 100, MIDNIGHT + days(1)))
    job = world.calibrated(MIDNIGHT)
    assert job.report["counted"] == 120
    with world.scoring.sessions() as session:
        frequencies = dict(
            session.execute(text("select value, worse_count from distribution where measure = 'f'")).all()
        )
    assert max(frequencies) == 9, "c119 is counted with all of its purchases"
    late = world.score("late")
    assert late["as_of"] == "2026-03-12T00:00:00Z", "the end of the own last fact's day"
    assert late["rfm"]["recency_days"] == 1
    assert late["rfm"]["m"] == 5
    assert world.score("c119")["rfm"]["frequency"] == 8


def test_an_upgrade_comes_at_once_with_the_facts_own_times(world: World) -> None:
    many(world)
    world.calibrated(MIDNIGHT)
    assert world.score("c000")["tier"]["code"] == "standard"
    recorded = MIDNIGHT + days(3)
    first = world.purchase("c000", "big", 9_000_00, MIDNIGHT + days(1), recorded_at=recorded)
    more = [
        world.purchase(
            "c000", f"more{i}", 9_000_00, MIDNIGHT + days(2), recorded_at=recorded + days(i), historical=True
        )
        for i in range(1, 10)
    ]
    world.happens(first, *more)
    changed = world.announced("tier_changed", "c000")[1:]
    assert [(each["previous_tier"], each["tier"]) for each in changed] == [
        ("standard", "silver"), ("silver", "gold"), ("gold", "platinum"),
    ]  # fmt: skip
    assert all(not each["initial"] and each["reason"] == "purchase" for each in changed)
    assert (changed[0]["effective_at"], changed[0]["historical"]) == ("2026-03-14T00:00:00Z", False)
    assert changed[1]["historical"] is True
    assert world.score("c000")["tier"]["code"] == "platinum"
    with world.scoring.sessions() as session:
        causes = session.scalars(
            text(
                "select causation_id from shared.outbox where type like '%tier_changed%' and key = :key order by id"
            ),
            {"key": str(world.customer("c000"))},
        ).all()
    assert causes[0] is None and causes[1] == first.id
    history = world.scoring.client.get(f"/v1/customers/{world.customer('c000')}/tier-history").json()["items"]
    assert [each["tier"] for each in history] == ["platinum", "gold", "silver", "standard"]
    world.assert_sound()


def test_what_is_announced_does_not_depend_on_how_events_are_cut_into_batches(world: World) -> None:
    many(world)
    world.calibrated(MIDNIGHT)
    seen = []
    for cut in (1, 3, 10):
        name = f"cut in {cut}"
        events = [
            # Worth little, nothing (which only makes the last purchase look older), much.
            world.purchase(
                name, f"{name}{i}", [100, 0, 500_00][i % 3], MIDNIGHT + days([1, 9, 2][i % 3] + i / 10)
            )
            for i in range(10)
        ]
        world.happens(world.registered(name))
        for start in range(0, len(events), cut):
            world.happens(*events[start : start + cut])
        seen.append(
            (
                [
                    (each["previous_tier"], each["tier"], each["as_of"])
                    for each in world.announced("tier_changed", name)
                ],
                [
                    (each["r"], each["f"], each["m"], each["as_of"])
                    for each in world.announced("score_updated", name)
                ],
            )
        )
    assert seen[0] == seen[1] == seen[2]
    assert len(seen[0][0]) > 1 and len(seen[0][1]) > 3


def test_a_downgrade_is_announced_and_comes_with_the_first_review_after_the_grace(world: World) -> None:
    many(world)
    world.calibrated(MIDNIGHT)
    assert world.score("c199")["tier"]["code"] == "platinum"
    # All came back: no counted purchase is left, which deserves the lowest tier.
    world.happens(*(world.returned("c199", f"c199-{k}", 200 * 100, MIDNIGHT - days(1)) for k in range(9)))
    assert world.score("c199")["rfm"] is None
    assert world.score("c199")["tier"]["code"] == "platinum", "a downgrade waits for a review"

    world.calibrated(MIDNIGHT + days(1))
    (due,) = world.announced("tier_downgrade_due", "c199")
    assert (due["tier"], due["deserved_tier"]) == ("platinum", "standard")
    assert due["due_at"] == "2026-04-11T00:00:00Z"
    world.calibrated(MIDNIGHT + days(30))
    assert world.score("c199")["tier"]["code"] == "platinum"
    assert len(world.announced("tier_downgrade_due", "c199")) == 1

    world.calibrated(MIDNIGHT + days(31))
    assert world.score("c199")["tier"]["code"] == "standard"
    last = world.announced("tier_changed", "c199")[-1]
    assert (last["previous_tier"], last["tier"], last["initial"]) == ("platinum", "standard", False)
    world.assert_sound()


def test_whoever_deserves_the_tier_again_keeps_it(world: World) -> None:
    many(world)
    world.calibrated(MIDNIGHT)
    world.happens(*(world.returned("c199", f"c199-{k}", 200 * 100, MIDNIGHT - days(1)) for k in range(9)))
    world.calibrated(MIDNIGHT + days(1))
    assert world.score("c199")["tier"]["downgrade_due_at"] is not None
    world.happens(*(world.purchase("c199", f"again{k}", 30_000, MIDNIGHT + days(2)) for k in range(12)))
    world.calibrated(MIDNIGHT + days(40))
    tier = world.score("c199")["tier"]
    assert (tier["code"], tier["downgrade_due_at"]) == ("platinum", None)


def test_a_new_customer_gets_a_tier_with_the_first_purchase_after_a_calibration(world: World) -> None:
    many(world)
    world.calibrated(MIDNIGHT)
    world.happens(world.registered("new"))
    assert world.score("new")["tier"] is None
    world.happens(world.purchase("new", "N1", 1, MIDNIGHT + days(1)))
    (changed,) = world.announced("tier_changed", "new")
    assert (changed["previous_tier"], changed["initial"], changed["reason"]) == (None, False, "purchase")


def test_a_purchase_during_the_first_calibration_never_takes_the_credit_for_it(world: World) -> None:
    many(world)
    job = world.calibration(MIDNIGHT)
    while job.cursor.get("phase") != "reband":
        one_chunk(job, calibrate)
    world.happens(world.purchase("c199", "fresh", 1, MIDNIGHT))
    (changed,) = world.announced("tier_changed", "c199")
    assert (changed["tier"], changed["initial"], changed["reason"]) == ("platinum", True, "calibration")
    calibrate(job)
    assert len(world.announced("tier_changed", "c199")) == 1
    world.assert_sound()


def test_a_calibration_killed_in_any_chunk_and_resumed_gives_the_same(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("services.scoring.jobs.calibration.COUNTED_AT_ONCE", 70)
    monkeypatch.setattr("services.scoring.jobs.calibration.REBANDED_AT_ONCE", 60)
    many(world)
    whole = world.calibrated(MIDNIGHT)
    expected, report = world.state(), whole.report
    forget(world)

    job = world.calibration(MIDNIGHT)
    epoch, parameters = 1, job.parameters
    chunks = 0
    while job.cursor.get("phase") != "done":
        die_inside_a_chunk(job, calibrate)
        epoch += 1
        job = world.taken_over(job.id, parameters, epoch)
        one_chunk(job, calibrate)
        chunks += 1
    assert chunks > 8
    assert world.state() == expected
    assert {**job.report, "as_of": None} == {**report, "as_of": None}
    with world.scoring.sessions() as session:
        progress = session.execute(
            text("select total, processed, failed from shared.job where id = :id"), {"id": job.id}
        )
        assert tuple(progress.one()) == (400, 400, 0)
    world.assert_sound()


def forget(world: World) -> None:
    """Undo a calibration by hand."""
    with world.scoring.sessions.begin() as session:
        for table in (
            "calibration", "distribution", "calibration_input", "model", "score", "outlook", "stage_change", "tier",
            "tier_change",
        ):  # fmt: skip
            session.execute(text(f"delete from {table}"))


def test_a_later_calibration_supersedes_one_that_is_slower(world: World) -> None:
    many(world)
    slow, fast = world.calibration(MIDNIGHT - days(5)), world.calibration(MIDNIGHT)
    one_chunk(slow, calibrate)
    calibrate(fast)
    calibrate(slow)
    assert slow.report["superseded"] is True
    assert world.score("c000")["calibration"]["id"] == str(fast.id)
    states = {
        each["id"]: each["state"] for each in world.scoring.client.get("/v1/calibrations").json()["items"]
    }
    assert states == {str(slow.id): "superseded", str(fast.id): "current"}


def test_the_nightly_run_keeps_a_pinned_as_of_until_somebody_calibrates_without_one(world: World) -> None:
    many(world)
    calibrate_nightly(Context(world.scoring.settings, world.scoring.sessions, world.scoring.engine))
    with world.scoring.sessions() as session:
        assert session.scalar(text("select parameters from shared.job")) == {"follow_pin": True}
    world.calibrated(MIDNIGHT)
    nightly = world.calibration(None, follow_pin=True)
    calibrate(nightly)
    assert nightly.report["as_of"] == MIDNIGHT.isoformat()
    world.calibrated(None)
    after = world.calibration(None, follow_pin=True)
    calibrate(after)
    assert datetime.fromisoformat(after.report["as_of"]) > datetime(2026, 3, 12, tzinfo=UTC)


def test_a_calibration_without_customers_works(world: World) -> None:
    job = world.calibrated(None)
    assert (job.report["counted"], job.report["basis"]) == (0, "fixed")
    world.happens(world.registered("ann"), world.purchase("ann", "P1", 600_00))
    score = world.score("ann")
    assert (score["tier"]["code"], score["value"]["score"]) == ("silver", None)
    assert score["rfm"]["m"] == 3


def test_calibrations_are_posted_as_jobs(world: World) -> None:
    client = world.scoring.client
    reply = client.post("/v1/calibrations", json={"as_of": "2011-12-10T00:00:00Z"})
    assert reply.status_code == 202
    assert reply.headers["location"] == f"/scoring/v1/jobs/{reply.json()['id']}"
    with world.scoring.sessions() as session:
        job = session.execute(text("select kind, parameters, state from shared.job")).one()
    assert tuple(job) == ("calibration", {"as_of": "2011-12-10T00:00:00+00:00"}, "queued")
    assert client.post("/v1/calibrations", json={}).status_code == 202
    late = client.post("/v1/calibrations", json={"as_of": "9999-12-31T00:00:00Z"})
    assert (late.status_code, late.json()["code"]) == (409, "as_of_too_late")
    early = client.post("/v1/calibrations", json={"as_of": "0001-01-01T00:00:00+12:00"})
    assert (early.status_code, early.json()["code"]) == (409, "as_of_too_early")
    assert client.post("/v1/calibrations", json={"as_of": "yesterday"}).status_code == 422
    assert world.scoring.stranger.post("/v1/calibrations", json={}).status_code == 401


def test_reports_add_up(world: World) -> None:
    empty = world.scoring.client.get("/v1/reports/rfm-grid").json()
    assert (empty["customers"], empty["cells"], empty["as_of"]) == (0, [], None)
    many(world)
    world.happens(world.registered("prospect"))
    world.calibrated(MIDNIGHT)
    grid = world.scoring.client.get("/v1/reports/rfm-grid").json()
    assert grid["customers"] == sum(cell["customers"] for cell in grid["cells"]) == 200
    assert len(grid["cells"]) == 25
    assert sum(each["customers"] for each in grid["segments"]) == 200
    assert grid["basis"] == "population"
    tiers = world.scoring.client.get("/v1/reports/tier-distribution").json()
    assert tiers["without_tier"] == 1
    assert sum(each["net_revenue_minor"] for each in tiers["tiers"]) == sum(
        cell["net_revenue_minor"] for cell in grid["cells"]
    )
    assert tiers["tiers"][0]["names"] == {"en": "Platinum", "zh": "铂金"}
    policy = world.scoring.client.get("/v1/policy")
    assert (policy.json()["version"], policy.headers["etag"]) == (1, '"1"')


def test_an_unknown_customer_is_not_found(world: World) -> None:
    for path in ("score", "tier-history"):
        reply = world.scoring.client.get(f"/v1/customers/{uuid4()}/{path}")
        assert (reply.status_code, reply.json()["code"]) == (404, "customer_not_found")


def test_the_tables_in_code_are_those_of_the_migrations(database) -> None:
    from shared import migrate

    chain = migrate.chains(SERVICE.name, SERVICE.migrations)[1]
    assert migrate.check(database("scoring"), chain) == []
