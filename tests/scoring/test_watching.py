"""Sudden changes are found once, with the customers behind them, whatever happens to the job or to the customers."""

import threading
from collections.abc import Callable
from contextlib import suppress
from datetime import date, datetime
from typing import Any
from uuid import UUID, uuid4

import pytest
from sqlalchemy import text

from services.scoring.jobs import WATCH, watch, watch_daily
from services.scoring.rules.alert_words import sentence
from shared import jobs
from shared.events.envelope import Event
from shared.events.profile import CustomerErased, CustomersMerged, CustomersUnmerged
from shared.jobs.runner import RunningJob
from shared.jobs.schedule import Context
from tests.scoring.chunks import Killed
from tests.scoring.world import MIDNIGHT, NOON, World, days

LAST = "2026-03-10"
OPEN = 80  # days, of which the first 70 warm up


def shop(world: World, per_day: Callable[[str, int], int]) -> None:
    """Purchases of 10.00 by so many as ``per_day`` says of a customer and of how many days ago it is."""
    names = ("bulk", "ann", "bob", "cid", "dan", "eve")
    world.happens(*(world.registered(name, country="GB" if name == "bulk" else "CN") for name in names))
    world.happens(
        *(
            world.purchase(name, f"{name}-{gone}-{n}", 1_000, NOON - days(gone), channel="web")
            for gone in range(OPEN, -1, -1)
            for name in names
            for n in range(per_day(name, gone))
        )
    )


def usual(name: str, _: int) -> int:
    return 15 if name == "bulk" else 2


def outage(name: str, gone: int) -> int:
    """The largest customer does not come on the last day."""
    return 0 if name == "bulk" and gone == 0 else usual(name, gone)


def watching(world: World, as_of: datetime | None = MIDNIGHT) -> RunningJob:
    """A run in the hands of a worker, not begun."""
    parameters = {} if as_of is None else {"as_of": as_of.isoformat()}
    with world.scoring.sessions.begin() as session:
        job_id = jobs.create(session, WATCH, parameters)
        session.execute(
            text("update shared.job set state = 'running', epoch = 1 where id = :id"), {"id": job_id}
        )
    return RunningJob(
        id=job_id, kind=WATCH, parameters=parameters, cursor={}, report={}, created_by=None,
        settings=world.scoring.settings, sessions=world.scoring.sessions, engine=world.scoring.engine, epoch=1,
        stop=threading.Event(),
    )  # fmt: skip


def watched(world: World, as_of: datetime | None = MIDNIGHT) -> RunningJob:
    job = watching(world, as_of)
    watch(job)
    return job


def alerts(world: World, **filters: Any) -> list[dict[str, Any]]:
    reply = world.scoring.client.get("/v1/alerts", params=filters)
    assert reply.status_code == 200, reply.text
    return list(reply.json()["items"])


def in_full(world: World, kind: str, name: str) -> dict[str, Any]:
    (found,) = [each for each in alerts(world) if (each["kind"], each["name"]) == (kind, name)]
    reply = world.scoring.client.get(f"/v1/alerts/{found['id']}")
    assert reply.status_code == 200, reply.text
    return dict(reply.json())


def told(world: World) -> list[tuple[Any, ...]]:
    """Everything stored, without generated ids and times."""
    with world.scoring.sessions() as session:
        return [
            tuple(row)
            for row in session.execute(
                text("""
                    select kind, name, direction, since, day, observed, expected, score, a.change, customer_id, c.change
                    from alert a left join alert_customer c using (alert_id) order by 1, 2, 3, 4, 10
                """)
            )
        ]


def watch_over(world: World, **what: Any) -> None:
    client = world.scoring.client
    tag = client.get("/v1/watch").headers["etag"]
    assert client.put("/v1/watch", json=what, headers={"If-Match": tag}).status_code == 200


def merge(world: World, loser: str, winner: str, kind: Any = CustomersMerged) -> list[Event]:
    both = (world.customer(winner), world.customer(loser))
    return [kind(customer_id=each, winner_id=both[0], loser_id=both[1], effective_at=NOON) for each in both]


def test_without_facts_nothing_is_watched_and_nothing_found(world: World) -> None:
    assert watched(world).report == {"until": None, "series": 0, "alerts": 0}
    assert alerts(world) == []
    unknown = world.scoring.client.get(f"/v1/alerts/{uuid4()}")
    assert (unknown.status_code, unknown.json()["code"]) == (404, "alert_not_found")


