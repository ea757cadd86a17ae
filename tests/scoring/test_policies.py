"""Policies are drafted, tried and published; what a backtest foretells is what the calibration then does."""

import json
from collections import Counter
from contextlib import suppress
from pathlib import Path
from typing import Any
from uuid import UUID, uuid4

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sqlalchemy import text

from services.scoring.app import SERVICE
from services.scoring.jobs import backtest, calibrate
from services.scoring.rules.policy import parse
from services.scoring.rules.policy_faults import faults, merged
from shared.audit.verification import verify
from tests.scoring.policies import begun, drafted, published, tiers, tried, worker
from tests.scoring.test_calibrations import many
from tests.scoring.world import MIDNIGHT, World, days

LEVELS = [("standard", 0, None), ("silver", 30, 100), ("gold", 60, 1_000), ("diamond", 90, 4_000)]
OTHER_TIERS = [
    {"code": code, "percentile": percentile, "net_revenue": revenue} for code, percentile, revenue in LEVELS
]


def first_policy(world: World) -> dict[str, Any]:
    (only,) = world.scoring.client.get("/v1/tier-policies").json()["items"]
    return only


def test_a_draft_begins_as_the_latest_version_with_changes(world: World) -> None:
    first = first_policy(world)
    assert (first["state"], first["version"], first["faults"]) == ("published", 1, [])
    reply = world.scoring.client.post(
        "/v1/tier-policies",
        json={"changes": {"weights": {"recency": 10, "monetary": 50}}, "note": "  less recency "},
    )
    draft = reply.json()
    assert reply.status_code == 201 and reply.headers["etag"] == '"1"'
    assert reply.headers["location"] == f"/scoring/v1/tier-policies/{draft['id']}"
    assert (draft["state"], draft["version"], draft["based_on"], draft["note"]) == (
        "draft",
        None,
        1,
        "less recency",
    )
    assert draft["content"] == first["content"] | {
        "weights": {"recency": 10, "frequency": 40, "monetary": 50}
    }
    assert draft["faults"] == []
    assert world.scoring.client.get("/v1/policy").json()["version"] == 1, "a draft is not followed"
    assert [each["id"] for each in world.scoring.client.get("/v1/tier-policies").json()["items"]] == [
        draft["id"], first["id"],
    ]  # fmt: skip


def test_every_fault_of_a_draft_is_told_with_its_place_and_keeps_it_from_being_tried_or_published(
    world: World,
) -> None:
    draft = drafted(
        world,
        weights={"recency": 30},
        grace_days="soon",
        segments=[["a"] * 5] * 4,
        fixed_bands={"recency_days": [30, 90, 180, 365]},
        tiers=[{"code": "x", "percentile": 0}, {"code": "x", "percentile": 120, "net_revenue": 5}],
        window_days=0,
        colour="blue",
        stages={"late": 4.0},
    )
    told = {(each["pointer"], each["code"]) for each in draft["faults"]}
    assert told == {
        ("/content/weights", "sum"),
        ("/content/grace_days", "type"),
        ("/content/segments", "length"),
        *((f"/content/fixed_bands/recency_days/{i}", "order") for i in (1, 2, 3)),
        ("/content/tiers/1/code", "duplicate"),
        ("/content/tiers/1/percentile", "range"),
        ("/content/window_days", "range"),
        ("/content/colour", "unknown"),
        ("/content/stages/dormant", "order"),
    }
    for path, headers in (("backtest", {}), ("publish", {"If-Match": '"1"'})):
        reply = world.scoring.client.post(f"/v1/tier-policies/{draft['id']}/{path}", json={}, headers=headers)
        assert (reply.status_code, reply.json()["code"]) == (409, "tier_policy_not_whole")
        assert {(each["pointer"], each["code"]) for each in reply.json()["errors"]} == told


def test_a_draft_is_edited_by_whoever_has_read_its_latest_version(world: World) -> None:
    client, draft = world.scoring.client, drafted(world)
    path, content = f"/v1/tier-policies/{draft['id']}", draft["content"] | {"grace_days": 10}
    assert client.put(path, json={"content": content}).status_code == 428
    edited = client.put(path, json={"content": content}, headers={"If-Match": '"1"'})
    assert (edited.status_code, edited.headers["etag"]) == (200, '"2"')
    assert edited.json()["content"]["grace_days"] == 10
    assert client.put(path, json={"content": content}, headers={"If-Match": '"1"'}).status_code == 412
    assert client.delete(path, headers={"If-Match": '"1"'}).status_code == 412
    assert client.delete(path, headers={"If-Match": '"2"'}).status_code == 204
    assert client.get(path).status_code == 404


