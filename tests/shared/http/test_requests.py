import json
from uuid import UUID

import pytest
from sqlalchemy import func, select

from shared.http.bodies import LONGEST
from tests.shared.shop.app import item


def test_a_created_item_is_read_back_with_its_etag(shop):
    made = shop.client.post("/v1/items", json={"name": "Mug", "price": 500})
    assert made.status_code == 201
    assert made.headers["location"] == f"/shop/v1/items/{made.json()['item_id']}"
    read = shop.client.get(made.headers["location"].removeprefix("/shop"))
    assert read.json() == made.json()
    assert read.headers["etag"] == '"1"'


def test_every_reply_names_its_request(shop):
    named = shop.client.get("/v1/items", headers={"X-Request-Id": "order-4711"})
    assert named.headers["x-request-id"] == "order-4711"
    for refused in ("", "x" * 129, "new\tline", '{"a":1}'):
        reply = shop.client.get("/v1/nowhere", headers={"X-Request-Id": refused})
        assert reply.headers["x-request-id"] == reply.json()["request_id"] != refused


def test_health_answers_with_and_without_the_prefix_and_without_a_credential(shop):
    for path in ("/livez", "/readyz", "http://testserver/livez", "http://testserver/readyz"):
        assert shop.stranger.get(path).status_code == 200
    assert shop.stranger.get("/docs").status_code == 200
    assert shop.stranger.get("/openapi.json").json()["info"]["title"] == "Regulars shop"


def test_a_database_that_is_not_migrated_is_not_ready_but_alive(shop):
    with shop.engine.begin() as connection:
        connection.exec_driver_sql("update shared.alembic_version set version_num = '0001'")
    reply = shop.stranger.get("/readyz")
    assert (reply.status_code, reply.json()["code"]) == (503, "migrations_pending")
    assert shop.stranger.get("/livez").status_code == 200


def test_a_database_that_is_away_is_a_503_that_says_when_to_come_again(shop_with):
    shop = shop_with(database_url="postgresql://app@127.0.0.1:1/none")
    reply = shop.client.get("/v1/items")
    assert (reply.status_code, reply.json()["code"]) == (503, "database_unavailable")
    assert int(reply.headers["retry-after"]) > 0
    assert shop.stranger.get("/readyz").status_code == 503
    assert shop.stranger.get("/livez").status_code == 200


def test_a_full_pool_is_a_503_within_two_seconds_and_a_half(shop_with):
    shop = shop_with(pool_size=1)
    with shop.engine.connect():
        reply = shop.client.get("/v1/items")
    assert (reply.status_code, reply.json()["code"]) == (503, "overloaded")
    assert reply.elapsed.total_seconds() < 2.5


def test_what_nobody_foresaw_is_a_500_that_tells_nothing_and_leaves_nothing(shop):
    reply = shop.client.get("/v1/odd/unexpected")
    assert reply.status_code == 500
    assert reply.headers["content-type"] == "application/problem+json"
    assert reply.json()["code"] == "internal_error"
    assert "Wang" not in reply.text
    with shop.sessions() as session:
        assert session.scalar(select(func.count()).select_from(item)) == 0


def test_what_only_the_commit_refuses_is_not_answered_with_200(shop):
    reply = shop.client.get("/v1/odd/late-failure")
    assert (reply.status_code, reply.json()["code"]) == (409, "conflict")


def test_an_async_route_has_its_transaction_too(shop):
    assert shop.client.get("/v1/odd/awaited").json() == {"one": 1}


@pytest.mark.parametrize(
    ("method", "path", "status", "allow"),
    [
        ("GET", "/v1/nowhere", 404, None),
        ("GET", "/v1/items/", 404, None),
        ("DELETE", "/v1/items", 405, "GET, POST"),
        ("TRACE", f"/v1/items/{UUID(int=1)}", 405, "GET, PATCH"),
        ("POST", "/livez", 405, "GET"),
    ],
)
def test_what_is_not_served_is_a_problem_too(shop, method, path, status, allow):
    reply = shop.client.request(method, path)
    assert reply.status_code == status
    assert reply.headers["content-type"] == "application/problem+json"
    assert reply.headers.get("allow") == allow


def test_every_fault_of_the_input_has_its_place(shop):
    body = {"name": "", "price": "many", "tags": ["fine", "x" * 51, 7], "colour/size": 1}
    reply = shop.client.post("/v1/items", json=body)
    assert (reply.status_code, reply.json()["code"]) == (422, "validation_failed")
    assert {(fault["pointer"], fault["code"]) for fault in reply.json()["errors"]} == {
        ("/name", "string_too_short"),
        ("/price", "int_parsing"),
        ("/tags/1", "string_too_long"),
        ("/tags/2", "string_type"),
        ("/colour~1size", "extra_forbidden"),
    }
    reply = shop.client.get("/v1/items", params={"limit": 0})
    assert reply.json()["errors"][0]["pointer"] == "/query/limit"


def test_an_id_that_can_be_nobodys_is_unknown(shop):
    reply = shop.client.get("/v1/items/mug")
    assert (reply.status_code, reply.json()["code"]) == (404, "unknown_id")
    assert reply.json()["errors"][0]["pointer"] == "/path/item_id"


