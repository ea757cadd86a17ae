import re
import time

import pytest

from services.profile.app import SERVICE
from tests.profile.conftest import code_of


@pytest.fixture
def keys(service):
    return service(SERVICE, committing=True)


def issue(keys, name="shop", scopes=("purchases:write", "profile:read"), **headers):
    return keys.client.post("/v1/api-keys", json={"name": name, "scopes": list(scopes)}, headers=headers)


def bearer(key):
    return {"Authorization": f"Bearer {key}"}


def test_a_key_is_shown_once_and_kept_as_its_hmac(keys):
    reply = issue(keys)
    assert reply.status_code == 201
    clear = reply.json()["key"]
    assert clear.startswith("rgl_")
    with keys.sessions() as session:
        stored = str(session.connection().exec_driver_sql("select * from api_key").all())
    assert clear not in stored
    listed = keys.client.get("/v1/api-keys").json()["items"]
    assert [(one["name"], one["scopes"]) for one in listed] == [("shop", ["profile:read", "purchases:write"])]
    assert "key" not in listed[0] and "hmac" not in listed[0]


def test_a_fresh_key_works_within_its_scopes_and_a_revoked_one_does_not(keys):
    issued = issue(keys).json()
    assert keys.stranger.get("/v1/customers", headers=bearer(issued["key"])).status_code == 200
    refused = keys.stranger.get("/v1/api-keys", headers=bearer(issued["key"]))
    assert (refused.status_code, code_of(refused)) == (403, "insufficient_scope")

    revoked = keys.client.delete(f"/v1/api-keys/{issued['id']}")
    assert revoked.status_code == 200 and revoked.json()["revoked_at"] is not None
    assert keys.client.delete(f"/v1/api-keys/{issued['id']}").json() == revoked.json()
    assert keys.client.get("/v1/api-keys/active").json() == {"items": []}
    end = time.monotonic() + 10
    while keys.stranger.get("/v1/customers", headers=bearer(issued["key"])).status_code != 401:
        assert time.monotonic() < end, "a revoked key must be refused within seconds"
        time.sleep(0.2)


def test_nobody_grants_more_than_they_have(keys):
    clerk = issue(keys, "clerk", ["keys:write", "profile:*"]).json()["key"]

    def by_clerk(*scopes):
        body = {"name": "x", "scopes": list(scopes)}
        return keys.stranger.post("/v1/api-keys", json=body, headers=bearer(clerk))

    assert by_clerk("profile:read").status_code == 201
    assert by_clerk("profile:*").status_code == 201
    for scope in ("*", "pii:read", "keys:*"):
        assert (by_clerk(scope).status_code, code_of(by_clerk(scope))) == (403, "scope_not_yours")


def test_the_other_services_see_names_scopes_and_hmacs(keys):
    issued = issue(keys).json()
    [active] = keys.client.get("/v1/api-keys/active").json()["items"]
    assert (active["id"], active["name"]) == (issued["id"], "shop")
    assert re.fullmatch("[0-9a-f]{64}", active["hmac"])


def test_an_unknown_key_cannot_be_revoked(keys):
    assert keys.client.delete("/v1/api-keys/01939d2c-0000-7000-8000-000000000000").status_code == 404


@pytest.mark.parametrize("scopes", [[], ["everything"], ["PROFILE:READ"], [""]])
def test_scopes_have_a_form(keys, scopes):
    assert issue(keys, scopes=scopes).status_code == 422
