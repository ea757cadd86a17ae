"""The consents of two customers who become one: the records follow their customer, and a refusal wins over a grant.

Where the grant is the later word, the merge repeats the refusal, recorded under the customer who said it and counting
from the merge on. Undone, it counts from when it was said, as the record it repeats: that changes nothing any more.
"""

from collections import defaultdict
from collections.abc import Collection, Iterable, Mapping
from datetime import datetime
from typing import Any
from uuid import UUID

from sqlalchemy import Row, insert, select, text, update
from sqlalchemy.orm import Session

from services.profile.rules.consents import standing, state_of
from services.profile.tables import consent
from shared.events.profile import ConsentChanged
from shared.ids import uuid7
from shared.messaging.outbox import announce

Topic = tuple[str, str]
"""Purpose and channel."""
Standing = dict[UUID, dict[Topic, Row[Any]]]

REFUSALS = ("denied", "withdrawn")

_LAST = text("select coalesce(pg_sequence_last_value(pg_get_serial_sequence('consent', 'number')), 0)")
# The latest refusal of each purpose and channel that was said while the two were one, on either side. What another merge
# repeated, or its undoing handed on, was said when it says.
_REFUSED = text(
    """
    select distinct on (theirs, purpose, channel) recorded_customer_id = any(cast(:subtree as uuid[])) as theirs, consent.*
    from consent
    where customer_id = :root and state in ('denied', 'withdrawn')
        and case when merge_id is null then number > :last_consent else recorded_at >= :merged_at end
    order by theirs, purpose, channel, in_force_from desc, number desc
    """
)


def last_number(session: Session) -> int:
    """Whatever is recorded from now on has a higher one: of customers who are locked, nothing else is under way."""
    number = session.scalar(_LAST)
    assert isinstance(number, int)
    return number


def standing_of(session: Session, ids: Collection[UUID]) -> Standing:
    """The record that stands for each customer, purpose and channel that was ever spoken of."""
    said: dict[UUID, dict[Topic, list[Row[Any]]]] = {customer_id: defaultdict(list) for customer_id in ids}
    rows = session.execute(select(consent).where(consent.c.customer_id.in_(said)).order_by(consent.c.number))
    for row in rows:
        said[row.customer_id][row.purpose, row.channel].append(row)
    return {
        customer_id: {
            topic: found for topic, records in topics.items() if (found := standing(records)) is not None
        }
        for customer_id, topics in said.items()
    }


def stricter_of(before: Standing, winner_id: UUID, loser_id: UUID) -> dict[Topic, Row[Any]]:
    """The refusals that a merge has to repeat, because the other side's later word allows what they do not."""
    own, other = before[winner_id], before[loser_id]
    repeated = {}
    for topic in sorted(own.keys() & other.keys()):
        pair = (own[topic], other[topic])
        refused = [record for record in pair if record.state in REFUSALS]
        if len(refused) == 1 and standing(pair) is not refused[0]:
            repeated[topic] = refused[0]
    return repeated


def repeat(
    session: Session, records: Iterable[Row[Any]], merge_id: UUID, owner_id: UUID, by: str, now: datetime
) -> None:
    """Append refusals anew, counting from now."""
    rows = [
        _copy(record, merge_id, record.recorded_customer_id, owner_id, by) | {"in_force_from": now}
        for record in records
    ]
    if rows:
        session.execute(insert(consent), rows)


def give_back(session: Session, merge_id: UUID) -> None:
    """What the merge repeated counts as what it repeats again."""
    session.execute(
        update(consent).where(consent.c.merge_id == merge_id).values(in_force_from=consent.c.collected_at)
    )


def refusals_while_merged(
    session: Session, edge: Row[Any], root_id: UUID, subtree: Collection[UUID]
) -> list[Row[Any]]:
    """Ask before the facts go apart; ``theirs`` says on which side each was told."""
    return list(
        session.execute(
            _REFUSED,
            {
                "root": root_id,
                "subtree": list(subtree),
                "last_consent": edge.last_consent,
                "merged_at": edge.merged_at,
            },
        )
    )


def hold_for_both(
    session: Session,
    refused: Iterable[Row[Any]],
    merge_id: UUID,
    sides: Mapping[bool, tuple[UUID, UUID]],
    by: str,
) -> None:
    """What was refused while the two were one holds for both, from when it was refused.

    ``sides``: for the side that a refusal was told on (``theirs``), the other side: whom it is recorded for, and the
    owner of that.
    """
    rows = [_copy(record, merge_id, *sides[record.theirs], by) for record in refused]
    if rows:
        session.execute(insert(consent), rows)


def announce_changes(session: Session, before: Standing, after: Standing, now: datetime) -> None:
    """Tell of every state that is another now than ``before``."""
    for customer_id, topics in after.items():
        known = before.get(customer_id, {})
        for topic in sorted(topics):
            state = state_of(topics[topic], now)
            if state is not None and state != state_of(known.get(topic), now):
                announce(session, _changed(customer_id, topic, state, topics[topic], now))


def _changed(customer_id: UUID, topic: Topic, state: str, record: Row[Any], now: datetime) -> ConsentChanged:
    purpose, channel = topic
    return ConsentChanged(
        customer_id=customer_id,
        purpose=purpose,
        channel=channel,
        state=state,
        consent_id=record.consent_id,
        effective_at=now,
    )


def _copy(record: Row[Any], merge_id: UUID, recorded_id: UUID, owner_id: UUID, by: str) -> dict[str, Any]:
    """A refusal, said once more because of a merge; ``collected_at`` is from when it counted. Its evidence stays where it
    is."""
    counted_from = record.in_force_from if record.merge_id is None else record.collected_at
    return {
        "consent_id": uuid7(),
        "customer_id": owner_id,
        "recorded_customer_id": recorded_id,
        "purpose": record.purpose,
        "channel": record.channel,
        "state": record.state,
        "text_version": record.text_version,
        "collected_at": counted_from,
        "collected_where": record.collected_where,
        "in_force_from": counted_from,
        "recorded_at": record.recorded_at,
        "recorded_by": by,
        "merge_id": merge_id,
    }
