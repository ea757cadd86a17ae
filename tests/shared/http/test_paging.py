from datetime import UTC, date, datetime, timedelta, timezone
from decimal import Decimal
from uuid import uuid4

import pytest

from shared.errors import BadRequest
from shared.http.paging import PageRequest


@pytest.fixture
def stocked(shop):
    for price in range(7):
        assert shop.client.post("/v1/items", json={"name": f"Mug {price}", "price": price}).status_code == 201
    return shop


def walk(client, **filters):
    pages, cursor = [], None
    while True:
        more = {"cursor": cursor} if cursor else {}
        reply = client.get("/v1/items", params={"limit": 3, **filters, **more})
        assert reply.status_code == 200
        pages.append([item["price"] for item in reply.json()["items"]])
        cursor = reply.json()["next_cursor"]
        if cursor is None:
            return pages


def test_pages_follow_each_other_without_gap_or_repeat(stocked):
    assert walk(stocked.client) == [[0, 1, 2], [3, 4, 5], [6]]
    assert walk(stocked.client, price_gte=1) == [[1, 2, 3], [4, 5, 6]]


def test_what_comes_meanwhile_does_not_shift_the_pages(stocked):
    first = stocked.client.get("/v1/items", params={"limit": 3}).json()
    stocked.client.post("/v1/items", json={"name": "New", "price": 99})
    rest = stocked.client.get("/v1/items", params={"limit": 200, "cursor": first["next_cursor"]}).json()
    assert [item["price"] for item in rest["items"]] == [3, 4, 5, 6, 99]


def test_a_cursor_belongs_to_its_filter_and_the_limit_may_change(stocked):
    cursor = stocked.client.get("/v1/items", params={"limit": 3}).json()["next_cursor"]
    assert stocked.client.get("/v1/items", params={"limit": 1, "cursor": cursor}).status_code == 200
    reply = stocked.client.get("/v1/items", params={"price_gte": 1, "cursor": cursor})
    assert (reply.status_code, reply.json()["code"]) == (400, "cursor_mismatch")


@pytest.mark.parametrize("cursor", ["x", "AAAA", "王", "W10", "A" * 2000, "%00"])
def test_a_cursor_that_was_not_made_here_is_refused(stocked, cursor):
    reply = stocked.client.get("/v1/items", params={"cursor": cursor})
    assert (reply.status_code, reply.json()["code"]) == (404, "unknown_cursor")


def test_a_cursor_carries_every_kind_of_key_unchanged():
    def page(cursor=None, of="list"):
        return PageRequest(50, cursor, of, b"secret")

    moment = datetime(2026, 11, 20, 10, 0, 0, 123456, tzinfo=timezone(timedelta(hours=8)))
    key = (uuid4(), moment, date(2026, 11, 20), Decimal("2.55"), 7, "王", None, True)
    names = [str(number) for number in range(len(key))]
    first = page()
    assert first.after(names) is None
    cursor = first.cursor_after(key)
    assert page(cursor).after(names) == (key[0], moment.astimezone(UTC), *key[2:])
    for other in (page(cursor, of="other list"), page(cursor)):
        with pytest.raises(BadRequest) as refused:
            other.after(names if other._list == "other list" else names[::-1])
        assert refused.value.code == "cursor_mismatch"
