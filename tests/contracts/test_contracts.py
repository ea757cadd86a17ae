"""Contracts only grow: what was published once can be read for ever, by us and by subscribers."""

import copy
import json
from pathlib import Path

import jsonschema
import pytest

from shared.events import contracts
from shared.events.catalogue import EVENTS
from shared.events.profile import PurchaseRecorded
from shared.messaging import cloudevent
from shared.messaging.bus import Record

HERE = Path(__file__).parent
GOLDEN = sorted((HERE / "golden").glob("*.json"))


def schema(type_):
    return json.loads((HERE / "schemas" / f"{type_}.json").read_text())


def test_the_committed_documents_are_up_to_date_and_nothing_broke():
    assert contracts.check() == []


def test_every_event_has_a_golden_example():
    """Written when the event was first released and never changed since: delete none, edit none."""
    assert {path.stem for path in GOLDEN} == set(EVENTS)


@pytest.mark.parametrize("path", GOLDEN, ids=lambda path: path.stem)
def test_a_golden_event_is_read_as_it_was_meant(path):
    envelope = json.loads(path.read_text())
    record = Record("t", 0, 0, envelope["partitionkey"], path.read_bytes())
    received = cloudevent.read(record)
    kind = EVENTS[received.type]
    event = cloudevent.parse(received, kind)
    assert (str(event.id), received.sequence, event.key) == (envelope["id"], 7, envelope["subject"])
    assert json.loads(event.model_dump_json(by_alias=True)) | envelope["data"] == json.loads(
        event.model_dump_json(by_alias=True)
    )


@pytest.mark.parametrize("path", GOLDEN, ids=lambda path: path.stem)
def test_a_golden_event_fits_its_schema_and_the_envelope(path):
    envelope = json.loads(path.read_text())
    jsonschema.validate(envelope["data"], schema(path.stem))
    jsonschema.validate(envelope, contracts.asyncapi()["components"]["schemas"]["CloudEvent"])


@pytest.mark.parametrize("path", GOLDEN, ids=lambda path: path.stem)
def test_an_event_from_a_later_version_is_read_today(path):
    envelope = json.loads(path.read_text())
    envelope["data"]["a_field_of_tomorrow"] = {"any": "thing"}
    envelope["anextension"] = "1"
    record = Record("t", 0, 0, envelope["partitionkey"], json.dumps(envelope).encode())
    received = cloudevent.read(record)
    cloudevent.parse(received, EVENTS[received.type])


def test_an_unknown_value_of_an_enumeration_is_read_as_unknown():
    envelope = json.loads((HERE / "golden" / "regulars.profile.consent_changed.v1.json").read_text())
    envelope["data"]["channel"] = "hologram"
    received = cloudevent.read(Record("t", 0, 0, envelope["partitionkey"], json.dumps(envelope).encode()))
    assert cloudevent.parse(received, EVENTS[received.type]).channel == "unknown"


def test_what_is_written_is_what_is_read():
    golden = json.loads((HERE / "golden" / f"{PurchaseRecorded.type}.json").read_text())
    event = PurchaseRecorded.model_validate(golden["data"])
    assert json.loads(event.model_dump_json()) == golden["data"]


def broken_by(change):
    old = schema(PurchaseRecorded.type)
    new = copy.deepcopy(old)
    change(new)
    return contracts.incompatibilities(old, new)


def rename(new):
    new["properties"]["amount"] = new["properties"].pop("total_minor")


@pytest.mark.parametrize(
    ("change", "says"),
    [
        (lambda new: new["properties"].pop("store"), "/store was removed"),
        (rename, "/total_minor was removed"),
        (lambda new: new["properties"]["total_minor"].update(type="string"), "/total_minor was type integer"),
        (lambda new: new["properties"]["occurred_at"].pop("format"), "/occurred_at was format"),
        (lambda new: new["required"].append("store"), "/store is newly required"),
        (lambda new: new["required"].remove("currency"), "/currency may now be missing"),
        (lambda new: new["properties"]["store"]["anyOf"].pop(), "/store has other types"),
        (lambda new: new["$defs"]["PurchaseLine"]["properties"].pop("sku"), "/lines/*/sku was removed"),
        (lambda new: new["$defs"]["PurchaseLine"]["required"].append("brand"), "/lines/*/brand is newly"),
        (lambda new: new.update({"x-topic": "elsewhere"}), "moved from"),
    ],
)
def test_a_change_that_breaks_somebody_is_named(change, says):
    assert any(fault.startswith(says) for fault in broken_by(change))


@pytest.mark.parametrize(
    "change",
    [
        lambda new: new["properties"].update(gift={"type": "boolean", "default": False}),
        lambda new: new.update(description="said better"),
        lambda new: new["properties"]["channel"].update({"x-known-values": ["web", "moon"]}),
        lambda new: new["$defs"]["PurchaseLine"]["properties"].update(colour={"type": "string"}),
    ],
)
def test_growing_breaks_nobody(change):
    assert broken_by(change) == []


def test_an_event_that_is_gone_is_named_and_nothing_is_written(tmp_path):
    (tmp_path / "schemas").mkdir()
    (tmp_path / "schemas" / "regulars.profile.customer_vanished.v1.json").write_text("{}")
    assert contracts.write(tmp_path) == [
        "regulars.profile.customer_vanished.v1 is gone: events are permanent"
    ]
    assert not (tmp_path / "asyncapi.json").exists()


def test_every_reference_of_the_asyncapi_document_leads_somewhere():
    document = json.loads((HERE / "asyncapi.json").read_text())
    assert document["asyncapi"] == "3.0.0"
    found = []

    def walk(node):
        if isinstance(node, dict):
            if isinstance(node.get("$ref"), str):
                found.append(node["$ref"])
            for value in node.values():
                walk(value)
        elif isinstance(node, list):
            for value in node:
                walk(value)

    walk(document)
    for reference in found:
        node = document
        for part in reference.removeprefix("#/").split("/"):
            node = node[part]
    assert len(found) > len(EVENTS) * 3
    assert set(document["channels"]) == {event.topic for event in EVENTS.values()}