@pytest.mark.parametrize(
    ("body", "status", "code"),
    [
        (b"", 422, "validation_failed"),
        (b"{", 422, "malformed_json"),
        (b'{"name": "\xff", "price": 1}', 422, "malformed_json"),
        (b'{"name": "Mug", "price": NaN}', 422, "malformed_json"),
        (b'{"name": "a\\u0000b", "price": 1}', 422, "nul_character"),
        (b'{"name": "a", "price": 1, "tags": ["x", "\\u0000"]}', 422, "nul_character"),
        (b'{"name": "\\ud800", "price": 1}', 422, "malformed_json"),
        (b"[" * 10_000, 413, "too_deep"),
        (b"[" * 150 + b"]" * 150, 422, "validation_failed"),
        (b"null", 422, "validation_failed"),
        (b'{"name": "Mug", "price": 1e400}', 422, None),
        (b'{"name": "Mug", "price": ' + b"9" * 5000 + b"}", 422, None),
    ],
)
def test_a_body_that_is_not_strict_json_is_refused(shop, body, status, code):
    reply = shop.client.post("/v1/items", content=body, headers={"Content-Type": "application/json"})
    assert reply.status_code == status
    assert code is None or reply.json()["code"] == code
    assert reply.headers["content-type"] == "application/problem+json"


def test_an_escaped_backslash_before_u0000_is_just_text(shop):
    reply = shop.client.post(
        "/v1/items",
        content=b'{"name": "a\\\\u0000", "price": 1}',
        headers={"Content-Type": "application/json"},
    )
    assert reply.status_code == 201


@pytest.mark.parametrize(
    ("sent", "read"), [(b"8", 8), (b"8.0", 8), (b"8e2", 800), (b"8.00 ", 8), (b"0.5", None), (b"8E-1", None)]
)
def test_a_whole_number_is_one_however_it_is_written(shop, sent, read):
    body = b'{"name": "8.0", "price": ' + sent + b"}"
    reply = shop.client.post("/v1/items", content=body, headers={"Content-Type": "application/json"})
    assert reply.status_code == (422 if read is None else 201)
    assert read is None or (reply.json()["price"], reply.json()["name"]) == (read, "8.0")


def test_a_body_of_another_kind_is_a_415(shop):
    body = json.dumps({"name": "Mug", "price": 1})
    for headers in (
        {"Content-Type": "text/plain"},
        {"Content-Type": "application/x-www-form-urlencoded"},
        {},
        {"Content-Type": "application/json", "Content-Encoding": "gzip"},
    ):
        assert shop.client.post("/v1/items", content=body, headers=headers).status_code == 415
    for kind in ("application/json; charset=utf-8", "application/merge-patch+json", "Application/JSON"):
        assert shop.client.post("/v1/items", content=body, headers={"Content-Type": kind}).status_code == 201


def test_a_body_over_12_mb_is_refused_announced_or_in_chunks(shop):
    headers = {"Content-Type": "application/json"}
    announced = shop.client.post("/v1/items", content=b" " * (LONGEST + 1), headers=headers)
    assert (announced.status_code, announced.json()["code"]) == (413, "body_too_large")
    taken = 0

    def chunks():
        nonlocal taken
        for _ in range(40):
            taken += 1
            yield b" " * 2**20

    assert shop.client.post("/v1/items", content=chunks(), headers=headers).status_code == 413


def test_a_streaming_route_takes_a_body_of_any_length(shop):
    body = (b" " * 2**20 for _ in range(13))
    assert shop.client.post("/v1/odd/length", content=body).json() == {"length": 13 * 2**20}


def test_parts_of_a_path_may_hold_any_character(shop):
    assert shop.client.get("/v1/odd/names/A%2F1%20%E7%8E%8B").json()["name"] == "A/1 王"
    assert shop.client.get("/v1/odd/files/a/b/c").json() == {"path": "a/b/c"}
    for path in ("/v1/odd/names/a%00b", "/v1/odd/names/a?first=b%00c"):
        assert shop.client.get(path).json()["code"] == "nul_character"
    assert shop.client.get("/v1/odd/names/%ff").status_code == 404


def test_what_is_said_literally_is_not_taken_for_a_name(shop):
    assert shop.client.get("/v1/odd/names/latest").json() == {"latest": "王芳"}
    refused = shop.client.delete("/v1/odd/names/latest")
    assert (refused.status_code, refused.headers["allow"]) == (405, "GET")
    assert shop.client.delete("/v1/odd/names/fang").status_code == 204


def test_a_hosted_page_needs_no_credential(shop):
    assert shop.stranger.get("/v1/odd/hosted").text == "<p>你好</p>"


def test_browsers_of_other_origins_are_let_in_by_setting_even_to_errors(shop_with):
    shop = shop_with(cors_origins=("https://crm.example",))
    preflight = {"Origin": "https://crm.example", "Access-Control-Request-Method": "POST"}
    assert shop.stranger.options("/v1/items", headers=preflight).status_code == 200
    reply = shop.client.get("/v1/odd/unexpected", headers={"Origin": "https://crm.example"})
    assert reply.status_code == 500
    assert reply.headers["access-control-allow-origin"] == "https://crm.example"
    other = shop.client.get("/v1/items", headers={"Origin": "https://evil.example"})
    assert "access-control-allow-origin" not in other.headers