def test_days_as_always_raise_no_alert(world: World) -> None:
    shop(world, usual)
    job = watched(world)
    assert (job.report["until"], job.report["alerts"]) == (LAST, 0)
    # Purchases, customers and revenue of the company, two countries, one channel; nothing came back, nobody has a tier.
    assert job.report["series"] == 4 + 2 + 1


def test_a_planted_outage_is_found_with_the_customer_who_is_behind_it(world: World) -> None:
    shop(world, outage)
    watched(world)
    found = {(each["kind"], each["name"]) for each in alerts(world)}
    assert found == {
        ("company", "purchases"), ("company", "net_revenue"), ("country", "GB"), ("channel", "web"),
    }  # fmt: skip
    purchases = in_full(world, "company", "purchases")
    assert (purchases["direction"], purchases["since"], purchases["day"]) == ("down", LAST, LAST)
    assert (purchases["observed"], purchases["unit"], purchases["currency"]) == (10, "count", None)
    assert purchases["expected"] == pytest.approx(25)
    assert abs(purchases["score"]) >= purchases["score_limit"]
    assert purchases["change"] == pytest.approx(-15)
    (behind,) = purchases["customers"]
    assert behind["customer_id"] == str(world.customer("bulk"))
    assert (behind["change"], behind["share"]) == (pytest.approx(-15), 1)
    assert purchases["others_share"] == 0
    revenue = in_full(world, "company", "net_revenue")
    assert (revenue["observed"], revenue["unit"], revenue["currency"]) == (10_000, "minor", "CNY")
    assert revenue["words"] == {
        "en": f"Net revenue was 100 CNY instead of about 250 CNY on {LAST}.",
        "zh": f"{LAST} 净收入为 100 CNY，平常约为 250 CNY。",
    }


def test_what_a_customer_takes_back_is_an_alert_with_that_customer(world: World) -> None:
    shop(world, usual)
    world.happens(*(world.returned("dan", None, 100, NOON - days(gone)) for gone in range(60, 0, -1)))
    world.happens(world.returned("eve", None, 50_000, NOON))
    watched(world)
    taken_back = in_full(world, "company", "taken_back")
    assert (taken_back["direction"], taken_back["observed"]) == ("up", 50_000)
    assert [each["customer_id"] for each in taken_back["customers"]] == [str(world.customer("eve"))]
    assert taken_back["customers"][0]["share"] > 1, "dan took back less than he usually does"
    assert taken_back["others_share"] < 0


def test_a_second_run_adds_nothing_and_changes_nothing(world: World) -> None:
    shop(world, outage)
    watched(world)
    first = told(world)
    assert watched(world).report["alerts"] == 0
    assert told(world) == first
    assert len(world.announced("alert_raised")) == 4


def test_late_facts_neither_change_nor_repeat_what_was_told(world: World) -> None:
    shop(world, outage)
    watched(world)
    first = told(world)
    world.happens(*(world.purchase("ann", f"late-{n}", 1_000, NOON) for n in range(2)))
    watched(world)
    assert told(world) == first


def test_facts_that_came_late_are_judged_like_those_in_time(world: World) -> None:
    shop(world, usual)
    watched(world)
    assert alerts(world) == []
    world.happens(
        *(world.purchase("eve", f"late-{n}", 1_000, NOON - days(3), channel="web") for n in range(40))
    )
    watched(world)
    purchases = in_full(world, "company", "purchases")
    assert (purchases["direction"], purchases["day"]) == ("up", "2026-03-07")
    assert [each["customer_id"] for each in purchases["customers"]] == [str(world.customer("eve"))]


def test_facts_that_came_more_than_a_month_late_are_no_news(world: World) -> None:
    shop(world, usual)
    watched(world, MIDNIGHT + days(28))
    watched(world, MIDNIGHT)
    late = [world.purchase("eve", f"late-{n}", 1_000, NOON - days(3)) for n in range(40)]
    world.happens(*late)
    assert watched(world, MIDNIGHT + days(28)).report["alerts"] == 0
    assert watched(world, MIDNIGHT).report["alerts"] > 0, "asked for the time before, it is told"


