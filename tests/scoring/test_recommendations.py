"""What goes with a product and what a customer is offered, as the service tells it: from facts, by a set made in a job."""

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, date, datetime
from typing import Any
from uuid import UUID, uuid4

import duckdb
import pytest
from sqlalchemy import text

from services.scoring.app import SERVICE
from services.scoring.domain import recommendation_sets
from services.scoring.jobs import RECOMMENDATIONS, renew_recommendations, renew_recommendations_nightly
from services.scoring.rules import related as rule
from services.scoring.rules.recommend import Product, recommend, sources
from services.scoring.rules.related import FEWEST_BUYERS, related_products
from shared import jobs
from shared.events.envelope import Event
from shared.events.profile import CustomerErased, ReturnLine
from shared.jobs.runner import JobCancelled, RunningJob
from shared.jobs.schedule import Context
from tests import real_file, recommending
from tests.scoring.test_facts_in_full import line, product, rows
from tests.scoring.test_merges import merge, unmerge
from tests.scoring.world import MIDNIGHT, NOON, World, days

TEA = ("tea", "pot", "cup")
BAKING = ("flour", "pan", "whisk")


def bought(world: World, name: str, *skus: str, at: datetime = NOON, order: str | None = None) -> Event:
    return world.purchase(
        name,
        order or f"{name} {uuid4()}",
        100 * len(skus),
        at,
        lines=tuple(line(number, sku, 100) for number, sku in enumerate(skus, 1)),
    )


def gave_back(world: World, name: str, order: str | None, sku: str, quantity: int = 2) -> Event:
    one = ReturnLine(sku=sku, quantity=quantity, amount_minor=100, accounting_amount_minor=100)
    return world.returned(name, order, 100, lines=(one,))


def catalogue(*skus: str) -> list[Event]:
    return [product(sku, name_en=sku.capitalize(), category="Kitchen") for sku in skus]


def shop(world: World, drinkers: int = 20, bakers: int = 20) -> None:
    """Some buy everything for tea, some everything for baking, and everybody buys soap."""
    events: list[Event] = catalogue(*TEA, *BAKING)
    events.append(product("soap", name_zh="香皂", name_en="Soap", category="Bath"))
    for skus, count in ((TEA, drinkers), (BAKING, bakers)):
        for number in range(count):
            name = f"{skus[0]} {number}"
            events += [world.registered(name), bought(world, name, *skus, "soap", at=NOON - days(number))]
    world.happens(*events)


@pytest.fixture
def planted(world: World) -> World:
    shop(world)
    world.calibrated(MIDNIGHT)
    refreshed(world)
    return world


# The job in the hands of a worker.


def queued(world: World) -> RunningJob:
    with world.scoring.sessions.begin() as session:
        job_id = jobs.create(session, RECOMMENDATIONS, {})
        session.execute(text("update shared.job set state = 'running' where id = :id"), {"id": job_id})
    return taken_over(world, job_id)


def taken_over(world: World, job_id: UUID) -> RunningJob:
    with world.scoring.sessions.begin() as session:
        row = session.execute(
            text("update shared.job set epoch = epoch + 1 where id = :id returning cursor, report, epoch"),
            {"id": job_id},
        ).one()
    return RunningJob(
        id=job_id,
        kind=RECOMMENDATIONS,
        parameters={},
        cursor=row.cursor or {},
        report=row.report or {},
        created_by=None,
        settings=world.scoring.settings,
        sessions=world.scoring.sessions,
        engine=world.scoring.engine,
        epoch=row.epoch,
        stop=threading.Event(),
    )


def refreshed(world: World) -> RunningJob:
    job = queued(world)
    renew_recommendations(job)
    return job


def before_each_chunk(job: RunningJob, happens: Callable[[int], None]) -> None:
    whole, count = job.chunk, 0

    def chunk() -> Any:
        nonlocal count
        happens(count)
        count += 1
        return whole()

    job.chunk = chunk  # type: ignore[method-assign]


class Killed(BaseException):
    pass


def dies_in_chunk(job: RunningJob, fatal: int) -> None:
    """The work of this chunk is done and not committed."""
    whole, count = job.chunk, 0

    @contextmanager
    def chunk() -> Iterator[Any]:
        nonlocal count
        count += 1
        with whole() as open_chunk:
            yield open_chunk
            if count == fatal:
                raise Killed

    job.chunk = chunk  # type: ignore[method-assign]


