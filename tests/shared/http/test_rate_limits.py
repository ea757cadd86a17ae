"""Promise 19: a credential's limit holds over all replicas together, and nobody else feels it."""

import threading
import time
from concurrent.futures import ThreadPoolExecutor

import pytest
from sqlalchemy import text
from starlette.testclient import TestClient

LIMIT, SECONDS = 40, 4


@pytest.fixture
def replicas(shop_with, idp):
    """Two replicas over one database."""
    first = shop_with(rate_limit=LIMIT, **idp.settings)
    second = shop_with(rate_limit=LIMIT, database_url=first.settings.database_url, **idp.settings)
    return first, second


def holder(shop, token):
    return TestClient(
        shop.app,
        "http://testserver/shop",
        headers={"Authorization": f"Bearer {token}"},
        raise_server_exceptions=False,
    )


def second(shop) -> float:
    """The second that the database counts in."""
    with shop.sessions() as session:
        return float(session.scalar(text("select extract(epoch from clock_timestamp())")))


def await_next_second(shop) -> None:
    time.sleep(1 - second(shop) % 1)


def test_two_replicas_at_ten_times_the_limit_let_in_no_more_than_the_limit(replicas, idp):
    token = idp.token("items:read", sub="greedy")
    statuses: list[int] = []
    lock, stop = threading.Lock(), threading.Event()

    def ask(shop) -> None:
        with holder(shop, token) as client:
            while not stop.is_set():
                answer = client.get("/v1/items")
                with lock:
                    statuses.append(answer.status_code)
                if answer.status_code == 429:
                    assert answer.json()["code"] == "rate_limited"
                    assert answer.headers["retry-after"] == "1"
                time.sleep(0.005)

    with ThreadPoolExecutor(6) as askers:
        await_next_second(replicas[0])
        asking = [askers.submit(ask, replicas[number % 2]) for number in range(6)]
        first = int(second(replicas[0]))
        time.sleep(SECONDS - 0.05)
        stop.set()
        for one in asking:
            one.result()
    seconds = int(second(replicas[0])) - first + 1
    accepted = statuses.count(200)
    assert set(statuses) == {200, 429}
    assert LIMIT * (seconds - 2) * 0.8 <= accepted <= LIMIT * seconds


def test_one_credentials_limit_is_not_anothers(replicas, idp):
    shop, _ = replicas
    greedy, modest = (holder(shop, idp.token("items:read", sub=sub)) for sub in ("greedy", "modest"))
    await_next_second(shop)
    assert 429 in {greedy.get("/v1/items").status_code for _ in range(LIMIT * 2)}
    assert modest.get("/v1/items").status_code == 200
    assert {shop.client.get("/v1/items").status_code for _ in range(LIMIT * 2)} == {200}


def test_without_a_limit_nobody_is_counted(shop):
    assert {shop.client.get("/v1/items").status_code for _ in range(60)} == {200}
    with shop.sessions() as session:
        assert session.scalar(text("select count(*) from shared.rate")) == 0