def test_an_alert_is_announced_once_with_its_figures_and_nobodys_name(world: World) -> None:
    shop(world, outage)
    watched(world)
    announced = {each["name"]: each for each in world.announced("alert_raised")}
    purchases = in_full(world, "company", "purchases")
    assert announced["purchases"] == {
        "alert_id": purchases["id"], "kind": "company", "name": "purchases", "direction": "down", "since": LAST, "day": LAST,
        "observed": 10.0, "expected": purchases["expected"], "score": purchases["score"], "unit": "count", "currency": None,
        "customers": 1, "historical": True,
    }  # fmt: skip
    assert announced["net_revenue"]["currency"] == "CNY"
    assert not any(str(each) in str(announced) for each in world.customers.values())


def test_a_run_killed_in_any_chunk_and_resumed_says_the_same(world: World) -> None:
    shop(world, outage)
    with world.scoring.sessions() as session:
        unbroken = told_by(world, lambda: watched(world))
        session.rollback()
    forget(world)

    def broken() -> None:
        job = watching(world)
        while job.cursor.get("phase") != "done":
            killed_after(job, chunks=1)
            killed_in_the_middle(job)

    assert told_by(world, broken) == unbroken
    assert len(world.announced("alert_raised")) == 4


def told_by(world: World, run: Callable[[], Any]) -> list[tuple[Any, ...]]:
    run()
    return told(world)


def forget(world: World) -> None:
    with world.scoring.sessions.begin() as session:
        for table in ("alert", "alert_customer", "shared.outbox_pending", "shared.outbox"):
            session.execute(text(f"delete from {table}"))


def killed_after(job: RunningJob, chunks: int) -> None:
    """Dead before the next chunk begins."""
    whole, left = job.chunk, iter([job.chunk] * chunks)

    def chunk() -> Any:
        try:
            return next(left)()
        except StopIteration:
            raise Killed from None

    job.chunk = chunk  # type: ignore[method-assign]
    with suppress(Killed):
        watch(job)
    job.chunk = whole  # type: ignore[method-assign]


def killed_in_the_middle(job: RunningJob) -> None:
    """Dead when everything of the next chunk is done but its commit."""
    if job.cursor.get("phase") == "done":
        return
    from services.scoring.domain import watching as domain

    with suppress(Killed), job.chunk() as chunk:
        domain.explain(chunk.session, 10)
        raise Killed


def test_a_merged_customer_stands_behind_an_alert_as_the_winner_and_alone_again_after_an_unmerge(
    world: World,
) -> None:
    shop(world, outage)
    watched(world)
    before = told(world)

    def behind() -> list[str]:
        return [each["customer_id"] for each in in_full(world, "company", "purchases")["customers"]]

    world.happens(*merge(world, "bulk", "ann"))
    assert behind() == [str(world.customer("ann"))]
    world.assert_sound()
    world.happens(*merge(world, "bulk", "ann", CustomersUnmerged))
    assert behind() == [str(world.customer("bulk"))]
    assert told(world) == before
    world.assert_sound()


def test_two_customers_behind_an_alert_are_one_after_a_merge(world: World) -> None:
    shop(world, lambda name, gone: 2 if name not in ("bulk", "ann") else 10 if gone else 0)
    watch_over(world, kinds=["company"])
    watched(world)
    apart = in_full(world, "company", "purchases")
    assert {each["customer_id"]: each["share"] for each in apart["customers"]} == {
        str(world.customer("bulk")): 0.5, str(world.customer("ann")): 0.5,
    }  # fmt: skip
    world.happens(*merge(world, "bulk", "ann"))
    together = in_full(world, "company", "purchases")
    assert [(each["customer_id"], each["share"]) for each in together["customers"]] == [
        (str(world.customer("ann")), 1)
    ]


def test_of_an_erased_customer_the_figures_stay_and_the_name_goes(world: World) -> None:
    shop(world, outage)
    watched(world)
    world.happens(CustomerErased(customer_id=world.customer("bulk"), erased_at=NOON))
    purchases = in_full(world, "company", "purchases")
    assert (purchases["customers"], purchases["others_share"]) == ([], 1)
    assert purchases["change"] == pytest.approx(-15)
    with world.scoring.sessions() as session:
        assert not session.scalar(text("select count(*) from alert_customer"))


def test_one_who_was_erased_before_is_behind_nothing_by_name(world: World) -> None:
    shop(world, outage)
    world.happens(CustomerErased(customer_id=world.customer("bulk"), erased_at=NOON))
    watched(world)
    assert in_full(world, "company", "purchases")["customers"] == []