def progress(world: World, job: RunningJob) -> tuple[Any, ...]:
    with world.scoring.sessions() as session:
        found = text("select total, processed, failed from shared.job where id = :id")
        return tuple(session.execute(found, {"id": job.id}).one())


def sets(world: World) -> list[tuple[Any, ...]]:
    return rows(world, "select set_id, state from recommendation_set order by set_id")


def content(world: World) -> tuple[list[tuple[Any, ...]], ...]:
    """Of all sets there are, finished or not."""
    return (
        rows(
            world,
            "select sku, place, related_sku, score, buyers, lift from related_product order by sku, place",
        ),
        rows(world, "select segment, place, sku, buyers, revenue_minor from bestseller order by 1, 2"),
    )


# What is told.


def asked(world: World, path: str, **parameters: Any) -> Any:
    reply = world.scoring.client.get(f"/v1/{path}", params=parameters)
    assert reply.status_code == 200, reply.text
    return reply.json()


def related(world: World, sku: str, **parameters: Any) -> list[str]:
    return [each["sku"] for each in asked(world, f"products/{sku}/related", **parameters)["items"]]


def answer(world: World, name: str, **parameters: Any) -> Any:
    return asked(world, f"customers/{world.customer(name)}/recommendations", **parameters)


def offered(world: World, name: str, **parameters: Any) -> list[str]:
    return [each["sku"] for each in answer(world, name, **parameters)["items"]]


def test_what_the_same_customers_buy_goes_together_and_what_everybody_buys_with_nothing(
    planted: World,
) -> None:
    reply = asked(planted, "products/tea/related")
    assert reply["as_of"] == "2026-03-11T00:00:00Z"
    first, second = reply["items"]
    assert first == {
        "sku": "cup",
        "names": {"zh": None, "en": "Cup"},
        "category": "Kitchen",
        # All of 20 in 40: 2 × (20 ln 2 + 20 ln 2); lift from 5 co-purchases before, as many as chance would have.
        "score": pytest.approx(55.4518, abs=1e-4),
        "buyers": 20,
        "lift": pytest.approx((20 + 5) / (10 + 5)),
        "in_stock": True,
        "active": True,
    }
    assert second["sku"] == "pot", "equal scores go by sku"
    assert related(planted, "soap") == []
    planted.assert_sound()


def test_a_related_product_is_told_with_whether_it_can_be_had(planted: World) -> None:
    planted.happens(product("cup", stock=0), product("pot", stock=3, active=False))
    cup, pot = asked(planted, "products/tea/related")["items"]
    assert [(each["in_stock"], each["active"]) for each in (cup, pot)] == [(False, True), (True, False)]


def test_what_the_catalogue_does_not_know_is_related_but_never_offered(world: World) -> None:
    for number in range(20):
        world.happens(
            bought(world, f"a{number}", "known", "unknown"), bought(world, f"b{number}", f"other{number}")
        )
    world.happens(product("known"), world.registered("ann"), bought(world, "ann", "known"))
    refreshed(world)
    (unknown,) = asked(world, "products/known/related")["items"]
    assert (unknown["sku"], unknown["in_stock"], unknown["active"]) == ("unknown", None, None)
    assert offered(world, "ann") == []


def test_a_customer_is_offered_what_goes_with_what_they_bought_then_bestsellers_each_with_its_reason(
    planted: World,
) -> None:
    planted.happens(
        planted.registered("ann"),
        product("box", name_zh="茶盒", accessory_of="tea"),
        bought(planted, "ann", "tea"),
    )
    told = answer(planted, "ann")
    assert told["customer_id"] == str(planted.customer("ann"))
    box, cup, pot, *rest = told["items"]
    assert (box["sku"], box["names"], box["reason"]["kind"]) == (
        "box",
        {"zh": "茶盒", "en": None},
        "accessory",
    )
    assert box["reason"]["words"] == {"zh": "“Tea”的配件", "en": "Goes with Tea"}
    assert (cup["sku"], pot["sku"]) == ("cup", "pot")
    assert cup["score"] == pytest.approx(55.4518, abs=1e-4)
    assert cup["reason"] == {
        "kind": "bought_together",
        "because_of": "tea",
        "words": {"zh": "常与“Tea”一起购买", "en": "Often bought together with Tea"},
    }
    reasons = {each["sku"]: each["reason"] for each in rest}
    assert reasons["flour"] == {
        "kind": "category",
        "because_of": "Kitchen",
        "words": {"zh": "“Kitchen”中的畅销商品", "en": "A bestseller in Kitchen"},
    }
    assert list(reasons) == ["flour", "pan", "whisk", "soap"], "of their category first"
    assert all(each["score"] == 0 for each in rest)


