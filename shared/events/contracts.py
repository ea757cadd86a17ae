"""What subscribers may rely on: a JSON Schema per event and an AsyncAPI 3 document, generated from the classes.

    python -m shared.events.contracts write     after adding an event or a field: brings tests/contracts up to date
    python -m shared.events.contracts check     fails if they are not, or if a change would break a subscriber

Events are permanent, so contracts only grow. A change is incompatible if a field is removed, renamed, retyped or newly
required, or if an event goes, or changes its topic. Enumerations are open: new values are no change. Both commands
refuse incompatible changes: what must break gets a new ``.v2`` type, published beside the old one for 90 days.
"""

import json
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from shared.events.catalogue import EVENTS
from shared.events.envelope import Event

COMMITTED = Path(__file__).resolve().parents[2] / "tests" / "contracts"
PROMISE = "at least once, in order per key, deduplicate on sequence"

Schema = dict[str, Any]

# What tells a subscriber which values to expect; a change of any of them is a retyping.
_TYPING = ("type", "format", "const", "pattern", "minimum", "maximum", "minLength", "maxLength")


def service_of(event: type[Event]) -> str:
    return event.type.split(".")[1]


def schema_of(event: type[Event], refs: str = "#/$defs/{model}") -> Schema:
    """The schema of the event's ``data``. A subscriber ignores fields that it does not know."""
    schema = event.model_json_schema(mode="validation", by_alias=True, ref_template=refs)
    schema["description"] = _sentence(event)
    return schema


def documents() -> dict[str, str]:
    """Every generated document by its path below tests/contracts."""
    schemas = {
        f"schemas/{event.type}.json": _text(
            {
                "$schema": "https://json-schema.org/draft/2020-12/schema",
                "$id": event.type,
                "x-topic": event.topic,
                **schema_of(event),
            }
        )
        for event in EVENTS.values()
    }
    return {**schemas, "asyncapi.json": _text(asyncapi())}


def asyncapi() -> Schema:
    """The AsyncAPI 3.0 document of all topics: who announces what, under which key, with which promise."""
    schemas: dict[str, Schema] = {"CloudEvent": _ENVELOPE}
    messages: dict[str, Schema] = {}
    channels: dict[str, Schema] = {}
    operations: dict[str, Schema] = {}
    for event in sorted(EVENTS.values(), key=lambda event: event.type):
        name = event.__name__
        schema = schema_of(event, "#/components/schemas/{model}")
        for part, definition in {**schema.pop("$defs", {}), name: schema}.items():
            if schemas.setdefault(part, definition) != definition:
                raise ValueError(f"two different schemas are called {part}")
        messages[name] = {
            "name": event.type,
            "title": name,
            "summary": _sentence(event),
            "contentType": "application/cloudevents+json",
            "payload": {
                "allOf": [
                    {"$ref": "#/components/schemas/CloudEvent"},
                    {
                        "type": "object",
                        "properties": {
                            "type": {"const": event.type},
                            "source": {"const": f"/regulars/{service_of(event)}"},
                            "data": {"$ref": f"#/components/schemas/{name}"},
                        },
                    },
                ]
            },
            "bindings": {"kafka": {"key": {"type": "string", "description": _KEY}}},
        }
        channel = channels.setdefault(event.topic, _channel(event))
        channel["messages"][name] = {"$ref": f"#/components/messages/{name}"}
        operation = operations.setdefault(f"announce_{event.topic.replace('.', '_')}", _operation(event))
        operation["messages"].append({"$ref": f"#/channels/{event.topic}/messages/{name}"})
    return {
        "asyncapi": "3.0.0",
        "info": {
            "title": "Regulars events",
            "version": "1.0.0",
            "description": (
                f"Facts that the services announce. Promise: {PROMISE}. `sequence` counts from 1 without a gap per"
                " (topic, key); a record whose sequence is not above the last one applied is a repeat. Enumerations are"
                " open, fields are only added. No event carries a name, an address or free text."
            ),
            "license": {"name": "Apache-2.0"},
        },
        "defaultContentType": "application/cloudevents+json",
        "channels": channels,
        "operations": operations,
        "components": {"messages": messages, "schemas": schemas},
    }


def incompatibilities(old: Schema, new: Schema) -> list[str]:
    """What in ``new`` would break a subscriber, or a reader of old events, that was written for ``old``."""
    found = []
    if old.get("x-topic") != new.get("x-topic"):
        found.append(f"moved from {old.get('x-topic')} to {new.get('x-topic')}")
    found.extend(_differences(old, new, "", old.get("$defs", {}), new.get("$defs", {})))
    return found


def check(directory: Path = COMMITTED) -> list[str]:
    """Everything wrong with the committed documents; empty = they are up to date and nothing broke."""
    generated = documents()
    faults = broken(directory, generated)
    for path, text in generated.items():
        committed = directory / path
        if not committed.exists():
            faults.append(f"{path} is missing: run `python -m shared.events.contracts write`")
        elif committed.read_text(encoding="utf-8") != text:
            faults.append(f"{path} is out of date: run `python -m shared.events.contracts write`")
    return faults


