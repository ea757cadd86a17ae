from concurrent.futures import ThreadPoolExecutor
from uuid import uuid4

import pytest

from shared.auth import tokens
from tests.identity_provider import forgeries

ME, OTHER = str(uuid4()), str(uuid4())


def bearer(token):
    return {"Authorization": f"Bearer {token}"}


@pytest.mark.parametrize(
    ("key", "algorithm"), [("rsa-1", "RS256"), ("rsa-1", "PS512"), ("ec-1", "ES256"), ("ed-1", "EdDSA")]
)
def test_a_token_of_the_identity_provider_opens_what_its_scopes_say(shop_with, idp, key, algorithm):
    shop = shop_with(**idp.settings)
    read = bearer(idp.token("items:read other", key=key, algorithm=algorithm))
    assert shop.stranger.get("/v1/items", headers=read).status_code == 200
    refused = shop.stranger.post("/v1/items", json={"name": "Mug", "price": 1}, headers=read)
    assert (refused.status_code, refused.json()["code"]) == (403, "insufficient_scope")


def test_scopes_may_come_as_a_list(shop_with, idp):
    shop = shop_with(**idp.settings)
    for scp in (["items:read"], "items:read", ["items:*"]):
        assert shop.stranger.get("/v1/items", headers=bearer(idp.token(None, scp=scp))).status_code == 200
    for scp in ({"items:read": 1}, 7, [7], None):
        assert shop.stranger.get("/v1/items", headers=bearer(idp.token(None, scp=scp))).status_code == 403


def test_no_forgery_comes_in(shop_with, idp):
    shop = shop_with(**idp.settings)
    let_in = {
        name: reply.status_code
        for name, token in forgeries(idp).items()
        if (reply := shop.stranger.get("/v1/items", headers=bearer(token))).status_code != 401
    }
    assert let_in == {}


def test_a_customers_token_reaches_that_customer_only(shop_with, idp):
    shop = shop_with(**idp.settings)
    mine = bearer(idp.token("*", customer_id=ME))
    sell = {"json": {"item": "Mug"}, "headers": {**mine, "Idempotency-Key": "a"}}
    assert shop.stranger.post(f"/v1/customers/{ME}/sales", **sell).status_code == 201
    assert len(shop.stranger.get(f"/v1/customers/{ME}/sales", headers=mine).json()) == 1
    assert shop.stranger.get(f"/v1/customers/{ME.upper()}/sales", headers=mine).status_code == 200
    for path in (
        f"/v1/customers/{OTHER}/sales",
        "/v1/items",
        "/v1/odd/caller",
        f"/v1/customers/{ME}%20/sales",
    ):
        reply = shop.stranger.get(path, headers=mine)
        assert (reply.status_code, reply.json()["code"]) == (403, "not_yours")


def test_a_customers_token_needs_the_scope_too(shop_with, idp):
    shop = shop_with(**idp.settings)
    narrow = bearer(idp.token("points:read", customer_id=ME))
    reply = shop.stranger.get(f"/v1/customers/{ME}/sales", headers=narrow)
    assert (reply.status_code, reply.json()["code"]) == (403, "insufficient_scope")


@pytest.mark.parametrize("customer_id", ["", "me", 7, ["x"], {"a": 1}, True])
def test_a_token_of_an_unreadable_customer_is_nobodys(shop_with, idp, customer_id):
    shop = shop_with(**idp.settings)
    reply = shop.stranger.get("/v1/items", headers=bearer(idp.token(customer_id=customer_id)))
    assert reply.status_code == 401


def test_the_log_and_the_credential_hold_no_address(shop_with, idp):
    shop = shop_with(**idp.settings)
    told = shop.stranger.get("/v1/odd/caller", headers=bearer(idp.token())).json()
    assert "someone" not in str(told)
    assert told["credential_id"].startswith("token:")


def test_a_new_key_of_the_provider_is_found_and_unknown_ids_do_not_flood_it(shop_with, idp, monkeypatch):
    monkeypatch.setattr(tokens, "ASK_EVERY", 0.2)
    shop = shop_with(**idp.settings)
    idp.shown = {"rsa-1"}
    assert shop.stranger.get("/v1/items", headers=bearer(idp.token())).status_code == 200
    asked = idp.asked
    late = bearer(idp.token(key="ec-1", algorithm="ES256"))
    for _ in range(20):
        assert shop.stranger.get("/v1/items", headers=late).status_code == 401
    assert idp.asked - asked <= 10
    idp.shown = set(idp.keys)
    import time

    time.sleep(0.3)
    assert shop.stranger.get("/v1/items", headers=late).status_code == 200


def test_when_the_provider_is_away_the_last_keys_hold(shop_with, idp, monkeypatch):
    monkeypatch.setattr(tokens, "ASK_EVERY", 0.0)
    monkeypatch.setattr(tokens, "FRESH_FOR", 0.0)
    shop = shop_with(**idp.settings)
    good = bearer(idp.token())
    assert shop.stranger.get("/v1/items", headers=good).status_code == 200
    idp.away = True
    try:
        assert shop.stranger.get("/v1/items", headers=good).status_code == 200
        monkeypatch.setattr(tokens, "TRUST_FOR", 0.0)
        assert shop.stranger.get("/v1/items", headers=good).status_code == 401
    finally:
        idp.away = False


def test_without_a_provider_no_token_is_good(shop, idp):
    assert shop.stranger.get("/v1/items", headers=bearer(idp.token())).status_code == 401


def test_those_who_come_while_the_keys_are_first_fetched_are_let_in_too(shop_with, idp):
    shop = shop_with(**idp.settings)
    read = bearer(idp.token("items:read"))
    with ThreadPoolExecutor(8) as callers:
        statuses = set(
            callers.map(lambda _: shop.stranger.get("/v1/items", headers=read).status_code, range(8))
        )
    assert statuses == {200}