def test_nothing_is_offered_that_is_owned_out_of_stock_or_no_longer_sold(planted: World) -> None:
    planted.happens(planted.registered("ann"), bought(planted, "ann", "tea"))
    assert offered(planted, "ann", limit=2) == ["cup", "pot"]
    planted.happens(product("cup", stock=0), product("soap", active=False))
    assert offered(planted, "ann", limit=50) == ["pot", "flour", "pan", "whisk"]
    planted.happens(bought(planted, "ann", "pot"), product("tea", replenishable=True))
    assert offered(planted, "ann", limit=50) == ["tea", "flour", "pan", "whisk"], "tea is used up"


def test_what_came_back_or_was_called_off_is_not_owned(planted: World) -> None:
    def owned() -> set[str]:
        return {"tea", "pot", "cup"} - set(offered(planted, "ann", limit=50))

    planted.happens(
        planted.registered("ann"),
        bought(planted, "ann", "tea", order="A1"),
        bought(planted, "ann", "pot", order="A2"),
        bought(planted, "ann", "pot", "cup", order="A3"),
    )
    assert owned() == {"tea", "pot", "cup"}
    planted.happens(gave_back(planted, "ann", "A1", "tea", quantity=1))
    assert owned() == {"tea", "pot", "cup"}, "one of two pieces is left"
    planted.happens(gave_back(planted, "ann", None, "tea", quantity=1))
    assert owned() == {"pot", "cup"}, "whether or not the return names a purchase"
    # One of the two of A3 comes back, then the rest is called off: the pot of A2 stays.
    planted.happens(gave_back(planted, "ann", "A3", "pot", quantity=1), planted.cancelled("ann", "A3", 100))
    assert owned() == {"pot"}
    planted.happens(planted.cancelled("ann", "A2", 100))
    assert owned() == set()


def test_what_came_back_or_was_called_off_relates_nothing(world: World) -> None:
    shop(world)
    for number in range(20):
        name = f"tea {number}"
        world.happens(
            bought(world, name, "pan", order=f"R{number}"),
            gave_back(world, name, f"R{number}", "pan"),
            bought(world, name, "whisk", order=f"C{number}"),
            world.cancelled(name, f"C{number}", 100),
        )
    refreshed(world)
    assert related(world, "tea") == ["cup", "pot"]


def test_one_who_never_bought_is_offered_bestsellers(planted: World) -> None:
    planted.happens(planted.registered("new"))
    told = answer(planted, "new")["items"]
    assert told[0]["sku"] == "soap", "40 bought it, 20 everything else"
    assert told[0]["reason"] == {
        "kind": "bestseller",
        "because_of": None,
        "words": {"zh": "畅销商品", "en": "A bestseller"},
    }
    assert [each["sku"] for each in told[1:]] == ["cup", "flour", "pan", "pot", "tea", "whisk"]


def test_bestsellers_of_the_customers_segment_come_before_everybodys(world: World) -> None:
    """New customers buy soap or a towel, those of long ago bought oil, and more of them."""
    world.happens(product("soap"), product("towel"), product("oil"), product("key"))
    for number in range(60):
        world.happens(
            bought(world, f"old {number}", "oil", at=NOON - days(80)),
            bought(world, f"new {number}", "soap" if number % 2 else "towel"),
        )
    world.happens(bought(world, "key 1", "key"), bought(world, "key 2", "key"))
    world.calibrated(MIDNIGHT)
    refreshed(world)
    segment = world.score("new 2")["rfm"]["segment"]
    assert segment != world.score("old 1")["rfm"]["segment"]
    told = answer(world, "new 2")["items"]
    assert [(each["sku"], each["reason"]["kind"], each["reason"]["because_of"]) for each in told] == [
        ("soap", "bestseller", segment), ("oil", "bestseller", None),
    ]  # fmt: skip
    assert told[0]["reason"]["words"] == {
        "zh": "同类客户中的畅销商品",
        "en": "A bestseller among similar customers",
    }
    assert rows(world, "select sku, buyers, revenue_minor from bestseller where segment = '' order by place") == [
        ("oil", 60, 6_000), ("soap", 30, 3_000), ("towel", 30, 3_000),
    ]  # fmt: skip
    assert FEWEST_BUYERS == 3, "the key, which two bought, is nobody's business"
    assert rows(world, "select count(*) from bestseller where sku = 'key'") == [(0,)]


