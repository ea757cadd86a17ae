"""Events by HTTP: told once they are published, signed, again until they arrive, and never to an inner address."""

import base64
import hashlib
import hmac
import http.server
import json
import threading
import time
from collections.abc import Iterator
from contextlib import closing
from datetime import UTC, datetime
from types import SimpleNamespace
from uuid import uuid4

import pytest

from shared.events.scoring import TierChanged
from shared.jobs.schedule import Context
from shared.messaging import relay
from shared.messaging.bus import open_bus
from shared.messaging.outbox import announce
from shared.webhooks import queue, sending


class Receiver:
    """A server that keeps what it is told; ``answers`` gives (status, headers, seconds) for each call, by default 204."""

    def __init__(self) -> None:
        self.calls: list[SimpleNamespace] = []
        self.answers = lambda call: (204, {}, 0.0)
        receiver = self

        class Handler(http.server.BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers["content-length"]))
                call = SimpleNamespace(
                    path=self.path, headers=self.headers, body=body, event=json.loads(body)
                )
                receiver.calls.append(call)
                status, headers, seconds = receiver.answers(call)
                time.sleep(seconds)
                self.send_response(status)
                for name, value in {"Content-Length": "0", **headers}.items():
                    self.send_header(name, value)
                self.end_headers()

            def log_message(self, *_: object) -> None:
                pass

        self.server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.server.daemon_threads = True
        self.url = f"http://127.0.0.1:{self.server.server_address[1]}/hook"
        threading.Thread(target=self.server.serve_forever, daemon=True).start()

    def close(self) -> None:
        self.server.shutdown()
        self.server.server_close()


@pytest.fixture
def receiver() -> Iterator[Receiver]:
    one = Receiver()
    yield one
    one.close()


@pytest.fixture
def shop(shop_with):
    return shop_with(outbound_networks="127.0.0.0/8")


@pytest.fixture
def tell(shop, empty_database):
    """Announce events and publish them."""
    bus = open_bus(empty_database)

    def publish(count: int = 1) -> list[str]:
        with shop.sessions.begin() as session:
            customers = [uuid4() for _ in range(count)]
            announce(session, *(tier_changed(customer) for customer in customers))
        relay.publish_pending_once(shop.engine, bus)
        return [str(customer) for customer in customers]

    yield publish
    bus.close()


def tier_changed(customer_id) -> TierChanged:
    return TierChanged(
        customer_id=customer_id,
        tier="gold",
        previous_tier=None,
        effective_at=datetime.now(UTC),
        as_of=datetime.now(UTC),
        reason="purchase",
        initial=False,
        historical=False,
        policy_version=1,
    )


def subscribe(shop, receiver, **more):
    made = shop.client.post("/v1/webhooks", json={"url": receiver.url, **more})
    assert made.status_code == 201, made.text
    return made.json()


def send(shop, until, seconds=10.0) -> None:
    """Let the sender work until ``until()`` holds."""
    stop = threading.Event()
    thread = threading.Thread(
        target=sending.run, args=(Context(shop.settings, shop.sessions, shop.engine), stop)
    )
    thread.start()
    deadline = time.monotonic() + seconds
    try:
        while not until():
            assert time.monotonic() < deadline, "it never happened"
            time.sleep(0.02)
    finally:
        stop.set()
        thread.join()


def deliveries(shop, webhook, **query):
    return shop.client.get(f"/v1/webhooks/{webhook['webhook_id']}/deliveries", params=query).json()["items"]


def hasten(shop) -> None:
    """Let the time pass that the next try waits for."""
    with shop.engine.begin() as connection:
        connection.exec_driver_sql(
            "update shared.webhook_delivery set due_at = now() where state = 'pending'"
        )


def signed_by(secret: str, call) -> bool:
    """As the specification says it, independently of our code."""
    content = f"{call.headers['webhook-id']}.{call.headers['webhook-timestamp']}.".encode() + call.body
    mac = hmac.new(base64.b64decode(secret.split("_", 1)[1]), content, hashlib.sha256).digest()
    return f"v1,{base64.b64encode(mac).decode()}" in call.headers["webhook-signature"].split(" ")


