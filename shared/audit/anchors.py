"""What the chain's owner cannot reach: every entry's place and hash, told outside of the database.

A line of JSON for each entry goes to the log stream (``audit_anchor``) and, where ``REGULARS_AUDIT_ANCHORS`` names a
file, to its end. It says what was done to which subject, so that the file is also the list of erasures that a restored
backup has to obey (erasures.py). Each line carries a MAC of its own.
"""

import hmac
import json
import os
from collections.abc import Iterable, Iterator, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import NamedTuple

import structlog

from shared.settings import Settings

log = structlog.get_logger(__name__)


class Anchor(NamedTuple):
    """The head of a chain at some time; ``action`` is null where it was only looked at. ``facts`` is canonical JSON."""

    number: int
    hash: bytes
    at: datetime
    action: str | None = None
    subject: str | None = None
    facts: str = "{}"


class Told(NamedTuple):
    """An anchor of ``service`` as it was read; ``genuine`` = its MAC fits."""

    service: str
    anchor: Anchor
    genuine: bool


def put(settings: Settings, anchors: Sequence[Anchor]) -> None:
    """Tell the world. A file that cannot be written is logged: the act itself is committed by now."""
    lines = [_line(settings, anchor) for anchor in anchors]
    for line in lines:
        log.info("audit_anchor", anchor=line)
    if not settings.audit_anchors:
        return
    try:
        # Whole lines by one write to the end: several processes keep one file.
        target = os.open(settings.audit_anchors, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
        try:
            os.write(target, "".join(json.dumps(line) + "\n" for line in lines).encode())
        finally:
            os.close(target)
    except OSError as error:
        log.error("audit_anchors_unwritable", error=error.strerror)


def read(settings: Settings, file: str | None = None) -> Iterator[Told]:
    """The anchors of a file, its own lines or those of a log; none where there is no file."""
    path = Path(file or settings.audit_anchors)
    if not (file or settings.audit_anchors) or (file is None and not path.exists()):
        return
    with path.open(encoding="utf-8") as lines:
        yield from _told(settings, lines)


def _told(settings: Settings, lines: Iterable[str]) -> Iterator[Told]:
    for text in lines:
        try:
            line = json.loads(text)
            line = line.get("anchor", line)
            anchor = Anchor(
                int(line["number"]),
                bytes.fromhex(line["hash"]),
                datetime.fromisoformat(line["at"]),
                line["action"],
                line["subject"],
                json.dumps(line["facts"], sort_keys=True, separators=(",", ":")),
            )
            service, mac = str(line["service"]), bytes.fromhex(line["mac"])
        except (ValueError, KeyError, TypeError, AttributeError):
            continue  # a line of something else, or one that a crash cut short
        macs = (_mac(key, service, anchor) for key in settings.audit_secrets)
        yield Told(service, anchor, any(hmac.compare_digest(mac, one) for one in macs))


def _line(settings: Settings, anchor: Anchor) -> dict[str, object]:
    return {
        "service": settings.service,
        "number": anchor.number,
        "at": anchor.at.astimezone(UTC).isoformat(timespec="microseconds"),
        "action": anchor.action,
        "subject": anchor.subject,
        "facts": json.loads(anchor.facts),
        "hash": anchor.hash.hex(),
        "mac": _mac(settings.audit_secrets[0], settings.service, anchor).hex(),
    }


def _mac(key: bytes, service: str, anchor: Anchor) -> bytes:
    moment = anchor.at.astimezone(UTC).isoformat(timespec="microseconds")
    content = [service, anchor.number, moment, anchor.action, anchor.subject, anchor.facts, anchor.hash.hex()]
    return hmac.digest(key, b"audit anchor:" + json.dumps(content).encode(), "sha256")