def test_a_closed_day_is_no_outage_unless_the_company_says_that_it_is_open(world: World) -> None:
    shop(world, lambda name, gone: 0 if gone == 0 else usual(name, gone))
    assert watched(world).report["alerts"] == 0
    watch_over(world, kinds=["company"], open_weekdays=[1, 2, 3, 4, 5, 6, 7])
    watched(world)
    assert {each["name"] for each in alerts(world)} == {"purchases", "active_customers", "net_revenue"}


def test_only_what_the_company_chose_is_watched(world: World) -> None:
    shop(world, outage)
    watch_over(world, kinds=["channel", "country"])
    assert watched(world).report["series"] == 3
    assert {each["kind"] for each in alerts(world)} == {"channel", "country"}
    client = world.scoring.client
    assert client.get("/v1/watch").json() == {
        "kinds": ["country", "channel"], "open_weekdays": None, "judged_until": LAST, "version": 2,
    }  # fmt: skip
    body = {"kinds": ["company"], "open_weekdays": None}
    assert client.put("/v1/watch", json=body).status_code == 428
    assert client.put("/v1/watch", json=body, headers={"If-Match": '"1"'}).status_code == 412
    for wrong in (
        {"kinds": ["weather"]},
        {"kinds": [], "open_weekdays": [0]},
        {"kinds": [], "open_weekdays": []},
    ):
        assert client.put("/v1/watch", json=wrong, headers={"If-Match": '"2"'}).status_code == 422


def test_a_tiers_purchases_are_those_of_the_customers_who_held_it_then(world: World) -> None:
    shop(world, outage)
    with world.scoring.sessions.begin() as session:
        # bulk was gold from the first day on and rose to platinum half-way; ann is told of after the outage.
        session.execute(
            text("""
                insert into tier_change (customer_id, tier, effective_at, reason, initial, historical, as_of, policy_version)
                select cast(:bulk as uuid), 'gold', now(), 'purchase', false, false, cast(:first as timestamptz), 1
                union all select :bulk, 'platinum', now(), 'purchase', false, false, :half, 1
                union all select :ann, 'gold', now(), 'purchase', false, false, :after, 1
            """),
            {
                "bulk": world.customer("bulk"), "ann": world.customer("ann"), "first": NOON - days(OPEN + 1),
                "half": NOON - days(40), "after": MIDNIGHT,
            },
        )  # fmt: skip
    watch_over(world, kinds=["tier"])
    assert watched(world).report["series"] == 2
    (found,) = alerts(world)
    assert (found["name"], found["direction"], found["observed"]) == ("platinum", "down", 0)
    assert found["words"]["en"].startswith("Purchases of Platinum customers were 0 instead of about 15 ")
    assert found["words"]["zh"] == f"{LAST} 铂金等级客户的购买次数为 0，平常约为 15。"


def test_a_products_pieces_are_watched(world: World) -> None:
    from shared.events.profile import PurchaseLine

    def line(quantity: int) -> tuple[PurchaseLine, ...]:
        return (
            PurchaseLine(
                line=1,
                sku="85123A",
                quantity=quantity,
                unit_price="1",
                amount_minor=100,
                accounting_amount_minor=100,
            ),
        )

    world.happens(world.registered("ann"), world.registered("bob"))
    world.happens(
        *(world.purchase("ann", f"a{gone}", 100, NOON - days(gone), lines=line(2 + gone % 3)) for gone in range(OPEN, -1, -1)),
        world.purchase("bob", "b", 100, NOON, lines=line(5_000)),
    )  # fmt: skip
    watch_over(world, kinds=["product"])
    watched(world)
    found = in_full(world, "product", "85123A")
    assert (found["direction"], found["observed"], found["unit"]) == ("up", 5_002, "count")
    assert found["words"]["en"].startswith("Pieces sold of 85123A were 5,002 instead of about ")
    assert [each["customer_id"] for each in found["customers"]] == [str(world.customer("bob"))]