def test_what_is_published_is_followed_by_the_next_calibration_and_never_changes(world: World) -> None:
    client = world.scoring.client
    many(world)
    world.calibrated(MIDNIGHT)
    draft = drafted(world, tiers=OTHER_TIERS)
    path = f"/v1/tier-policies/{draft['id']}"
    assert client.post(f"{path}/publish", json={}).status_code == 428
    done = published(world, draft)
    assert done["calibration_id"] is None
    policy = done["policy"]
    assert (policy["state"], policy["version"], policy["published_by"]) == ("published", 2, "admin")
    assert client.get("/v1/policy").json()["version"] == 2
    for reply in (
        client.put(path, json={"content": {}}, headers={"If-Match": "*"}),
        client.delete(path, headers={"If-Match": "*"}),
        client.post(f"{path}/publish", json={}, headers={"If-Match": "*"}),
    ):
        assert (reply.status_code, reply.json()["code"]) == (409, "tier_policy_published")
    assert world.score("c199")["calibration"]["policy_version"] == 1, "the calibration in force stays"
    world.calibrated(MIDNIGHT)
    assert world.score("c199")["calibration"]["policy_version"] == 2
    assert world.score("c199")["tier"]["code"] == "diamond"
    assert {each["policy_version"] for each in world.announced("tier_changed", "c199")} == {1, 2}
    world.assert_sound()


def test_who_published_what_stands_in_the_audit_log_and_a_tampered_version_shows(world: World) -> None:
    draft = published(world, drafted(world, grace_days=5))["policy"]
    (entry,) = world.scoring.client.get("/v1/audit").json()["items"]
    assert (entry["action"], entry["by"], entry["subject"]) == ("tier_policy_published", "admin", draft["id"])
    assert entry["facts"]["version"] == 2
    covered = world.scoring.service.audited_rows
    with world.scoring.sessions() as session:
        assert verify(session, covered).intact
        session.execute(
            text("update policy set content = content || '{\"grace_days\": 0}' where version = 2")
        )
        assert [each.code for each in verify(session, covered).findings] == ["rows_changed"]


def test_publishing_may_start_a_calibration_whose_changes_bear_the_policy_as_their_reason(
    world: World,
) -> None:
    many(world)
    world.calibrated(MIDNIGHT)
    done = published(world, drafted(world, tiers=OTHER_TIERS), calibrate=True)
    job = worker(world, UUID(done["calibration_id"]))
    calibrate(job)
    assert job.report["as_of"] == MIDNIGHT.isoformat(), "what is pinned stays pinned"
    again = [each for each in world.announced("tier_changed") if each["policy_version"] == 2]
    assert again and {each["reason"] for each in again} == {"policy"}


def moves(before: dict[UUID, Any], after: dict[UUID, Any]) -> Counter[tuple[str | None, str, str]]:
    found: Counter[tuple[str | None, str, str]] = Counter()
    for customer_id, (tier, _) in after.items():
        was = before.get(customer_id, (None, False))[0]
        if tier != was:
            found[was, tier, "at_once"] += 1
    return found


def cells(result: dict[str, Any], effect: str) -> Counter[tuple[str | None, str, str]]:
    return Counter(
        {
            (cell["from"], cell["to"], cell["effect"]): cell["customers"]
            for cell in result["cells"]
            if cell["effect"] == effect
        }
    )


def shaken(world: World) -> None:
    """A company in the middle of things: some fell, some rose, some came, some wait for their downgrade."""
    many(world)
    world.calibrated(MIDNIGHT - days(40))
    world.happens(*(world.returned("c199", f"c199-{k}", 200 * 100, MIDNIGHT) for k in range(9)))
    world.happens(*(world.returned("c150", f"c150-{k}", 151 * 100, MIDNIGHT) for k in range(7)))
    world.calibrated(MIDNIGHT - days(20))
    world.happens(
        *(world.purchase(f"c{i:03}", f"extra{i}", 90_000, MIDNIGHT + days(1)) for i in range(0, 60, 7))
    )
    world.happens(world.registered("new"), world.purchase("new", "n", 77_000, MIDNIGHT - days(3)))
    world.happens(*(world.returned("c180", f"c180-{k}", 181 * 100, MIDNIGHT) for k in range(8)))


