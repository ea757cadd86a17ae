"""Promises 3, 4, 7 and 18: what races must not break."""

import os
import threading
from concurrent.futures import ThreadPoolExecutor

import pytest

from tests.deployment import Deployment, purchase

pytestmark = pytest.mark.xdist_group("deployment")

ROLES = ("api", "relay", "react")


def customer_with_points(deployment: Deployment, name: str, points: int) -> str:
    """A customer whose one purchase earned ``points`` (1 a whole unit)."""
    lines = [{"sku": "GIFT", "description": "礼品", "quantity": 1, "unit_price": str(points)}]
    with deployment.client("profile") as client:
        reply = client.put(f"/purchases/shop/{name}-points", json=purchase(name, 0, lines=lines))
        assert reply.status_code == 201, reply.text
    deployment.settle()
    return str(reply.json()["customer_id"])


def test_two_hundred_racers_for_a_hundred_points_each_spend_ten_thousand_exactly(
    deployment: Deployment,
) -> None:
    customer_id = customer_with_points(deployment, "racer", 10_000)
    with deployment.client("campaigns") as client:
        reward = client.post("/rewards", json={"name": "杯子", "points_price": 100, "stock": 1_000}).json()

        def redeem(number: int) -> int:
            return client.post(
                f"/customers/{customer_id}/redemptions",
                json={"reward_id": reward["id"]},
                headers={"Idempotency-Key": f"racer-{number}"},
            ).status_code

        with ThreadPoolExecutor(50) as pool:
            statuses = list(pool.map(redeem, range(200)))
        assert client.get(f"/customers/{customer_id}/points").json()["balance"] == 0
    assert statuses.count(201) == 100
    assert statuses.count(409) == 100
    assert all(deployment.verify()["campaigns"]["invariants"].values())


def test_the_ledger_sums_to_zero_at_every_moment_of_a_load(deployment: Deployment, size) -> None:
    wrong, done = [], threading.Event()

    def check() -> None:
        with deployment.connect("campaigns") as connection:
            connection.autocommit = False
            while not done.is_set():
                with connection.transaction():
                    connection.execute("set transaction isolation level repeatable read read only")
                    total, balances, entries = connection.execute(
                        "select (select coalesce(sum(points), 0) from posting),"
                        " (select coalesce(sum(balance), 0) from points_account),"
                        " (select coalesce(sum(points), 0) from posting where account = 'customer')"
                    ).fetchone()
                    if total != 0 or balances != entries:
                        wrong.append((total, balances, entries))

    checker = threading.Thread(target=check)
    checker.start()
    try:
        with deployment.client("profile") as client:
            for number in range(size(100, 2_000)):
                reply = client.put(f"/purchases/shop/sum-{number}", json=purchase(f"c{number % 7}", number))
                assert reply.status_code == 201, reply.text
                if number % 3 == 0:
                    returned = {
                        "purchase": {"source": "shop", "external_id": f"sum-{number}"},
                        "occurred_at": "2026-11-21T10:00:00Z",
                        "lines": [{"line": 1, "quantity": 1}],
                    }
                    assert client.put(f"/returns/shop/sum-{number}", json=returned).status_code == 201
        deployment.settle()
    finally:
        done.set()
        checker.join()
    assert wrong == []


def test_an_idempotency_key_has_one_effect_however_many_race_for_it(deployment: Deployment, size) -> None:
    keys, racers = size(10, 100), size(10, 50)
    customer_id = customer_with_points(deployment, "repeater", 100 * keys)
    with deployment.client("campaigns") as client:
        reward = client.post("/rewards", json={"name": "Mug", "points_price": 1, "stock": 10_000}).json()

        def redeem(number: int) -> tuple[int, str]:
            reply = client.post(
                f"/customers/{customer_id}/redemptions",
                json={"reward_id": reward["id"]},
                headers={"Idempotency-Key": f"key-{number % keys}"},
            )
            return reply.status_code, reply.json().get("id", "")

        with ThreadPoolExecutor(50) as pool:
            replies = list(pool.map(redeem, range(keys * racers)))
        left = client.get(f"/customers/{customer_id}/points").json()["balance"]
    assert {status for status, _ in replies} <= {201, 409}
    assert len({made for status, made in replies if status == 201}) == keys
    assert left == 100 * keys - keys


@pytest.mark.parametrize("attempt", range(3))
def test_of_fifty_patches_with_one_etag_one_succeeds(deployment: Deployment, attempt: int) -> None:
    with deployment.client("profile") as client:
        made = client.put(
            f"/customers/by-external-id/shop/patched-{attempt}", json={"kind": "person", "name": "王芳"}
        )
        customer = client.get(f"/customers/{made.json()['id']}")

        def patch(number: int) -> int:
            return client.patch(
                f"/customers/{made.json()['id']}",
                json={"country": "CN", "acquisition_channel": f"channel-{number}"},
                headers={"If-Match": customer.headers["ETag"]},
            ).status_code

        with ThreadPoolExecutor(50) as pool:
            statuses = list(pool.map(patch, range(50)))
    assert statuses.count(200) == 1
    assert statuses.count(412) == 49


def test_all_tests_of_the_deployment_run_in_one_process(request):
    """Some pytest and pytest-xdist do not understand each other: then each process starts a deployment of its own."""
    if "PYTEST_XDIST_WORKER" in os.environ:
        assert request.node.nodeid.endswith("@deployment")
