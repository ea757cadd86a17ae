"""Metrics from the topics alone."""

import json
from collections.abc import Callable
from typing import Any

from services.scoring.app import SERVICE, rebuild
from services.scoring.reactions import CONSUMER
from shared import verification
from shared.messaging import cloudevent
from shared.messaging.bus import Message, Record, open_bus
from shared.messaging.consumer import apply
from tests.scoring.world import NOON, World


def test_rebuilt_metrics_have_the_hash_that_verify_prints_and_a_purchase_moves_it(
    service: Callable[..., Any], empty_database: str, capsys: Any
) -> None:
    world = World(service(SERVICE, committing=True, bus=empty_database))
    bus = open_bus(empty_database)
    sequences: dict[tuple[str, str], int] = {}

    def happens(*events: Any) -> None:
        records = []
        for event in events:
            stream = event.topic, event.key
            sequences[stream] = sequences.get(stream, 0) + 1
            value = cloudevent.write(
                event_id=event.id, type=event.type, key=event.key, sequence=sequences[stream], created_at=NOON,
                data=event.model_dump_json(), traceparent=None, causation_id=None,
            )  # fmt: skip
            records.append(Record(event.topic, 0, 0, event.key, value))
        bus.publish([Message(each.topic, each.key, each.value) for each in records])
        apply(world.scoring.sessions, CONSUMER, records)

    def rebuilt() -> dict[str, Any]:
        assert rebuild(world.scoring.settings) == 0
        printed: dict[str, Any] = json.loads(capsys.readouterr().out)
        return printed

    def verified() -> str:
        return verification.verify(SERVICE, world.scoring.engine, bus).hashes["metrics_hash"]

    bus.prepare(CONSUMER.topics)
    happens(
        world.registered("ann"),
        world.returned("ann", "P1", 300),
        world.purchase("ann", "P1", 1_000),
        world.satisfaction("ann", "unknown", "passive"),
    )
    first = rebuilt()
    assert first == {"metrics_hash": verified(), "events_applied": 4}
    happens(world.purchase("ann", "P2", 1_000))
    second = rebuilt()
    assert second["metrics_hash"] == verified() != first["metrics_hash"]
    bus.close()