def broken(directory: Path, generated: Mapping[str, str]) -> list[str]:
    """The incompatible changes since the committed documents."""
    faults = []
    for committed in sorted((directory / "schemas").glob("*.json")):
        path = f"schemas/{committed.name}"
        if path not in generated:
            faults.append(f"{committed.stem} is gone: events are permanent")
            continue
        old, new = json.loads(committed.read_text(encoding="utf-8")), json.loads(generated[path])
        faults.extend(f"{committed.stem}: {fault}" for fault in incompatibilities(old, new))
    return faults


def write(directory: Path = COMMITTED) -> list[str]:
    """Write the documents; returns the incompatible changes instead, if there are any, and writes nothing."""
    generated = documents()
    faults = broken(directory, generated)
    if not faults:
        for path, text in generated.items():
            (directory / path).parent.mkdir(parents=True, exist_ok=True)
            (directory / path).write_text(text, encoding="utf-8")
    return faults


def _differences(old: Schema, new: Schema, at: str, old_defs: Schema, new_defs: Schema) -> Iterator[str]:
    old, new = _resolved(old, old_defs), _resolved(new, new_defs)
    for word in _TYPING:
        if old.get(word) != new.get(word):
            yield f"{at or '/'} was {word} {old.get(word)} and is {new.get(word)}"
    yield from _alternatives(old, new, at, old_defs, new_defs)
    for part in ("items", "additionalProperties"):
        if isinstance(old.get(part), dict) and isinstance(new.get(part), dict):
            yield from _differences(old[part], new[part], f"{at}/*", old_defs, new_defs)
        elif isinstance(old.get(part), dict) != isinstance(new.get(part), dict):
            yield f"{at}/* changed its type"
    properties, now = old.get("properties", {}), new.get("properties", {})
    for name, schema in properties.items():
        if name not in now:
            yield f"{at}/{name} was removed"
        else:
            yield from _differences(schema, now[name], f"{at}/{name}", old_defs, new_defs)
    for name in new.get("required", []):
        if name not in old.get("required", []):
            yield f"{at}/{name} is newly required"
    for name in old.get("required", []):
        if name in now and name not in new.get("required", []):
            yield f"{at}/{name} may now be missing"


def _alternatives(old: Schema, new: Schema, at: str, old_defs: Schema, new_defs: Schema) -> Iterator[str]:
    """``anyOf``: mostly something or null. Alternatives are compared in their order."""
    before, after = old.get("anyOf", []), new.get("anyOf", [])
    if len(before) != len(after):
        yield f"{at or '/'} has other types than before"
        return
    for left, right in zip(before, after, strict=True):
        yield from _differences(left, right, at, old_defs, new_defs)


def _resolved(schema: Schema, definitions: Schema) -> Schema:
    if "$ref" in schema:
        target: Schema = definitions[schema["$ref"].rpartition("/")[2]]
        return target
    return schema


def _channel(event: type[Event]) -> Schema:
    return {
        "address": event.topic,
        "title": f"What {service_of(event)} announces",
        "description": f"Promise: {PROMISE}.",
        "messages": {},
        "bindings": {"kafka": {"topic": event.topic, "partitions": 12}},
    }


def _operation(event: type[Event]) -> Schema:
    return {
        "action": "send",
        "channel": {"$ref": f"#/channels/{event.topic}"},
        "title": f"{service_of(event)} announces",
        "summary": f"Subscribers receive: {PROMISE}.",
        "messages": [],
    }


def _sentence(event: type[Event]) -> str:
    """The docstring, as plain text."""
    text = " ".join((event.__doc__ or "").split())
    if not text:
        raise ValueError(f"{event.__name__} has no docstring: it is the event's meaning")
    return text.replace("``", "`")


def _text(document: Schema) -> str:
    return json.dumps(document, indent=2, ensure_ascii=False) + "\n"


_KEY = (
    "the customer under whom the fact was recorded; for an anonymous purchase its own id, for a product the product's,"
    " for a calibration or an alert its own"
)

_ENVELOPE: Schema = {
    "title": "CloudEvent",
    "description": "CloudEvents 1.0, JSON, structured mode.",
    "type": "object",
    "required": [
        "specversion",
        "id",
        "source",
        "type",
        "subject",
        "time",
        "partitionkey",
        "sequence",
        "data",
    ],
    "properties": {
        "specversion": {"const": "1.0"},
        "id": {"type": "string", "format": "uuid"},
        "source": {"type": "string", "description": "`/regulars/{service}`"},
        "type": {"type": "string", "description": "`regulars.{service}.{event}.v{n}`"},
        "subject": {"type": "string", "description": "the key"},
        "time": {
            "type": "string",
            "format": "date-time",
            "description": "when the transaction that announced it began",
        },
        "datacontenttype": {"const": "application/json"},
        "partitionkey": {"type": "string", "description": _KEY},
        "sequence": {
            "type": "string",
            "pattern": "^[0-9]{20}$",
            "description": "counts from 1 without a gap per (topic, key); padded with zeros, so that it sorts as text",
        },
        "traceparent": {"type": "string", "description": "W3C Trace Context"},
        "causationid": {
            "type": "string",
            "format": "uuid",
            "description": "the event that this one follows from",
        },
        "data": {"type": "object"},
    },
}


def main(arguments: list[str]) -> int:
    if arguments not in (["write"], ["check"]):
        print(__doc__, file=sys.stderr)
        return 2
    faults = write() if arguments == ["write"] else check()
    for fault in faults:
        print(fault, file=sys.stderr)
    if not faults:
        print(f"{len(EVENTS)} events, nothing broken")
    return 1 if faults else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
