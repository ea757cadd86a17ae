"""Customers who buy alike are grouped, named and forecast from the facts in the database, beside what was said before."""

import subprocess
import sys
from collections.abc import Iterator
from datetime import UTC, date, datetime, time, timedelta
from typing import Any
from uuid import UUID, uuid4

import numpy as np
import pytest
from numpy.testing import assert_allclose
from sqlalchemy import text

from services.scoring.app import SERVICE
from services.scoring.domain import cluster_models
from services.scoring.jobs import CLUSTERING, cluster, cluster_nightly
from services.scoring.rules import clustering, spend_forecast
from services.scoring.rules.clustering import Facts
from services.scoring.rules.features import FEATURES, POSITION, Integers, Lines, Purchases, Returns
from shared import jobs
from shared.events.envelope import Event
from shared.events.profile import (
    CustomerErased,
    CustomersMerged,
    CustomersUnmerged,
    ProductChanged,
    PurchaseLine,
)
from shared.jobs.runner import RunningJob
from shared.jobs.schedule import Context
from tests.scoring import shoppers
from tests.scoring.chunks import die_inside_a_chunk, one_chunk
from tests.scoring.shoppers import Habits, Shoppers
from tests.scoring.world import World, days

DAY = date(2026, 10, 20)  # so that there are three quarters to look at
NOON = datetime(2026, 10, 19, 12, tzinfo=UTC)
KINDS = ("regular", "bargain hunter", "lapsed")


def planted(each: int, seed: int = 1) -> tuple[Shoppers, Integers]:
    """``each`` customers of every kind of KINDS, and the position of everybody's kind."""
    random = np.random.default_rng(seed)
    kind = np.repeat(np.arange(len(KINDS)), each)

    def per_kind(*values: float) -> Any:
        return np.array(values)[kind]

    habits = Habits(
        first=random.uniform(0, 40, len(kind)),
        last=random.uniform(per_kind(330, 330, 60), per_kind(330, 330, 90)),
        gap=per_kind(14, 40, 15),
        amount=per_kind(120, 30, 60),
        discount=per_kind(0.05, 0.4, 0.05),
        weekend=per_kind(0.2, 0.2, 0.2),
    )
    return shoppers.invented(habits, seed), kind


def name(number: int) -> str:
    return f"c{number}"


def told(world: World, people: Shoppers, until: date) -> list[Event]:
    """What these people did before a day, as events."""
    bought, back = people.purchases, people.returns
    end = np.datetime64(until)
    kinds: dict[tuple[int, Any], list[int]] = {}
    for customer, at, category in zip(*people.lines, strict=True):
        kinds.setdefault((int(customer), at), []).append(int(category))

    def moment(at: Any) -> datetime:
        local: datetime = at.astype("M8[s]").item()
        return local.replace(tzinfo=world.zone).astimezone(UTC)

    def lines(i: int) -> Iterator[PurchaseLine]:
        # Two purchases of one minute would share their lines: the second has none.
        categories = kinds.pop((int(bought.customer[i]), bought.at[i]), [])
        discounts = [int(bought.discount_minor[i]), *[0] * (len(categories) - 1)]
        for number, (category, discount) in enumerate(zip(categories, discounts, strict=True), 1):
            yield PurchaseLine(
                line=number, sku=f"s{number}", category=f"k{category}", quantity=1, unit_price="1.00",
                discount_minor=discount, amount_minor=1, accounting_amount_minor=1,
            )  # fmt: skip

    events: list[Event] = [world.registered(name(number)) for number in range(people.customers)]
    events += [
        world.purchase(
            name(int(bought.customer[i])),
            f"P{i}",
            int(bought.amount_minor[i]),
            moment(bought.at[i]),
            lines=tuple(lines(int(i))),
        )
        for i in np.flatnonzero(bought.at < end)
    ]
    events += [
        world.returned(
            name(int(back.customer[i])),
            f"P{back.purchase[i]}",
            int(back.amount_minor[i]),
            moment(back.at[i]),
        )
        for i in np.flatnonzero(back.at < end)
    ]
    return events