def test_an_event_is_told_once_it_is_published_signed_and_as_it_stands_on_the_bus(shop, receiver, tell):
    tell()  # before anybody asked
    webhook = subscribe(shop, receiver)
    [customer] = tell()
    send(shop, lambda: deliveries(shop, webhook, state="delivered"))
    [call] = receiver.calls
    assert call.event["data"]["customer_id"] == call.event["partitionkey"] == customer
    assert call.event["id"] == call.headers["webhook-id"]
    assert call.headers["content-type"] == "application/cloudevents+json"
    assert signed_by(webhook["secret"], call)
    assert not signed_by("whsec_" + base64.b64encode(bytes(32)).decode(), call)
    assert abs(int(call.headers["webhook-timestamp"]) - time.time()) < 60
    [delivery] = deliveries(shop, webhook)
    assert (delivery["state"], delivery["attempts"], delivery["status_code"]) == ("delivered", 1, 204)
    assert "secret" not in shop.client.get(f"/v1/webhooks/{webhook['webhook_id']}").json()


def test_publishing_again_tells_nobody_again(shop, receiver, tell, empty_database):
    webhook = subscribe(shop, receiver)
    tell(3)
    with shop.engine.connect() as connection, closing(open_bus(empty_database)) as bus:
        relay.publish_everything(shop.engine, connection.execution_options(isolation_level="AUTOCOMMIT"), bus)
    assert len(deliveries(shop, webhook)) == 3


def test_a_receiver_that_fails_is_told_again_later_and_later(shop, receiver, tell):
    statuses = iter([500, 302, 429, 204])
    receiver.answers = lambda call: (next(statuses), {"Location": receiver.url, "Retry-After": "1800"}, 0.0)
    webhook = subscribe(shop, receiver)
    tell()
    for attempts, error in ((1, "http_500"), (2, "http_302"), (3, "http_429")):
        send(
            shop,
            lambda n=attempts: [d for d in deliveries(shop, webhook) if d["attempts"] == n and d["error"]],
        )
        [waiting] = deliveries(shop, webhook)
        assert (waiting["state"], waiting["error"]) == ("pending", error)
        pause = datetime.fromisoformat(waiting["due_at"]) - datetime.now(UTC)
        assert (
            pause.total_seconds() > {1: 3, 2: 25, 3: 1_700}[attempts]
        )  # the last one asked for half an hour
        assert shop.client.get(f"/v1/webhooks/{webhook['webhook_id']}").json()["failing_since"] is not None
        hasten(shop)
    send(shop, lambda: deliveries(shop, webhook, state="delivered"))
    assert len({call.headers["webhook-id"] for call in receiver.calls}) == 1
    assert len(receiver.calls) == 4
    assert shop.client.get(f"/v1/webhooks/{webhook['webhook_id']}").json()["failing_since"] is None


def test_after_a_day_it_has_failed_and_can_be_asked_for_again(shop, receiver, tell):
    receiver.answers = lambda call: (503, {}, 0.0)
    webhook = subscribe(shop, receiver)
    tell(2)
    send(shop, lambda: all(d["error"] for d in deliveries(shop, webhook)))
    with shop.engine.begin() as connection:
        connection.exec_driver_sql("update shared.webhook_delivery set give_up_at = now(), due_at = now()")
    send(shop, lambda: len(deliveries(shop, webhook, state="failed")) == 2)
    told = len(receiver.calls)
    receiver.answers = lambda call: (200, {}, 0.0)
    path = f"/v1/webhooks/{webhook['webhook_id']}"
    one = deliveries(shop, webhook)[0]["delivery_id"]
    assert shop.client.post(f"{path}/deliveries/{one}/redeliver").json()["state"] == "pending"
    send(shop, lambda: len(deliveries(shop, webhook, state="delivered")) == 1)
    assert shop.client.post(f"{path}/redeliver", json={"since": "2026-01-01T00:00:00Z"}).json() == {
        "count": 1
    }
    send(shop, lambda: len(deliveries(shop, webhook, state="delivered")) == 2)
    assert len(receiver.calls) == told + 2


def test_a_receiver_that_says_gone_is_told_nothing_more_until_it_is_woken(shop, receiver, tell):
    receiver.answers = lambda call: (410, {}, 0.0)
    webhook = subscribe(shop, receiver)
    path = f"/v1/webhooks/{webhook['webhook_id']}"
    tell()
    send(shop, lambda: shop.client.get(path).json()["stopped_reason"] == "gone")
    assert shop.client.post(f"{path}/test").json()["code"] == "webhook_inactive"
    receiver.answers = lambda call: (200, {}, 0.0)
    tag = shop.client.get(path).headers["etag"]
    assert shop.client.patch(path, json={"active": True}).status_code == 428
    assert shop.client.patch(path, json={"active": True}, headers={"If-Match": tag}).json()["active"] is True
    hasten(shop)
    send(shop, lambda: deliveries(shop, webhook, state="delivered"))