@pytest.mark.parametrize(
    "changes",
    [
        {},
        {"tiers": OTHER_TIERS},
        {"weights": {"recency": 100, "frequency": 0, "monetary": 0}, "grace_days": 0},
        {"small_base": 1_000, "downgrade": {"to": "one_step"}},
        {"window_days": 60, "downgrade": {"to": "one_step", "notice": False}},
        {
            "qualification": {"by": "period", "period": "rolling_days", "days": 45, "measure": "purchases"},
            "tiers": [
                {"code": "standard"},
                {"code": "silver", "threshold": 2},
                {"code": "gold", "threshold": 5},
            ],
        },
    ],
    ids=["nothing", "tiers", "weights", "small base", "window", "period"],
)
def test_a_backtest_foretells_what_the_calibration_then_does(world: World, changes: dict[str, Any]) -> None:
    shaken(world)
    before, state = tiers(world), world.state()
    draft = drafted(world, **changes)
    assert draft["faults"] == []
    result = tried(world, draft, MIDNIGHT + days(15))
    assert world.state() == state and tiers(world) == before, "nothing is touched"
    assert result["rising"] + result["falling"] > 0
    published(world, draft)
    world.calibrated(MIDNIGHT + days(15))
    after = tiers(world)
    assert cells(result, "at_once") == moves(before, after)
    assert cells(result, "after_grace").total() == sum(due for _, due in after.values())
    assert result["customers"] == len(after)
    # And the grace leads where it was said to lead.
    ahead = world.calibrated(MIDNIGHT + days(15 + parse(2, draft["content"]).grace_days))
    assert ahead.report["counted"] >= result["counted"]
    announced = {(a, b) for a, b, _ in cells(result, "after_grace")}
    fallen = {(a, b) for a, b, _ in moves(after, tiers(world)) if (a, b) in announced}
    assert fallen == announced
    world.assert_sound()


def test_a_backtest_shows_whom_it_would_move_by_tier_in_pages(world: World) -> None:
    shaken(world)
    before = tiers(world)
    result = tried(world, drafted(world, tiers=OTHER_TIERS), MIDNIGHT)
    assert sum(cell["customers"] for cell in result["cells"]) == result["customers"] == len(before)
    assert sum(cell["share"] for cell in result["cells"]) == pytest.approx(1, abs=1e-4)
    assert sum(cell["net_revenue_minor"] for cell in result["cells"]) == sum(
        world.score(name)["metrics"]["net_revenue_minor"] for name in world.customers
    )
    (largest,) = [cell for cell in result["cells"] if (cell["from"], cell["to"]) == ("standard", "silver")]
    path, found, cursor = f"/v1/backtests/{result['id']}/customers", [], None
    while True:
        query = {"from_tier": "standard", "to_tier": "silver", "limit": 7} | (
            {"cursor": cursor} if cursor else {}
        )
        page = world.scoring.client.get(path, params=query).json()
        found += page["items"]
        if (cursor := page["next_cursor"]) is None:
            break
    assert len(found) == largest["customers"] > 7
    assert {before[UUID(each["customer_id"])][0] for each in found} == {"standard"}
    assert sum(each["net_revenue_minor"] for each in found) == largest["net_revenue_minor"]
    listed = world.scoring.client.get(f"/v1/tier-policies/{result['policy_id']}/backtests").json()["items"]
    assert [each["id"] for each in listed] == [result["id"]]
    assert world.scoring.client.get(f"/v1/backtests/{uuid4()}").json()["code"] == "backtest_not_found"


def test_the_policy_in_force_tried_as_of_its_calibration_moves_nobody_at_once(world: World) -> None:
    many(world)
    world.calibrated(MIDNIGHT)
    result = tried(world, first_policy(world))
    assert result["as_of"] == MIDNIGHT.isoformat().replace("+00:00", "Z"), "as of what is pinned"
    assert (result["rising"], result["falling"], result["first"]) == (0, 0, 0)
    assert {(cell["from"] == cell["to"], cell["effect"]) for cell in result["cells"]} == {(True, "none")}


def test_before_the_first_calibration_a_backtest_shows_who_would_get_what(world: World) -> None:
    assert tried(world, drafted(world))["customers"] == 0
    many(world)
    result = tried(world, drafted(world), MIDNIGHT)
    assert (result["first"], result["rising_share"]) == (200, 0)
    world.calibrated(MIDNIGHT)
    assert cells(result, "at_once") == moves({}, tiers(world))


class Killed(BaseException):
    pass


