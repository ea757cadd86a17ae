"""Points spent on rewards: never twice, never more than there are."""

import time
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from uuid import uuid4

import pytest

from tests.campaigns.conftest import bought


def race(count, work):
    """All at once, on as many threads as the pool has connections."""
    with ThreadPoolExecutor(16) as threads:
        return list(threads.map(work, range(count)))


def persist(send):
    """What a front end does: an answer of 503 is sent again, with the same key, when it says."""
    for _ in range(20):
        reply = send()
        if reply.status_code != 503:
            break
        time.sleep(float(reply.headers["Retry-After"]))
    return reply


def outcomes(replies):
    """How many replies there are of each kind, by the refusal's code."""
    return Counter("spent" if reply.status_code == 201 else reply.json()["code"] for reply in replies)


def test_a_redemption_spends_the_points_and_says_so(programme):
    customer_id, reward_id = programme.customer(points=800), programme.reward(price=500, stock=3)
    reply = programme.redeem(customer_id, reward_id)
    assert reply.status_code == 201
    redemption = reply.json()
    assert (redemption["points"], redemption["reward_id"], redemption["reward_name"]) == (
        500,
        reward_id,
        "Tea cup 茶杯",
    )
    assert programme.balance(customer_id) == 300
    assert programme.service.client.get(f"/v1/rewards/{reward_id}").json()["stock"] == 2
    spent, redeemed = programme.announced("points_spent", "reward_redeemed")
    assert (spent["points"], spent["balance"], spent["source"]) == (
        500,
        300,
        f"redemption:{redemption['id']}",
    )
    assert (spent["reason"], redeemed["points"]) == ("redemption", 500)
    listed = programme.service.client.get(f"/v1/customers/{customer_id}/redemptions").json()["items"]
    assert listed == [redemption]


def test_the_same_key_again_gives_the_same_answer_and_spends_nothing(programme):
    customer_id, reward_id = programme.customer(points=1_000), programme.reward(price=400)
    first, second = (programme.redeem(customer_id, reward_id, "order-7") for _ in range(2))
    assert (second.status_code, second.json()) == (201, first.json())
    assert second.headers["Idempotent-Replayed"] == "true"
    assert programme.balance(customer_id) == 600
    other = programme.redeem(customer_id, programme.reward(price=1), "order-7")
    assert (other.status_code, other.json()["code"]) == (422, "idempotency_key_reused")


def test_the_answer_to_a_key_is_kept_for_ever(programme):
    from sqlalchemy import text

    customer_id = programme.customer(points=100)
    assert programme.redeem(customer_id, programme.reward(), "for-ever").status_code == 201
    with programme.service.sessions() as session:
        assert session.execute(text("select expires_at from shared.idempotency_key")).scalars().all() == [
            None
        ]


def test_without_a_key_nothing_is_spent(programme):
    customer_id, reward_id = programme.customer(points=100), programme.reward()
    reply = programme.service.client.post(
        f"/v1/customers/{customer_id}/redemptions", json={"reward_id": reward_id}
    )
    assert (reply.status_code, reply.json()["code"]) == (400, "idempotency_key_required")
    assert programme.balance(customer_id) == 100


def test_a_refused_redemption_changes_nothing_and_may_be_tried_again(programme):
    customer_id, reward_id = programme.customer(points=99), programme.reward(price=100, stock=1)
    refused = programme.redeem(customer_id, reward_id, "again")
    assert (refused.status_code, refused.json()["code"]) == (409, "insufficient_points")
    assert programme.service.client.get(f"/v1/rewards/{reward_id}").json()["stock"] == 1
    programme.hear(bought(customer_id, 100))
    assert programme.redeem(customer_id, reward_id, "again").status_code == 201


def test_what_is_out_of_stock_costs_nothing(programme):
    customer_id, reward_id = programme.customer(points=100), programme.reward(stock=0)
    refused = programme.redeem(customer_id, reward_id)
    assert (refused.status_code, refused.json()["code"]) == (409, "out_of_stock")
    assert programme.balance(customer_id) == 100


@pytest.mark.parametrize("missing", ["customer", "reward"])
def test_an_unknown_customer_or_reward_is_not_found(programme, missing):
    customer_id = uuid4() if missing == "customer" else programme.customer(points=100)
    reward_id = str(uuid4()) if missing == "reward" else programme.reward()
    reply = programme.redeem(customer_id, reward_id)
    assert (reply.status_code, reply.json()["code"]) == (404, f"{missing}_not_found")