def midnight(world: World, day: date) -> datetime:
    return datetime.combine(day, time(), world.zone).astimezone(UTC)


def begun(world: World) -> RunningJob:
    """A clustering in the hands of a worker."""
    with world.scoring.sessions.begin() as session:
        job_id = jobs.create(session, CLUSTERING, {})
        session.execute(
            text("update shared.job set state = 'running', epoch = 1 where id = :id"), {"id": job_id}
        )
    return world.taken_over(job_id, {}, epoch=1)


def clustered(world: World) -> RunningJob:
    job = begun(world)
    cluster(job)
    return job


def get(world: World, path: str) -> Any:
    reply = world.scoring.client.get(path)
    assert reply.status_code == 200, reply.text
    return reply.json()


def said(world: World) -> dict[UUID, Any]:
    """What the clustering in force says of everybody."""
    with world.scoring.sessions() as session:
        rows = session.execute(
            text("""
                select customer_id, label, forecast_90_minor, baseline_90_minor
                from customer_cluster join clustering using (clustering_id) where state = 'current'
            """)
        )
        return {row[0]: tuple(row[1:]) for row in rows}


def stored(world: World) -> int:
    with world.scoring.sessions() as session:
        return session.scalar(text("select count(*) from customer_cluster")) or 0


@pytest.fixture
def company(world: World) -> tuple[World, Shoppers, Integers]:
    people, kind = planted(80)
    world.happens(*told(world, people, DAY))
    world.calibrated(midnight(world, DAY))
    return world, people, kind


# From the facts in the database to features.


def test_features_from_the_database_are_those_of_the_same_facts_in_arrays(service: Any) -> None:
    world = World(service(SERVICE, time_zone="Asia/Shanghai"))
    people, _ = planted(20)
    world.happens(*told(world, people, date(2027, 1, 1)))
    ids = [world.customer(name(number)) for number in range(people.customers)]
    for day in (DAY, DAY - timedelta(days=90)):
        with world.scoring.sessions() as session:
            measured = cluster_models.facts(session, ids).features(day, 100)
        assert_allclose(measured, people.features(day))


def bought(world: World, purchase: str, amount_minor: int, gone: float, *categories: str | None) -> Event:
    lines = tuple(
        PurchaseLine(
            line=number, sku=f"sku-{purchase}-{number}", category=category, quantity=1, unit_price="1.00",
            discount_minor=10, amount_minor=1, accounting_amount_minor=1,
        )
        for number, category in enumerate(categories, 1)
    )  # fmt: skip
    at = NOON - days(gone)
    return world.purchase("ann", purchase, amount_minor, at, lines=lines, channel="app" if gone > 5 else None)


def test_an_exchange_is_one_purchase_and_a_product_without_a_category_its_own(world: World) -> None:
    world.happens(
        world.registered("bob"),
        world.registered("ann"),
        ProductChanged(product_id=uuid4(), sku="sku-P3-2", category="tea", complete=True, effective_at=NOON),
        bought(world, "P1", 1_000, 20, "tea", "cups"),
        bought(world, "P2", 1_200, 10, "pots"),
        # No category, that of the catalogue, the same again.
        bought(world, "P3", 500, 3, None, None, "tea"),
        world.returned("ann", "P1", 1_000, NOON - days(9), replacement_purchase_id=world.purchases["P2"]),
        bought(world, "P4", 300, 2),
        world.cancelled("ann", "P4", 300, NOON - days(1)),
        world.returned("ann", None, 50, NOON - days(1)),
    )
    with world.scoring.sessions() as session:
        facts = cluster_models.facts(session, [world.customer("bob"), world.customer("ann")])
    nobody, ann = facts.features(DAY, 100)
    assert np.isnan(nobody[POSITION["recency_days"]])
    found = dict(zip((feature.name for feature in FEATURES), ann.tolist(), strict=True))
    # P1 with P2, 1,200 left of it, and P3; P4 does not count.
    assert (found["occasions"], found["tenure_days"], found["recency_days"]) == (2, 21, 4)
    assert found["average_order_value"] == pytest.approx((12 + 5) / 2)
    assert found["net_revenue"] == pytest.approx(10 + 12 + 5 + 3 - 10 - 3 - 0.5)
    assert found["returns_rate"] == pytest.approx(13.5 / 30)
    assert found["discount_share"] == pytest.approx(60 / 3_060)
    assert found["categories"] == 4  # tea, cups, pots and one without
    assert found["channels"] == 2  # the app, and where nobody said


