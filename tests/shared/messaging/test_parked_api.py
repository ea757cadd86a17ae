"""Operators see and decide over HTTP."""

import pytest

from shared.messaging.consumer import apply, retry_due
from tests.shared.messaging.world import EFFECTS, World


@pytest.fixture
def operated(shop):
    """A service with its parked events, as HTTP client and as database."""
    world = World(shop.settings.database_url)
    world.run(EFFECTS)
    yield shop.client, world
    world.engine.dispose()


def test_parked_events_are_listed_page_by_page_retried_and_discarded(operated, vocabulary):
    client, world = operated
    consumer = vocabulary.consumer()
    for key in "abc":
        world.announce(*(vocabulary.happened(subject=key, number=number) for number in (1, 2)))
        world.poison(key, 1)
    apply(world.sessions, consumer, world.records())

    first = client.get("/v1/parked", params={"limit": 4}).json()
    rest = client.get("/v1/parked", params={"limit": 4, "cursor": first["next_cursor"]}).json()
    assert [len(first["items"]), len(rest["items"]), rest["next_cursor"]] == [4, 2, None]
    failed = client.get("/v1/parked", params={"reason": "failed"}).json()["items"]
    assert sorted(item["key"] for item in failed) == ["a", "b", "c"]
    by_key = {item["key"]: item["id"] for item in failed}
    assert client.get("/v1/parked", params={"dead": True}).json()["items"] == []

    world.cure()
    reply = client.post(f"/v1/parked/{by_key['a']}/retry")
    assert (reply.status_code, reply.json()["attempts"]) == (200, 0)
    assert client.post(f"/v1/parked/{by_key['b']}/discard").status_code == 200
    refused = client.post(f"/v1/parked/{by_key['c']}/accept-gap")
    assert (refused.status_code, refused.json()["code"]) == (409, "no_gap")
    assert retry_due(world.sessions, consumer) == 3
    assert world.effects() == {"a": [1, 2], "b": [2]}
    gone = client.get(f"/v1/parked/{by_key['a']}")
    assert (gone.status_code, gone.json()["code"]) == (404, "parked_event_not_found")
