"""Many purchases in one request."""

from tests.profile.conftest import at_once, line, purchase


def test_a_batch_answers_each_item_and_keeps_the_good_ones(profile):
    profile.buy("known")
    items = [
        {"source": "shop", "external_id": "new"} | purchase(),
        {"source": "shop", "external_id": "known"} | purchase(),
        {"source": "shop", "external_id": "known"} | purchase(line(quantity=9)),
        {"source": "shop", "external_id": "stranger"}
        | purchase(customer={"source": "shop", "external_id": "nobody"}, create_customer=False),
        {"source": "shop", "external_id": "new"} | purchase(),
        {"source": "shop", "external_id": "new"} | purchase(line(quantity=2)),
        {"source": "shop", "external_id": "dear"}
        | purchase(line(quantity=2**31 - 1, unit_price="9999999999999")),
        {"source": "shop", "external_id": "made"}
        | purchase(customer={"source": "shop", "external_id": "fresh"}),
    ]
    reply = profile.client.post("/v1/purchases/batch", json={"items": items})
    assert reply.status_code == 207
    answers = reply.json()["items"]
    assert [one["status"] for one in answers] == [201, 200, 409, 422, 200, 409, 422, 201]
    assert answers[0]["id"] == answers[4]["id"]
    assert answers[3]["problem"]["code"] == "customer_unknown"
    assert answers[6]["problem"]["code"] == "amount_too_large"
    assert profile.ask("select external_id from purchase order by 1") == [("known",), ("made",), ("new",)]
    assert profile.ask("select external_id from customer_external_id order by 1") == [("17850",), ("fresh",)]
    assert len(profile.announced("purchase_recorded")) == 3
    profile.holds()


def test_one_item_too_large_for_its_event_does_not_spoil_the_batch(profile):
    lines = [line(sku="S" * 200, brand="B" * 100, category="C" * 200) for _ in range(2_000)]
    items = [
        {"source": "shop", "external_id": "large"} | purchase(*lines),
        {"source": "shop", "external_id": "small"} | purchase(),
    ]
    answers = profile.client.post("/v1/purchases/batch", json={"items": items}).json()["items"]
    assert [one["status"] for one in answers] == [422, 201]
    assert answers[0]["problem"]["code"] == "event_too_large"
    assert profile.ask("select external_id from purchase") == [("small",)]


def test_a_batch_of_one_purchase_many_times_records_it_once(profile):
    items = [{"source": "shop", "external_id": "1"} | purchase() for _ in range(1_000)]
    answers = profile.client.post("/v1/purchases/batch", json={"items": items}).json()["items"]
    assert [one["status"] for one in answers] == [201] + [200] * 999
    assert len(profile.announced("purchase_recorded")) == 1


def test_a_batch_of_many_is_told_as_many_singles_would_be(profile):
    items = [
        {"source": "shop", "external_id": f"{n}"}
        | purchase(customer={"source": "shop", "external_id": f"c{n % 7}"})
        for n in range(300)
    ]
    reply = profile.client.post("/v1/purchases/batch", json={"items": items})
    assert {one["status"] for one in reply.json()["items"]} == {201}
    assert profile.ask("select count(*) from purchase_line") == [(300,)]
    assert {
        one["status"]
        for one in profile.client.post("/v1/purchases/batch", json={"items": items}).json()["items"]
    } == {200}
    assert profile.client.get("/v1/purchases/shop/7").json()["total_minor"] == 1530
    profile.holds()


def test_batches_that_overlap_in_opposite_orders_do_not_deadlock(committing):
    names = [f"{number:03}" for number in range(100)]

    def send(number):
        order = names if number % 2 else names[::-1]
        items = [
            {"source": "shop", "external_id": name}
            | purchase(customer={"source": "shop", "external_id": f"c{name}"})
            for name in order
        ]
        return committing.client.post("/v1/purchases/batch", json={"items": items})

    replies = at_once(send, 4)
    assert {reply.status_code for reply in replies} == {207}
    statuses = [one["status"] for reply in replies for one in reply.json()["items"]]
    assert (statuses.count(201), statuses.count(200)) == (100, 300)
    assert committing.ask("select count(*) from purchase") == [(100,)]
    committing.holds()


def test_whatever_stands_in_a_line_is_kept_as_it_stands(profile):
    odd = [r"\N", "\\", r"C:\temp\new", r"\.", '"quoted", {1}', "茶\\t杯", "NULL"]
    lines = [line(sku=text, description=text, brand=text) for text in odd]
    item = {"source": "shop", "external_id": "odd"} | purchase(*lines)
    answers = profile.client.post("/v1/purchases/batch", json={"items": [item]}).json()["items"]
    assert [one["status"] for one in answers] == [201]
    kept = profile.ask("select sku, description, brand from purchase_line order by line")
    assert kept == [(text, text, text) for text in odd]
    (told,) = profile.announced("purchase_recorded")
    assert [one["sku"] for one in told["lines"]] == odd