def test_a_backtest_killed_in_any_chunk_and_resumed_gives_the_same(world: World, monkeypatch: Any) -> None:
    monkeypatch.setattr("services.scoring.jobs.backtesting.COUNTED_AT_ONCE", 70)
    monkeypatch.setattr("services.scoring.jobs.backtesting.COMPARED_AT_ONCE", 60)
    shaken(world)
    draft = drafted(world, tiers=OTHER_TIERS)
    expected = tried(world, draft, MIDNIGHT)
    job = begun(world, draft, MIDNIGHT)
    chunks = 0
    while job.cursor.get("phase") != "done":
        for survives in (False, True):
            job = worker(world, job.id)
            die_after_a_chunk(job, survives)
        chunks += 1
    assert chunks > 8
    result = world.scoring.client.get(f"/v1/backtests/{job.id}").json()
    own = ("id", "created_at", "finished_at")
    assert {k: v for k, v in result.items() if k not in own} == {
        k: v for k, v in expected.items() if k not in own
    }
    with world.scoring.sessions() as session:
        assert session.scalar(text("select count(*) from calibration_input")) == 0
        left = "select count(*) from distribution where calibration_id in (select backtest_id from backtest)"
        assert session.scalar(text(left)) == 0


def die_after_a_chunk(job: Any, survives: bool) -> None:
    """Do one chunk, which is committed or not, and no more."""
    whole, left = job.chunk, [True]

    class Dying:
        def __enter__(self) -> Any:
            if not left:
                raise Killed
            left.clear()
            self.chunk = whole()
            return self.chunk.__enter__()

        def __exit__(self, *error: Any) -> None:
            if survives:
                self.chunk.__exit__(*error)
                return
            with suppress(Killed):
                self.chunk.__exit__(Killed, Killed(), None)
            raise Killed

    job.chunk = Dying
    with suppress(Killed):
        backtest(job)


def test_a_tier_that_a_policy_no_longer_knows_gives_way_to_what_is_deserved(world: World) -> None:
    many(world)
    world.calibrated(MIDNIGHT)
    assert world.score("c199")["tier"]["code"] == "platinum"
    draft = drafted(world, tiers=OTHER_TIERS[:2])
    gone = sum(tier in ("gold", "platinum") for tier, _ in tiers(world).values())
    assert tried(world, draft)["displaced"] == gone > 0
    published(world, draft)
    world.calibrated(MIDNIGHT)
    assert {tier for tier, _ in tiers(world).values()} <= {"standard", "silver"}
    last = world.announced("tier_changed", "c199")[-1]
    assert (last["previous_tier"], last["tier"]) == ("platinum", "silver")
    world.assert_sound()


anything = st.recursive(
    st.none() | st.booleans() | st.integers(-5, 200) | st.floats(allow_nan=False) | st.text(max_size=3),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=3), inner, max_size=3),
    max_leaves=6,
)


@st.composite
def changed(draw: Any, first: Any) -> Any:
    """The first policy with any one place replaced by anything, or taken away."""
    content = json.loads(json.dumps(first))
    here = content
    while True:
        keys = list(here) if isinstance(here, dict) else list(range(len(here)))
        key = draw(st.sampled_from(keys))
        if isinstance(here[key], dict | list) and here[key] and draw(st.booleans()):
            here = here[key]
            continue
        if draw(st.booleans()):
            here[key] = draw(anything)
        else:
            del here[key]
        return content


FIRST = json.loads(
    (Path(SERVICE.migrations) / "versions" / "0001_first_policy.json").read_text(encoding="utf-8")
)


@settings(max_examples=300, deadline=None)
@given(changed(FIRST))
def test_whatever_has_no_faults_is_a_policy(content: Any) -> None:
    found = faults(content)
    assert all(each.pointer == "" or each.pointer.startswith("/") for each in found)
    if not found:
        policy = parse(1, content)
        assert policy.recency_weight + policy.frequency_weight + policy.monetary_weight == 100
        assert len(policy.segments) == 5 and policy.tiers[0].threshold is None
        assert [each.percentile for each in policy.tiers] == sorted(
            {each.percentile for each in policy.tiers}
        )


def test_changes_are_a_json_merge_patch() -> None:
    assert merged({"a": {"b": 1, "c": [1]}, "d": 2}, {"a": {"b": None, "c": [2, 3]}, "e": {"f": None}}) == {
        "a": {"c": [2, 3]}, "d": 2, "e": {},
    }  # fmt: skip