# What is learnt, as pure rules.


def learnt(people: Shoppers, day: date = DAY, previous: Any = None) -> dict[str, Any]:
    part = Facts(people.customers, people.purchases, people.returns, people.lines)
    (result,) = clustering.learn(day, 100, previous, iter([part]))
    return result


def test_the_regression_forecasts_where_it_foretold_the_last_quarter_better_than_any_naive_forecast() -> None:
    people = shoppers.of_many_rhythms(3_000, seed=1)
    day = date(2027, 1, 28)
    spend = learnt(people, day)["spend"]
    assert (spend["reasons"], spend["parameters"]["method"]) == ([], "regression")
    holdout = spend["quality"]["holdout"]
    assert all(holdout["forecast"]["mae"] < each["mae"] for each in holdout["naive"].values())
    matrix = people.features(day)
    before = people.features(day - timedelta(days=90))
    fitted = spend_forecast.fit(before, matrix[:, POSITION["net_revenue_90"]])
    said = clustering.say({"clusters": {"reasons": ["-"]}, "spend": spend}, matrix)
    assert_allclose(said.forecast, spend_forecast.forecast(fitted, matrix))
    best = min(holdout["naive"], key=lambda naive: holdout["naive"][naive]["rmse"])
    assert spend["parameters"]["baseline"] == best
    assert_allclose(said.baseline, spend_forecast.naive(matrix, fitted.mean_spent)[best])


def like_clockwork(customers: int) -> Shoppers:
    """Everybody spends the own amount every tenth day: the last 90 days say all."""
    day = np.arange(0, 400, 10)
    customer = np.repeat(np.arange(customers), len(day))
    at = shoppers.BEGIN + np.tile(day, customers).astype("m8[D]") + np.timedelta64(12, "h")
    nought = np.zeros(len(customer), dtype=np.int64)
    none = np.zeros(0, dtype=np.int64)
    return Shoppers(
        customers,
        Purchases(customer, at, 1_000 * (customer + 1), nought, nought),
        Returns(none, none.astype("M8[s]"), none, none),
        Lines(customer, at, nought),
    )


def test_where_the_regression_is_not_better_the_best_naive_forecast_is_kept_and_says_so() -> None:
    people = like_clockwork(300)
    spend = learnt(people, date(2026, 12, 27))["spend"]
    assert spend["reasons"] == []
    assert spend["parameters"]["method"] == spend["parameters"]["baseline"] == "last_90_days"
    assert spend["quality"]["holdout"]["naive"]["last_90_days"]["rmse"] == 0
    matrix = people.features(date(2026, 12, 27))
    said = clustering.say({"clusters": {"reasons": ["-"]}, "spend": spend}, matrix)
    assert_allclose(said.forecast, matrix[:, POSITION["net_revenue_90"]])


def test_what_is_learnt_does_not_depend_on_the_parts_in_which_facts_come() -> None:
    one, other = (planted(70, seed)[0] for seed in (1, 2))
    both = Shoppers(
        one.customers + other.customers,
        Purchases(*_joined(one.purchases, other.purchases, one.customers)),
        Returns(*_joined(one.returns, other.returns, one.customers, len(one.purchases.at))),
        Lines(*_joined(one.lines, other.lines, one.customers)),
    )
    parts = [Facts(each.customers, each.purchases, each.returns, each.lines) for each in (one, other)]
    (apart,) = clustering.learn(DAY, 100, None, iter(parts))
    assert apart["clusters"] == learnt(both)["clusters"]
    assert apart["spend"]["parameters"]["method"] == learnt(both)["spend"]["parameters"]["method"]