def test_bestsellers_are_of_the_last_90_days_before_a_pinned_as_of_and_net_of_what_came_back(
    world: World,
) -> None:
    world.happens(product("then"), product("now"), product("later"), product("back"))
    for number in range(5):
        world.happens(
            bought(world, f"c{number}", "then", at=MIDNIGHT - days(91)),
            bought(world, f"c{number}", "now", at=MIDNIGHT - days(89)),
            bought(world, f"c{number}", "later", at=MIDNIGHT),
            bought(world, f"c{number}", "back", order=f"B{number}"),
            gave_back(world, f"c{number}", f"B{number}", "back"),
        )
    world.calibrated(MIDNIGHT)
    assert refreshed(world).report["as_of"] == MIDNIGHT.isoformat()
    assert rows(world, "select sku, buyers from bestseller where segment = ''") == [("now", 5)]
    world.calibrated(None)
    assert datetime.fromisoformat(refreshed(world).report["as_of"]) > MIDNIGHT


def test_merged_customers_own_together_answer_as_one_and_are_one_buyer(planted: World) -> None:
    planted.happens(
        *(planted.registered(name) for name in ("ann", "bob")),
        bought(planted, "ann", "tea"),
        bought(planted, "bob", "pot"),
    )
    ann, bob = answer(planted, "ann"), answer(planted, "bob")
    assert "pot" in offered(planted, "ann")
    planted.happens(*merge(planted, "bob", "ann"))
    both = answer(planted, "ann")
    assert both == answer(planted, "bob")
    assert both["customer_id"] == str(planted.customer("ann"))
    assert both["items"][0]["sku"] == "cup"
    assert not {"tea", "pot"} & {each["sku"] for each in both["items"]}
    refreshed(planted)
    assert buyers_of_tea_and(planted, "pot") == 21
    planted.happens(*unmerge(planted, "bob", "ann"))
    refreshed(planted)
    assert buyers_of_tea_and(planted, "pot") == 20
    for name, before in (("ann", ann), ("bob", bob)):
        assert [each["sku"] for each in answer(planted, name)["items"]] == [
            each["sku"] for each in before["items"]
        ]


def buyers_of_tea_and(world: World, sku: str) -> int:
    items = asked(world, "products/tea/related")["items"]
    (buyers,) = (each["buyers"] for each in items if each["sku"] == sku)
    assert isinstance(buyers, int)
    return buyers


def test_an_erased_customer_is_offered_nothing_and_counts_as_nobody(planted: World) -> None:
    before = content(planted)[0]
    erased = planted.customer("tea 0")
    planted.happens(CustomerErased(customer_id=erased, erased_at=NOON))
    reply = planted.scoring.client.get(f"/v1/customers/{erased}/recommendations")
    assert (reply.status_code, reply.json()["code"]) == (410, "customer_erased")
    refreshed(planted)
    assert content(planted)[0] == before


def test_before_the_first_run_there_is_nothing_but_accessories(world: World) -> None:
    world.happens(
        world.registered("ann"),
        product("pot"),
        product("lid", accessory_of="pot"),
        bought(world, "ann", "tea"),
    )
    assert asked(world, "products/tea/related") == {"sku": "tea", "as_of": None, "items": []}
    told = answer(world, "ann")
    assert (told["as_of"], told["items"]) == (None, [])
    world.happens(bought(world, "ann", "pot"))
    assert offered(world, "ann") == ["lid"]


def test_a_run_without_a_single_purchase_is_a_run(world: World) -> None:
    world.happens(product("tea"), world.registered("ann"))
    job = refreshed(world)
    assert (job.report["related"], job.report["bestsellers"]) == (0, 0)
    assert progress(world, job) == (0, 0, 0)
    reply = asked(world, "products/tea/related")
    assert (reply["as_of"] is None, reply["items"]) == (False, [])
    assert offered(world, "ann") == []
    world.assert_sound()


def test_who_and_what_is_unknown_is_not_found(planted: World) -> None:
    client = planted.scoring.client
    reply = client.get(f"/v1/customers/{uuid4()}/recommendations")
    assert (reply.status_code, reply.json()["code"]) == (404, "customer_not_found")
    reply = client.get("/v1/products/nothing/related")
    assert (reply.status_code, reply.json()["code"]) == (404, "product_not_found")
    planted.happens(bought(planted, "tea 0", "a sku that is in no catalogue"))
    assert related(planted, "a sku that is in no catalogue") == []


