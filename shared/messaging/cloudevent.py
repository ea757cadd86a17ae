"""How an event looks on the bus: CloudEvents 1.0 JSON, structured mode."""

import json
from datetime import UTC, datetime
from typing import Any, NamedTuple
from uuid import UUID

from pydantic_core import from_json

from shared.events.envelope import Event
from shared.messaging.bus import Record

LONGEST_NAME = 400  # characters of a key or a type


class Unreadable(Exception):  # noqa: N818 - a property of the record
    """A record that is no event of ours: its key, type or sequence cannot be told."""


class Received(NamedTuple):
    """An event as it arrived, its data not yet looked at."""

    topic: str
    key: str
    sequence: int
    type: str
    envelope: dict[str, Any]
    record: Record

    @property
    def stream(self) -> tuple[str, str]:
        return self.topic, self.key


def write(
    *,
    event_id: UUID,
    type: str,  # noqa: A002 - CloudEvents calls it so
    key: str,
    sequence: int,
    created_at: datetime,
    data: str,
    traceparent: str | None,
    causation_id: UUID | None,
) -> bytes:
    """``data`` is JSON already. ``sequence`` is padded to 20 digits, so that it sorts as text, too."""
    time = created_at.astimezone(UTC).isoformat(timespec="microseconds").replace("+00:00", "Z")
    quoted = json.dumps(key)
    optional = ""
    if traceparent is not None:
        optional += f',"traceparent":{json.dumps(traceparent)}'
    if causation_id is not None:
        optional += f',"causationid":"{causation_id}"'
    return (
        f'{{"specversion":"1.0","id":"{event_id}","source":"/regulars/{type.split(".")[1]}","type":"{type}",'
        f'"subject":{quoted},"time":"{time}","datacontenttype":"application/json","partitionkey":{quoted},'
        f'"sequence":"{sequence:020d}"{optional},"data":{data}}}'
    ).encode()


def read(record: Record) -> Received:
    """Raises Unreadable. The data are parsed as JSON, not validated: that is ``parse``."""
    try:
        envelope = from_json(record.value, cache_strings="keys")
    except ValueError as error:
        raise Unreadable("not JSON") from error
    if not isinstance(envelope, dict):
        raise Unreadable("not a JSON object")
    kind, sequence = envelope.get("type"), envelope.get("sequence")
    if not isinstance(kind, str) or not _is_name(kind):
        raise Unreadable("no type")
    # isdecimal would let digits of other scripts through
    if not isinstance(sequence, str) or not (sequence.isascii() and sequence.isdigit()) or len(sequence) > 20:
        raise Unreadable("no sequence")
    number = int(sequence)
    if not 0 < number < 2**63:
        raise Unreadable("a sequence out of range")
    if not _is_name(record.key) or envelope.get("partitionkey", record.key) != record.key:
        raise Unreadable("no key, or another one than the envelope's")
    return Received(record.topic, record.key, number, kind, envelope, record)


def _is_name(name: str) -> bool:
    """What a text column and its index can hold, and nothing that only somebody hostile would send."""
    return 0 < len(name) <= LONGEST_NAME and "\0" not in name


def parse(received: Received, kind: type[Event]) -> Event:
    """The event itself, with its id, cause and trace. Raises pydantic's ValidationError, or ValueError for an id that
    is none."""
    envelope = received.envelope
    event = kind.model_validate(envelope.get("data"))
    event._id = UUID(envelope["id"]) if isinstance(envelope.get("id"), str) else _no_id()
    cause = envelope.get("causationid")
    if isinstance(cause, str):
        event._cause = UUID(cause)
    traceparent = envelope.get("traceparent")
    if isinstance(traceparent, str):
        event._traceparent = traceparent
    return event


def _no_id() -> UUID:
    raise ValueError("an event without an id")