def _joined(one: Any, other: Any, customers: int, purchases: int = 0) -> list[Any]:
    moved = other._replace(customer=other.customer + customers)
    if purchases:
        moved = moved._replace(purchase=moved.purchase + purchases)
    return [np.concatenate(pair) for pair in zip(one, moved, strict=True)]


# The job.


def test_the_kinds_of_customers_are_found_named_and_forecast(
    company: tuple[World, Shoppers, Integers],
) -> None:
    world, people, kind = company
    job = clustered(world)
    assert job.report == {"reasons": {"clusters": [], "spend": []}, "customers": 240}
    found = get(world, "/v1/clusters")
    assert (found["as_of"], found["customers"], found["reasons"]) == (f"{DAY}T00:00:00Z", 240, [])
    assert [each["customers"] for each in found["clusters"]] == sorted(
        (each["customers"] for each in found["clusters"]), reverse=True
    )
    assert sum(each["share"] for each in found["clusters"]) == pytest.approx(1, abs=1e-5)
    assert 0 < found["silhouette"] < 1 and found["kept_share"] is None
    known_for = {"regular": ("buys often", "购买频繁"), "bargain hunter": ("buys on discount", "偏好折扣"),
                 "lapsed": ("has not bought for long", "很久没有购买")}  # fmt: skip
    for each in found["clusters"]:
        here = [row["customer_id"] for row in all_of(world, f"/v1/clusters/{each['label']}/customers")]
        assert len(here) == each["customers"] and here == sorted(here)
        numbers = [n for n in range(240) if str(world.customer(name(n))) in set(here)]
        own = KINDS[int(np.bincount(kind[numbers]).argmax())]
        en, zh = known_for.pop(own)
        assert np.mean(kind[numbers] == KINDS.index(own)) > 0.9
        assert en in each["words"]["en"] and zh in each["words"]["zh"]
        assert each["leading_features"] and each["rule"]["precision"] > 0.8
        assert each["rule"]["text"] == " and ".join(
            f"{c['feature']} {c['operator']} {c['threshold']:.12g}" for c in each["rule"]["conditions"]
        )
        one = world.score(name(numbers[0]))
        assert one["cluster"] == {
            "label": each["label"], "words": each["words"], "as_of": found["as_of"], "reasons": [],
        }  # fmt: skip
    assert known_for == {}
    world.assert_sound()

    (run,) = get(world, "/v1/clusterings")["items"]
    assert (run["id"], run["state"]) == (found["clustering_id"], "current")
    assert run["silhouette"] == found["silhouette"] and run["holdout"]["customers"] == 240
    of_arrays = learnt(people)
    expected = clustering.say(of_arrays, people.features(DAY))
    assert run["method"] == of_arrays["spend"]["parameters"]["method"]
    for number in range(0, 240, 17):
        forecast = world.score(name(number))["forecast"]
        assert (forecast["days"], forecast["as_of"], forecast["reasons"]) == (90, found["as_of"], [])
        assert (forecast["method"], forecast["baseline"]) == (run["method"], run["baseline"])
        assert forecast["spend_minor"] == pytest.approx(100 * expected.forecast[number], abs=0.51)
        assert forecast["baseline_minor"] == pytest.approx(100 * expected.baseline[number], abs=0.51)


def all_of(world: World, path: str) -> list[dict[str, Any]]:
    items, cursor = [], ""
    while cursor is not None:
        page = get(world, f"{path}?limit=50{cursor and f'&cursor={cursor}'}")
        items += page["items"]
        cursor = page["next_cursor"]
    return items