def test_ten_are_told_unless_asked_for_1_to_50(world: World) -> None:
    many = [f"p{number:02}" for number in range(60)]
    world.happens(world.registered("ann"), *catalogue(*many))
    for number in range(10):
        world.happens(
            bought(world, f"a{number}", *many), bought(world, f"b{number}", *(f"x{n}" for n in range(10)))
        )
    world.calibrated(MIDNIGHT)
    refreshed(world)
    paths = ("products/p00/related", f"customers/{world.customer('ann')}/recommendations")
    for path in paths:
        assert [len(asked(world, path, **asked_for)["items"]) for asked_for in ({}, {"limit": 50})] == [
            10,
            50,
        ]
        for wrong in (0, 51, "all"):
            assert world.scoring.client.get(f"/v1/{path}", params={"limit": wrong}).status_code == 422


def test_a_second_run_replaces_the_first_in_one_step(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    in_many_portions(monkeypatch)
    shop(world)
    world.calibrated(MIDNIGHT)
    refreshed(world)
    world.happens(world.registered("ann"), bought(world, "ann", "tea"))
    first = answer(world, "ann"), asked(world, "products/tea/related")
    for number in range(20):
        world.happens(bought(world, f"tea {number}", "honey"))
    seen: list[Any] = []
    job = queued(world)
    before_each_chunk(
        job, lambda _: seen.append((answer(world, "ann"), asked(world, "products/tea/related")))
    )
    renew_recommendations(job)
    assert len(seen) > 6
    assert all(each == first for each in seen)
    assert related(world, "tea") == ["cup", "honey", "pot"]
    assert sets(world) == [(job.id, "current")]
    assert rows(world, "select distinct set_id from related_product") == [(job.id,)]
    assert rows(world, "select distinct set_id from bestseller") == [(job.id,)]
    world.assert_sound()


def in_many_portions(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(rule, "CELLS", 1)
    monkeypatch.setattr(recommendation_sets, "WRITTEN_AT_ONCE", 2)


def test_a_run_killed_in_any_chunk_and_resumed_gives_the_same_and_leaves_nothing_behind(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    shop(world)
    world.calibrated(MIDNIGHT)
    whole = refreshed(world)
    expected, report = content(world), whole.report
    assert progress(world, whole) == (7, 7, 0)

    in_many_portions(monkeypatch)
    job, deaths = queued(world), 0
    while job.cursor.get("phase") != "done":
        dies_in_chunk(job, deaths + 1)
        try:
            renew_recommendations(job)
        except Killed:
            deaths += 1
        job = taken_over(world, job.id)
    assert deaths > 8
    assert content(world) == expected
    assert sets(world) == [(job.id, "current")]
    assert job.report == report
    assert progress(world, job) == (7, 7, 0)
    renew_recommendations(job)
    assert sets(world) == [(job.id, "current")], "whoever takes over a job that is done does nothing"
    world.assert_sound()


def test_a_cancelled_run_leaves_nothing_behind(planted: World, monkeypatch: pytest.MonkeyPatch) -> None:
    in_many_portions(monkeypatch)
    before = content(planted), sets(planted)
    job = queued(planted)

    def cancel(chunks: int) -> None:
        if chunks == 4:
            assert len(sets(planted)) == 2
            job.cancelled = True

    before_each_chunk(job, cancel)
    with pytest.raises(JobCancelled):
        renew_recommendations(job)
    assert (content(planted), sets(planted)) == before
    planted.assert_sound()


@pytest.mark.parametrize("overtaken_at", range(1, 7))
def test_the_run_that_began_last_gives_up_any_other(
    world: World, monkeypatch: pytest.MonkeyPatch, overtaken_at: int
) -> None:
    in_many_portions(monkeypatch)
    shop(world)
    slow, fast = queued(world), queued(world)
    before_each_chunk(slow, lambda chunks: renew_recommendations(fast) if chunks == overtaken_at else None)
    renew_recommendations(slow)
    assert slow.report["superseded"] is True
    assert sets(world) == [(fast.id, "current")]
    assert related(world, "tea") == ["cup", "pot"]
    world.assert_sound()


def test_a_refresh_is_posted_as_a_job_and_made_every_night(world: World) -> None:
    client = world.scoring.client
    reply = client.post("/v1/recommendations/refresh", headers={"Idempotency-Key": "one"})
    assert reply.status_code == 202
    assert reply.headers["location"] == f"/scoring/v1/jobs/{reply.json()['id']}"
    again = client.post("/v1/recommendations/refresh", headers={"Idempotency-Key": "one"})
    assert again.json() == reply.json()
    renew_recommendations_nightly(
        Context(world.scoring.settings, world.scoring.sessions, world.scoring.engine)
    )
    assert rows(world, "select kind, state from shared.job") == [("recommendations", "queued")] * 2


BEGIN, UNTIL = date(2011, 10, 1), date(2011, 12, 10)
# The lines that tests/recommending.py keeps.
ORDERS = """
select regexp_replace("CustomerID", '\\.0$', ''), "InvoiceNo", min("InvoiceDate"::timestamp),
    list({'sku': upper("StockCode"), 'quantity': "Quantity"::bigint})
from read_csv($file, all_varchar = true, header = true)
where "CustomerID" <> '' and regexp_matches("StockCode", '^[0-9]{5}') and "UnitPrice"::double > 0
    and "InvoiceDate"::date >= $begin and "InvoiceDate"::date < $until
group by 1, 2 order by 3, 2
"""


@pytest.mark.skipif(not real_file.FILE.exists(), reason=f"the public retail file is not at {real_file.FILE}")
def test_on_the_real_file_the_service_offers_what_the_rules_do(service: Callable[..., Any]) -> None:
    world = World(service(SERVICE, time_zone="Europe/London"))
    with duckdb.connect() as connection:
        orders = connection.execute(
            ORDERS, {"file": str(real_file.FILE), "begin": BEGIN, "until": UNTIL}
        ).fetchall()
    for start in range(0, len(orders), 500):
        world.happens(*(each for order in orders[start : start + 500] for each in told(world, *order)))
    customers = recommending.bought(BEGIN, UNTIL)
    buyers, products, skus = recommending.indexed(customers)
    world.happens(*(product(sku) for sku in skus))
    world.calibrated(datetime(2011, 12, 10, tzinfo=UTC))
    report = refreshed(world).report

    blocks = list(related_products(buyers, products, len(skus)))
    assert report["related"] == sum(len(block.product) for block in blocks) > 10_000
    goes_with = recommending.related_by_sku(blocks, skus)
    facts = dict.fromkeys(skus, Product())
    segments = segments_of(world)
    for name in sorted(customers)[::100]:
        owned, segment = customers[name], segments[name]
        alike = {each: mine for each, mine in customers.items() if segments[each] == segment}
        of_segment, of_everybody = best(alike), best(customers)
        mine = {sku: goes_with[sku] for sku in sources(owned) if sku in goes_with}
        expected = recommend(owned, mine, facts, [*of_segment, *of_everybody], segment, 50)
        assert [
            (each["sku"], each["score"], each["reason"]["kind"], each["reason"]["because_of"])
            for each in answer(world, name, limit=50)["items"]
        ] == [
            (
                each.sku,
                each.score,
                each.reason.kind,
                None
                if each.reason.kind == "bestseller" and each.sku not in of_segment
                else each.reason.because_of,
            )
            for each in expected
        ]
    world.assert_sound()


def told(world: World, customer: str, order: str, at: datetime, lines: list[dict[str, Any]]) -> list[Event]:
    first: list[Event] = [] if customer in world.customers else [world.registered(customer)]
    moment = at.replace(tzinfo=world.zone).astimezone(UTC)
    if order.startswith("C"):
        back = tuple(
            ReturnLine(sku=each["sku"], quantity=-each["quantity"], amount_minor=1, accounting_amount_minor=1)
            for each in lines
        )
        return [*first, world.returned(customer, None, 1, moment, lines=back)]
    bought = tuple(
        line(number, each["sku"], 100, quantity=each["quantity"]) for number, each in enumerate(lines, 1)
    )
    return [*first, world.purchase(customer, order, 100 * len(lines), moment, lines=bought)]


def best(customers: recommending.Bought) -> list[str]:
    counts = recommending.buyers_of(customers)
    ranking = recommending.bestsellers(customers)[: recommendation_sets.BESTSELLERS]
    return [sku for sku in ranking if counts[sku] >= FEWEST_BUYERS]


def segments_of(world: World) -> dict[str, str | None]:
    by_id = dict(rows(world, "select customer_id, segment from score"))
    return {name: by_id.get(customer_id) for name, customer_id in world.customers.items()}
