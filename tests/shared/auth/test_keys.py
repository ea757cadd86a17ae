"""Keys as the other services see them: from profile's list, over HTTP, with profile coming and going."""

import json
import threading
import time
from dataclasses import replace
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest
from sqlalchemy import text

from shared.auth import keys
from shared.auth.keys import Credential, KeyRing, hmac_of, new_key
from tests.conftest import PEPPER
from tests.shared.shop.app import SERVICE


class Profile:
    """Answers with a list of keys, as profile does."""

    def __init__(self):
        self.items, self.away, self.asked_with = [], False, None

    def issue(self, name, *scopes):
        clear, digest = new_key(PEPPER)
        self.items.append({"id": name, "name": name, "scopes": list(scopes), "hmac": digest})
        return clear

    def __enter__(self):
        profile = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self):
                profile.asked_with = self.path, self.headers["Authorization"]
                self.send_response(503 if profile.away else 200)
                self.end_headers()
                self.wfile.write(json.dumps({"items": profile.items}).encode())

            def log_message(self, *_):
                pass

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self._server.server_port}"
        threading.Thread(target=self._server.serve_forever, daemon=True).start()
        return self

    def __exit__(self, *_):
        self._server.shutdown()
        self._server.server_close()


@pytest.fixture
def profile():
    with Profile() as running:
        yield running


@pytest.fixture
def quick(monkeypatch):
    monkeypatch.setattr(keys, "ASK_EVERY", 0.1)
    monkeypatch.setattr(keys, "ASK_FOR_UNKNOWN_EVERY", 0.0)
    monkeypatch.setattr(keys, "LOOK_EVERY", 0.0)


def status(shop, key):
    return shop.stranger.get("/v1/items", headers={"Authorization": f"Bearer {key}"}).status_code


def eventually(check):
    until = time.monotonic() + 5
    while not check():
        assert time.monotonic() < until
        time.sleep(0.05)


def test_a_key_is_long_random_and_known_by_its_hash_only():
    clear, digest = new_key(PEPPER)
    assert clear.startswith("rgl_")
    assert len(clear) >= 4 + 22  # 128 bits in base64
    assert new_key(PEPPER)[0] != clear
    assert digest == hmac_of(clear, PEPPER) != hmac_of(clear, PEPPER + "x")
    assert clear[4:] not in digest


def test_a_key_issued_at_profile_works_at_once_within_its_scopes_until_it_is_revoked(
    shop_with, profile, quick
):
    shop = shop_with(profile_url=profile.url, service_key="rgl_own")
    eventually(lambda: profile.asked_with == ("/profile/v1/api-keys/active", "Bearer rgl_own"))
    reader, writer = profile.issue("reader", "items:read"), profile.issue("writer", "items:write")
    assert status(shop, reader) == 200
    assert status(shop, writer) == 403
    profile.items = profile.items[1:]
    eventually(lambda: status(shop, reader) == 401)


def test_the_last_list_holds_while_profile_is_away_and_across_a_restart(shop_with, profile, quick):
    shop = shop_with(profile_url=profile.url, service_key="rgl_own")
    reader = profile.issue("reader", "items:read")
    assert status(shop, reader) == 200
    profile.away = True
    time.sleep(0.3)
    assert status(shop, reader) == 200
    restarted = KeyRing(shop.settings, shop.sessions)
    assert restarted.find(reader) is None
    restarted.start()
    eventually(lambda: restarted.find(reader) is not None)
    restarted.stop()


def test_past_an_hour_without_profile_only_the_environments_keys_are_good(shop_with, profile, quick):
    shop = shop_with(profile_url=profile.url, service_key="rgl_own")
    reader = profile.issue("reader", "items:read")
    assert status(shop, reader) == 200
    profile.away = True
    shop.app.keys.stop()
    with shop.engine.begin() as connection:
        connection.execute(
            text("update shared.credential_check set checked_at = now() - interval '61 minutes'")
        )
    restarted = KeyRing(shop.settings, shop.sessions)
    restarted.start()
    time.sleep(0.3)
    assert restarted.find(reader) is None
    assert restarted.find(shop.admin_key).name == "admin"
    restarted.stop()


def test_profile_reads_its_own_table_and_obeys_a_revocation_at_once(shop_with, quick):
    clear, digest = new_key(PEPPER)
    listed = [Credential(id="1", name="till", scopes=["items:read"], hmac=digest)]
    shop = shop_with(service=replace(SERVICE, active_keys=lambda session: list(listed)))
    assert status(shop, clear) == 200
    listed.clear()
    assert status(shop, clear) == 401


@pytest.mark.parametrize(
    "authorization",
    [None, "", "Bearer", "Bearer ", "Basic YTpi", "bearer", "Bearer rgl_", "Bearer rgl_unknown", "Bearer a b",
     "Bearer " + "x" * 9000, "Bearer rgl_" + "x" * 9000, "Token rgl_x"],
)  # fmt: skip
def test_whoever_shows_no_good_credential_stays_outside(shop, authorization):
    headers = {} if authorization is None else {"Authorization": authorization}
    reply = shop.stranger.get("/v1/items", headers=headers)
    assert reply.status_code == 401
    assert reply.headers["www-authenticate"].startswith("Bearer")
    assert reply.headers["content-type"] == "application/problem+json"
    # … and does not learn what is served.
    assert shop.stranger.get("/v1/nowhere", headers=headers).status_code == 401
    assert shop.stranger.delete("/v1/items", headers=headers).status_code == 401


def test_the_scheme_is_read_in_any_case(shop):
    assert (
        shop.stranger.get("/v1/items", headers={"Authorization": f"bearer {shop.admin_key}"}).status_code
        == 200
    )
