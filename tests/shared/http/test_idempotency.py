from concurrent.futures import ThreadPoolExecutor
from uuid import uuid4

import pytest
from sqlalchemy import func, select, text

from shared.auth.keys import hmac_of, new_key
from shared.http.idempotency import forget_expired
from tests.conftest import PEPPER
from tests.shared.shop.app import sale

CUSTOMER = "0199d3a0-0000-7000-8000-000000000001"
SALES = f"/v1/customers/{CUSTOMER}/sales"


def sell(client, key, body=None, path=SALES, **headers):
    return client.post(path, json=body or {"item": "Mug"}, headers={"Idempotency-Key": key, **headers})


def sold(shop):
    with shop.sessions() as session:
        return session.scalar(select(func.count()).select_from(sale))


def test_the_same_key_again_gives_the_first_answer_and_no_second_effect(shop):
    first, second = sell(shop.client, "a"), sell(shop.client, "a")
    assert (first.status_code, second.status_code) == (201, 201)
    assert first.content == second.content
    assert second.headers["idempotent-replayed"] == "true"
    assert "idempotent-replayed" not in first.headers
    assert sold(shop) == 1


def test_the_headers_that_belong_to_the_answer_are_replayed(shop):
    body, headers = {"name": "Mug", "price": 1}, {"Idempotency-Key": "a"}
    first, second = (shop.client.post("/v1/items", json=body, headers=headers) for _ in range(2))
    assert second.headers["location"] == first.headers["location"]
    assert second.headers["content-type"] == "application/json"
    assert second.headers["x-request-id"] != first.headers["x-request-id"]


def test_the_order_of_fields_and_spaces_do_not_make_another_request(shop):
    json = {"Idempotency-Key": "a", "Content-Type": "application/json"}
    first = shop.client.post("/v1/items", content=b'{"name":"Mug","price":1}', headers=json)
    second = shop.client.post("/v1/items", content=b'{ "price": 1, "name": "Mug" }', headers=json)
    assert second.headers["idempotent-replayed"] == "true"
    assert first.content == second.content


def test_a_key_sent_with_another_request_is_refused(shop):
    sell(shop.client, "a")
    elsewhere = f"/v1/customers/{uuid4()}/sales"
    for reply in (sell(shop.client, "a", {"item": "Cap"}), sell(shop.client, "a", path=elsewhere)):
        assert (reply.status_code, reply.json()["code"]) == (422, "idempotency_key_reused")
    assert sold(shop) == 1


def test_another_operation_may_use_the_same_key(shop):
    assert sell(shop.client, "a").status_code == 201
    headers = {"Idempotency-Key": "a"}
    assert shop.client.post("/v1/items", json={"name": "Mug", "price": 1}, headers=headers).status_code == 201


def test_another_credential_may_use_the_same_key(shop_with):
    other, digest = new_key(PEPPER)
    admin, admin_digest = new_key(PEPPER)
    shop = shop_with(environment_keys={"admin": admin_digest, "tester": digest})
    assert hmac_of(other, PEPPER) == digest
    shop.app.keys._environment[digest] = shop.app.keys._environment[admin_digest].__class__(
        "tester", "environment:tester", frozenset({"*"})
    )
    for key in (admin, other):
        reply = sell(shop.stranger, "a", Authorization=f"Bearer {key}")
        assert reply.status_code == 201
        assert "idempotent-replayed" not in reply.headers
    assert sold(shop) == 2


def test_where_the_key_is_required_its_absence_is_a_400(shop):
    reply = shop.client.post(SALES, json={"item": "Mug"})
    assert (reply.status_code, reply.json()["code"]) == (400, "idempotency_key_required")


@pytest.mark.parametrize("key", ["", "x" * 256, "with space", "schlüssel".encode()])
def test_a_key_of_an_odd_form_is_refused(shop, key):
    assert sell(shop.client, key).status_code == 422
    assert sold(shop) == 0


def test_a_refusal_is_not_kept(shop):
    assert sell(shop.client, "a", {"item": "sold out"}).status_code == 409
    assert sell(shop.client, "a", {"item": "Mug"}).status_code == 201
    assert sold(shop) == 1


def test_a_key_whose_request_is_still_being_carried_out_is_a_409(shop):
    with shop.engine.connect() as connection:
        connection.execute(text("begin"))
        # Whoever holds the key holds its lock; here every lock that the request could ask for.
        sell(shop.client, "a")
        held = connection.execute(text("select request_hash from shared.idempotency_key")).scalar()
        lock = int.from_bytes(bytes(held)[:8], "big", signed=True)
        connection.execute(text("select pg_advisory_xact_lock(:lock)"), {"lock": lock})
        reply = sell(shop.client, "a")
    assert (reply.status_code, reply.json()["code"]) == (409, "idempotency_key_in_use")
    assert reply.headers["retry-after"] == "1"


def test_racers_with_one_key_have_one_effect(shop_with):
    shop = shop_with(pool_size=16, threads=16)
    keys = [f"key-{number}" for number in range(10)]

    def race(key):
        reply = sell(shop.client, key)
        return key, reply.status_code, reply.content if reply.status_code == 201 else reply.json()["code"]

    with ThreadPoolExecutor(16) as racers:
        results = list(racers.map(race, [key for key in keys for _ in range(20)]))
    assert sold(shop) == len(keys)
    assert {status for _, status, _ in results} <= {201, 409}
    for key in keys:
        answers = {content for of, status, content in results if of == key and status == 201}
        assert len(answers) == 1
    assert {content for _, status, content in results if status == 409} <= {"idempotency_key_in_use"}


def test_a_kept_answer_cannot_be_read_in_the_database(shop):
    sell(shop.client, "a-key-nobody-guesses", {"item": "Wang Fang's mug"})
    with shop.engine.connect() as connection:
        row = connection.execute(text("select * from shared.idempotency_key")).one()
    stored = b"".join(bytes(value) for value in row if isinstance(value, bytes))
    assert b"Wang" not in stored
    assert b"nobody" not in stored


def test_after_seven_days_a_key_is_new_and_can_be_forgotten(shop):
    sell(shop.client, "a")
    with shop.engine.begin() as connection:
        age = connection.execute(text("select expires_at - created_at from shared.idempotency_key")).scalar()
        assert age.days == 7
        connection.execute(text("update shared.idempotency_key set expires_at = now() - interval '1 second'"))
    again = sell(shop.client, "a", {"item": "Cap"})
    assert again.status_code == 201
    assert sold(shop) == 2
    with shop.engine.begin() as connection:
        connection.execute(text("update shared.idempotency_key set expires_at = now() - interval '1 second'"))
    with shop.sessions.begin() as session:
        assert forget_expired(session) == 1