def test_labels_are_kept_when_some_days_have_passed_and_says_how_many_customers_kept_theirs(
    company: tuple[World, Shoppers, Integers],
) -> None:
    world, people, _ = company
    clustered(world)
    before, first = said(world), get(world, "/v1/clusters")
    later = DAY + timedelta(days=5)
    new = [each for each in told(world, people, later) if getattr(each, "occurred_at", None) is not None]
    world.happens(*(each for each in new if each.occurred_at >= midnight(world, DAY)))
    world.calibrated(midnight(world, later))
    clustered(world)
    after, second = said(world), get(world, "/v1/clusters")
    assert second["as_of"] == f"{later}T00:00:00Z"
    assert {each["label"] for each in second["clusters"]} == {each["label"] for each in first["clusters"]}
    kept = [before[each][0] == after[each][0] for each in before.keys() & after.keys()]
    assert second["kept_share"] == pytest.approx(np.mean(kept)) and second["kept_share"] > 0.95
    for each in second["clusters"]:
        were = [who for who, row in before.items() if row[0] == each["label"]]
        assert each["kept_share"] == pytest.approx(np.mean([after[who][0] == each["label"] for who in were]))
    assert [each["state"] for each in get(world, "/v1/clusterings")["items"]] == ["current", "past"]
    assert stored(world) == 240, "what the run before said is forgotten"


def test_too_small_a_company_is_told_why(world: World) -> None:
    world.happens(
        *(world.registered(each) for each in ("ann", "bob", "cid")),
        world.purchase("ann", "P1", 100, NOON - days(30)),
        world.purchase("bob", "P2", 100, NOON + days(2)),
    )
    empty = get(world, "/v1/clusters")
    assert (empty["clustering_id"], empty["clusters"], empty["reasons"]) == (None, [], [])
    assert clustered(world).report == {"reasons": ["not_calibrated"]}
    world.calibrated(midnight(world, DAY))
    assert world.score("ann")["cluster"] is None and world.score("ann")["forecast"] is None
    clustered(world)
    ann = world.score("ann")
    assert ann["cluster"] == {
        "label": None, "words": None, "as_of": f"{DAY}T00:00:00Z", "reasons": ["too_few_customers"],
    }  # fmt: skip
    assert ann["forecast"]["spend_minor"] is None and ann["forecast"]["method"] is None
    assert ann["forecast"]["reasons"] == ["history_too_short", "too_few_customers", "too_few_spenders"]
    # Who bought later, and who never did, were not there.
    assert [world.score(each)["cluster"] for each in ("bob", "cid")] == [None, None]
    found = get(world, "/v1/clusters")
    assert (found["clusters"], found["reasons"]) == ([], ["too_few_customers"])
    assert get(world, "/v1/clusterings")["items"][0]["forecast_reasons"] == ann["forecast"]["reasons"]
    world.assert_sound()


def test_a_clustering_killed_in_any_chunk_and_resumed_gives_the_same(
    company: tuple[World, Shoppers, Integers], monkeypatch: pytest.MonkeyPatch
) -> None:
    world, _, _ = company
    whole = clustered(world)
    expected, found = said(world), get(world, "/v1/clusters")
    with world.scoring.sessions.begin() as session:
        for table in ("clustering", "cluster", "customer_cluster"):
            session.execute(text(f"delete from {table}"))
    monkeypatch.setattr("services.scoring.jobs.clustering.CLUSTERED_AT_ONCE", 100)
    monkeypatch.setattr("services.scoring.jobs.clustering.SWEPT_AT_ONCE", 100)
    monkeypatch.setattr(cluster_models, "READ_AT_ONCE", 70)
    job = begun(world)
    epoch = 1
    while job.cursor.get("phase") != "done":
        assert said(world) in ({}, expected), "nothing is shown before all is there"
        die_inside_a_chunk(job, cluster)
        epoch += 1
        job = world.taken_over(job.id, {}, epoch)
        one_chunk(job, cluster)
    assert epoch > 8
    assert said(world) == expected
    assert get(world, "/v1/clusters") == found | {"clustering_id": str(job.id)}
    assert job.report == whole.report
    with world.scoring.sessions() as session:
        progress = session.execute(
            text("select total, processed, failed from shared.job where id = :id"), {"id": job.id}
        )
        assert tuple(progress.one()) == (240, 240, 0)
    world.assert_sound()