def test_a_slow_receiver_does_not_hold_up_another(shop, receiver, tell):
    slow = Receiver()
    slow.answers = lambda call: (204, {}, 3.0)
    try:
        subscribe(shop, slow)
        quick = subscribe(shop, receiver)
        tell(60)
        began = time.monotonic()
        send(shop, lambda: len(receiver.calls) == 60)
        assert (
            time.monotonic() - began < 3 * 60 / queue.AT_ONCE
        )  # one after another they would wait for the slow one
        assert len(deliveries(shop, quick, state="delivered", limit=200)) == 60
    finally:
        slow.close()


def test_what_a_dead_worker_had_claimed_is_told_by_another_one(shop, receiver, tell):
    webhook = subscribe(shop, receiver)
    tell()
    with shop.sessions.begin() as session:
        assert len(queue.claim(session, 10, {})) == 1
    with shop.sessions.begin() as session:
        assert queue.claim(session, 10, {}) == []
    hasten(shop)  # the lease is over
    send(shop, lambda: deliveries(shop, webhook, state="delivered"))
    assert deliveries(shop, webhook)[0]["attempts"] == 2


def test_while_a_secret_is_replaced_both_sign(shop, receiver, tell):
    webhook = subscribe(shop, receiver)
    new = shop.client.post(f"/v1/webhooks/{webhook['webhook_id']}/secret").json()
    tell()
    send(shop, lambda: receiver.calls)
    assert signed_by(webhook["secret"], receiver.calls[0])
    assert signed_by(new["secret"], receiver.calls[0])
    with shop.engine.begin() as connection:
        connection.exec_driver_sql("update shared.webhook set previous_secret_until = now()")
    tell()
    send(shop, lambda: len(receiver.calls) == 2)
    assert not signed_by(webhook["secret"], receiver.calls[1])
    assert signed_by(new["secret"], receiver.calls[1])


def test_a_test_call_arrives_though_nothing_happened(shop, receiver):
    webhook = subscribe(shop, receiver)
    asked = shop.client.post(f"/v1/webhooks/{webhook['webhook_id']}/test")
    assert asked.status_code == 202
    send(shop, lambda: deliveries(shop, webhook, state="delivered"))
    assert receiver.calls[0].event["type"] == "regulars.webhook.test.v1"
    assert signed_by(webhook["secret"], receiver.calls[0])


def test_only_the_types_that_were_asked_for_are_told(shop, receiver, tell):
    webhook = subscribe(shop, receiver)
    with shop.engine.begin() as connection:
        connection.exec_driver_sql(
            "update shared.webhook set event_types = '{regulars.scoring.score_updated.v1}'"
        )
    tell()
    assert deliveries(shop, webhook) == []
    refused = shop.client.post("/v1/webhooks", json={"url": receiver.url, "event_types": ["no.such.event"]})
    assert (refused.status_code, refused.json()["errors"][0]["pointer"]) == (422, "/event_types/0")


def test_an_inner_address_is_refused_when_it_is_named_and_again_when_it_is_called(shop_with, receiver):
    shop = shop_with()
    refused = shop.client.post("/v1/webhooks", json={"url": receiver.url})
    assert (refused.status_code, refused.json()["errors"][0]["pointer"]) == (422, "/url")
    made = shop.client.post("/v1/webhooks", json={"url": "https://example.com/hook"}).json()
    with shop.engine.begin() as connection:
        connection.exec_driver_sql("update shared.webhook set url = %s", (receiver.url,))
    shop.client.post(f"/v1/webhooks/{made['webhook_id']}/test")
    send(shop, lambda: [d for d in deliveries(shop, made) if d["error"] == "url_refused"])
    assert receiver.calls == []


def test_a_removed_webhook_is_told_nothing(shop, receiver, tell):
    webhook = subscribe(shop, receiver)
    tell()
    path = f"/v1/webhooks/{webhook['webhook_id']}"
    assert shop.client.delete(path).status_code == 204
    assert shop.client.get(path).json()["code"] == "webhook_not_found"
    with shop.sessions.begin() as session:
        assert queue.claim(session, 10, {}) == []


def test_webhooks_are_listed_page_by_page(shop, receiver):
    made = [subscribe(shop, receiver)["webhook_id"] for _ in range(3)]
    first = shop.client.get("/v1/webhooks", params={"limit": 2}).json()
    rest = shop.client.get("/v1/webhooks", params={"limit": 2, "cursor": first["next_cursor"]}).json()
    assert [one["webhook_id"] for one in first["items"] + rest["items"]] == made
    assert rest["next_cursor"] is None
