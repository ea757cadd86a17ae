"""Erasures outlive a restored backup: who was erased is known outside of every database, and forgotten again.

A backup of any service brings back what was erased after it was made, data keys included. The list of erasures stands
in the lines of the audit log outside of the databases (shared/audit/anchors) and in profile's topic. ``migrate`` and the
start of the suite reapply those of the file before anything is served; ``reapply-erasures`` reads the topic, too.
"""

from collections.abc import Sequence
from datetime import datetime
from typing import TYPE_CHECKING, NamedTuple
from uuid import UUID

from sqlalchemy import text
from sqlalchemy.orm import Session

from shared.audit import anchors
from shared.database import Sessions
from shared.events.profile import CUSTOMER_TOPIC, CustomerErased
from shared.messaging.bus import Bus
from shared.messaging.cloudevent import Unreadable, parse, read
from shared.settings import Settings

if TYPE_CHECKING:
    from shared.service import Service

ACTION = "customer_erased"
_PORTION = 500


class Forgotten(NamedTuple):
    """Somebody who was erased. ``facts`` is what profile noted about it, canonical JSON; empty where only the event tells."""

    customer_id: UUID
    erased_at: datetime
    facts: str = "{}"


def in_file(settings: Settings, file: str | None = None) -> list[Forgotten]:
    """The erasures in the lines outside of the database, each once. A line whose MAC does not fit is not believed."""
    found = {}
    for service, anchor, genuine in anchors.read(settings, file):
        if genuine and service == "profile" and anchor.action == ACTION and anchor.subject:
            customer_id = UUID(anchor.subject)
            found[customer_id] = Forgotten(customer_id, anchor.at, anchor.facts)
    return list(found.values())


def in_topic(bus: Bus) -> list[Forgotten]:
    """The erasures that profile announced, from the beginning of its topic. Raises BusUnavailable."""
    found = {}
    for records in bus.read_from_start([CUSTOMER_TOPIC]):
        for record in records:
            try:
                received = read(record)
            except Unreadable:
                continue
            if received.type == CustomerErased.type:
                event = parse(received, CustomerErased)
                assert isinstance(event, CustomerErased)
                found[event.customer_id] = Forgotten(event.customer_id, event.erased_at)
    return list(found.values())


def reapply(service: "Service", sessions: Sessions, forgotten: Sequence[Forgotten]) -> int:
    """Forget once more whom this database still remembers (or never knew); how many there were.

    Every portion commits by itself, and what was done is not done again.
    """
    again = 0
    for start in range(0, len(forgotten), _PORTION):
        with sessions.begin() as session:
            wanted = _remembered(session, forgotten[start : start + _PORTION])
            if not wanted:
                continue
            if service.forget is not None:
                service.forget(session, wanted)
            else:
                _react(service, session, wanted)
            again += len(wanted)
    return again


def _react(service: "Service", session: Session, forgotten: Sequence[Forgotten]) -> None:
    events = [CustomerErased(customer_id=one.customer_id, erased_at=one.erased_at) for one in forgotten]
    for consumer in service.consumers:
        if (reaction := consumer.reactions.get(CustomerErased)) is not None:
            reaction(session, events)


def _remembered(session: Session, forgotten: Sequence[Forgotten]) -> list[Forgotten]:
    """Those who are not erased here, or whose key could still be there or be made."""
    done = set(
        session.scalars(
            text(
                """
                select asked.customer_id from unnest(cast(:ids as uuid[])) as asked (customer_id)
                join shared.subject_key k on k.subject = asked.customer_id::text and k.wrapped is null
                where not exists (
                    select from customer c where c.customer_id = asked.customer_id and c.state <> 'erased')
                """
            ),
            {"ids": [one.customer_id for one in forgotten]},
        )
    )
    return [one for one in forgotten if one.customer_id not in done]