def test_a_later_clustering_supersedes_one_that_is_slower_and_what_was_left_behind_is_swept(
    world: World,
) -> None:
    world.happens(*(each for who in "abc" for each in (world.registered(who), world.purchase(who, who, 1))))
    world.calibrated(midnight(world, DAY))
    left, slow = begun(world), begun(world)
    for job in (left, slow):
        while job.cursor.get("phase") != "effect":
            one_chunk(job, cluster)
    assert stored(world) == 6 and get(world, "/v1/clusters")["clustering_id"] is None
    fast = clustered(world)
    cluster(slow)
    assert slow.report["superseded"] is True
    assert get(world, "/v1/clusters")["clustering_id"] == str(fast.id)
    states = {each["id"]: each["state"] for each in get(world, "/v1/clusterings")["items"]}
    assert states == {str(left.id): "superseded", str(slow.id): "superseded", str(fast.id): "current"}
    assert stored(world) == 3


def test_merged_customers_are_seen_anew_by_the_next_run_and_of_erased_ones_nothing_is_kept(
    company: tuple[World, Shoppers, Integers],
) -> None:
    world, _, _ = company
    half = begun(world)
    while half.cursor.get("phase") != "effect":
        one_chunk(half, cluster)
    winner, loser, erased = (world.customer(name(number)) for number in (0, 1, 2))
    sides = {"winner_id": winner, "loser_id": loser, "effective_at": midnight(world, DAY)}
    world.happens(*(CustomersMerged(customer_id=each, **sides) for each in (winner, loser)))
    world.happens(CustomerErased(customer_id=erased, erased_at=midnight(world, DAY)))
    cluster(half)
    assert said(world).keys().isdisjoint({winner, loser, erased})
    merged = world.score(name(0))
    assert (merged["cluster"], merged["forecast"]) == (None, None)
    world.assert_sound()
    clustered(world)
    assert said(world).keys() & {winner, loser, erased} == {winner}
    assert world.score(name(1)) == world.score(name(0)) and world.score(name(0))["cluster"] is not None
    world.happens(*(CustomersUnmerged(customer_id=each, **sides) for each in (winner, loser)))
    assert said(world).keys().isdisjoint({winner, loser, erased})
    world.assert_sound()


def test_of_a_large_company_some_are_learnt_from_and_all_are_assigned(
    company: tuple[World, Shoppers, Integers], monkeypatch: pytest.MonkeyPatch
) -> None:
    world, _, _ = company
    monkeypatch.setattr(cluster_models, "LEARNT_FROM", 239)
    assert clustered(world).report["customers"] == 240
    with world.scoring.sessions() as session:
        learnt_from = sum(part.customers for part in cluster_models._everybody(session))
        assert 80 < learnt_from < 160, "every other one"


def test_clusterings_are_posted_as_jobs_and_come_nightly_after_the_calibration(world: World) -> None:
    client = world.scoring.client
    refused = client.post("/v1/clusterings", json={})
    assert (refused.status_code, refused.json()["code"]) == (409, "not_calibrated")
    world.calibrated(midnight(world, DAY))
    reply = client.post("/v1/clusterings", json={}, headers={"Idempotency-Key": "one"})
    assert reply.status_code == 202
    assert reply.headers["location"] == f"/scoring/v1/jobs/{reply.json()['id']}"
    again = client.post("/v1/clusterings", json={}, headers={"Idempotency-Key": "one"})
    assert again.json() == reply.json()
    cluster_nightly(Context(world.scoring.settings, world.scoring.sessions, world.scoring.engine))
    with world.scoring.sessions() as session:
        kinds = session.scalars(text("select kind from shared.job where kind = 'clustering'")).all()
    assert len(kinds) == 2
    unknown = client.get("/v1/clusters/1/customers")
    assert (unknown.status_code, unknown.json()["code"]) == (404, "cluster_not_found")
    assert client.get("/v1/clusters/99999999999/customers").status_code in (404, 422)
    assert world.scoring.stranger.post("/v1/clusterings", json={}).status_code == 401


def test_what_learns_is_not_loaded_where_others_work() -> None:
    check = (
        "import sys, services.scoring.app, services.scoring.api; assert 'numpy' not in sys.modules;"
        "import services.scoring.domain.cluster_models; assert 'sklearn' not in sys.modules"
    )
    subprocess.run([sys.executable, "-c", check], check=True)