def test_rewards_are_listed_latest_first(programme):
    ids = [programme.reward(price=number) for number in (1, 2, 3)]
    items = programme.service.client.get("/v1/rewards").json()["items"]
    assert {item["id"] for item in items} == set(ids)


def test_200_racers_on_10_000_points_spend_exactly_100_times_100(racing_programme):
    programme = racing_programme
    customer_id, reward_id = programme.customer(points=10_000), programme.reward(price=100)
    replies = race(
        200, lambda number: persist(lambda: programme.redeem(customer_id, reward_id, f"racer-{number}"))
    )
    assert outcomes(replies) == {"spent": 100, "insufficient_points": 100}
    assert programme.balance(customer_id) == 0
    assert programme.broken_invariants() == []


def test_many_customers_racing_for_the_last_pieces_get_exactly_those(racing_programme):
    programme = racing_programme
    customers = [programme.customer(points=1_000) for _ in range(10)]
    reward_id = programme.reward(price=10, stock=40)
    replies = race(
        80,
        lambda number: persist(
            lambda: programme.redeem(customers[number % 10], reward_id, f"racer-{number}")
        ),
    )
    assert outcomes(replies) == {"spent": 40, "out_of_stock": 40}
    assert programme.service.client.get(f"/v1/rewards/{reward_id}").json()["stock"] == 0
    assert sum(programme.balance(customer_id) for customer_id in customers) == 10_000 - 400
    assert programme.broken_invariants() == []


def test_one_key_sent_by_many_at_once_spends_once(racing_programme):
    programme = racing_programme
    customer_id, reward_id = programme.customer(points=10_000), programme.reward(price=100)
    replies = race(50, lambda number: programme.redeem(customer_id, reward_id, "one-key"))
    assert set(outcomes(replies)) <= {"spent", "idempotency_key_in_use"}
    assert len({reply.json()["id"] for reply in replies if reply.status_code == 201}) == 1
    assert programme.balance(customer_id) == 9_900


def test_purchases_and_redemptions_at_once_keep_the_books_balanced(racing_programme):
    programme = racing_programme
    customer_id, reward_id = programme.customer(points=100), programme.reward(price=30)

    def act(number):
        if number % 2:
            return (
                persist(lambda: programme.redeem(customer_id, reward_id, f"racer-{number}")).status_code
                == 201
            )
        programme.hear(bought(customer_id, 1_000))
        return False

    redeemed = sum(race(60, act))
    assert programme.balance(customer_id) == 100 + 30 * 10 - redeemed * 30
    entries = programme.service.client.get(
        f"/v1/customers/{customer_id}/points/entries", params={"limit": 200}
    )
    running = 0
    for item in reversed(entries.json()["items"]):
        running += item["points"]
        assert item["balance"] == running >= 0
    assert programme.broken_invariants() == []


@pytest.mark.parametrize(
    ("change", "pointer"),
    [
        ({"points_price": 0}, "/points_price"),
        ({"points_price": "5"}, "/points_price"),
        ({"points_price": True}, "/points_price"),
        ({"points_price": 1.5}, "/points_price"),
        ({"stock": -1}, "/stock"),
        ({"name": " "}, "/name"),
        ({"name": "a\nb"}, "/name"),
        ({"colour": "red"}, "/colour"),
    ],
)
def test_a_reward_that_makes_no_sense_is_refused_with_the_place(programme, change, pointer):
    body = {"name": "Mug", "points_price": 5, "stock": 1} | change
    reply = programme.service.client.post("/v1/rewards", json=body)
    assert reply.status_code == 422
    assert [error["pointer"] for error in reply.json()["errors"]] == [pointer]


def test_a_whole_number_may_be_written_with_a_point(programme):
    reply = programme.service.client.post("/v1/rewards", json={"name": "Mug", "points_price": 5.0})
    assert (reply.status_code, reply.json()["points_price"], reply.json()["stock"]) == (201, 5, None)
    assert reply.headers["Location"] == f"/campaigns/v1/rewards/{reply.json()['id']}"


def test_strangers_and_narrow_keys_reach_nothing(programme):
    customer_id = programme.customer(points=100)
    for path in ("/v1/rewards", f"/v1/customers/{customer_id}/points", "/v1/reports/held-back"):
        assert programme.service.stranger.get(path).status_code == 401
    refused = programme.service.stranger.post(
        f"/v1/customers/{customer_id}/redemptions", json={"reward_id": "x"}
    )
    assert refused.status_code == 401