def test_customers_who_fall_silent_together_are_an_alert(world: World) -> None:
    shop(world, usual)
    people = [uuid4() for _ in range(40)]
    with world.scoring.sessions.begin() as session:
        for at, person in enumerate(people):
            gone = 0 if at >= 20 else 3 * at + 1  # twenty one by one, twenty on the last day
            session.execute(
                text("""
                    insert into stage_change (
                        customer_id, stage, previous_stage, effective_at, reason, initial, historical, as_of)
                    values (:id, 'dormant', 'declining', now(), 'review', false, false, :as_of)
                """),
                {"id": person, "as_of": NOON - days(gone)},
            )
    watch_over(world, kinds=["churn"])
    watched(world)
    found = in_full(world, "churn", "fell_silent")
    assert (found["observed"], found["direction"]) == (20, "up")
    assert len(found["customers"]) == 10, "at most so many, each with an equal part"
    assert {UUID(each["customer_id"]) for each in found["customers"]} < set(people[20:])


def test_a_share_of_detractors_that_jumps_is_an_alert(world: World) -> None:
    shop(world, usual)
    with world.scoring.sessions.begin() as session:
        session.execute(
            text("""
                insert into satisfaction (recorded_customer_id, customer_id, satisfaction, measure, effective_at)
                select id, id, case when n % 10 = 0 or n < 20 and gone = 0 then 'detractor' else 'promoter' end, 'nps',
                       cast(:noon as timestamptz) - gone * interval '1 day'
                from generate_series(0, 80) gone, generate_series(0, 19) n, lateral (
                    select cast(md5(gone || '-' || n) as uuid) as id) person
            """),
            {"noon": NOON},
        )
    watch_over(world, kinds=["satisfaction"])
    watched(world)
    (found,) = alerts(world)
    assert (found["name"], found["observed"], found["direction"]) == ("detractors", 20, "up")
    assert found["expected"] == pytest.approx(2, abs=0.1)


def test_where_the_as_of_of_the_calibration_is_pinned_the_watch_ends_there(world: World) -> None:
    shop(world, outage)
    world.calibrated(MIDNIGHT)
    assert watched(world, as_of=None).report["until"] == LAST
    assert len(alerts(world)) >= 4


def test_alerts_are_listed_by_kind_and_day_in_pages(world: World) -> None:
    shop(world, outage)
    watched(world)
    assert {each["kind"] for each in alerts(world, kind=["country", "channel"])} == {"country", "channel"}
    assert len(alerts(world, day_gte=LAST)) == 4
    assert alerts(world, day_gte="2026-03-11") == [] == alerts(world, day_lt=LAST)
    pages, cursor = [], None
    while True:
        reply = world.scoring.client.get(
            "/v1/alerts", params={"limit": 1} | ({"cursor": cursor} if cursor else {})
        ).json()
        pages += [each["id"] for each in reply["items"]]
        if (cursor := reply["next_cursor"]) is None:
            break
    assert len(pages) == len(set(pages)) == 4


def test_runs_are_posted_as_jobs_and_start_every_night(world: World) -> None:
    client = world.scoring.client
    reply = client.post("/v1/watch/runs", json={"as_of": "2026-03-11T00:00:00Z"})
    assert reply.status_code == 202
    assert reply.headers["location"] == f"/scoring/v1/jobs/{reply.json()['id']}"
    late = client.post("/v1/watch/runs", json={"as_of": "9999-12-31T00:00:00Z"})
    assert (late.status_code, late.json()["code"]) == (409, "as_of_too_late")
    early = client.post("/v1/watch/runs", json={"as_of": "0001-01-01T00:00:00+12:00"})
    assert (early.status_code, early.json()["code"]) == (409, "as_of_too_early")
    watch_daily(Context(world.scoring.settings, world.scoring.sessions, world.scoring.engine))
    with world.scoring.sessions() as session:
        queued = session.execute(text("select kind, parameters from shared.job order by id")).all()
    assert [tuple(each) for each in queued] == [
        ("watch", {"as_of": "2026-03-11T00:00:00+00:00"}),
        ("watch", {}),
    ]


def test_words_of_several_days_name_the_first_and_the_last() -> None:
    days_of = (date(2011, 5, 26), date(2011, 6, 2))
    words = sentence("country", "GB", {"en": "GB", "zh": "GB"}, *days_of, 1_234.4, 5_678.6, "GBP")
    assert words == {
        "en": "Net revenue from GB was 1,234 GBP instead of about 5,679 GBP from 2011-05-26 to 2011-06-02.",
        "zh": "2011-05-26 至 2011-06-02 GB的净收入为 1,234 GBP，平常约为 5,679 GBP。",
    }
