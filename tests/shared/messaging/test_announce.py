"""Events are announced if and only if the transaction that made them true commits."""

import threading
from contextlib import suppress
from uuid import uuid4

import pytest

from shared.errors import Invalid
from shared.messaging import outbox
from shared.messaging.outbox import announce


def test_events_of_a_key_are_numbered_without_a_gap(world, vocabulary):
    world.announce(vocabulary.happened(subject="a", number=1))
    world.announce(vocabulary.happened(subject="a", number=2), vocabulary.happened(subject="b", number=1))
    world.announce(*(vocabulary.noticed(subject="a", number=number) for number in (3, 4, 5)))

    rows = world.outbox()
    assert [(row.key, row.sequence, row.data["number"]) for row in rows] == [
        ("a", 1, 1), ("a", 2, 2), ("b", 1, 1), ("a", 3, 3), ("a", 4, 4), ("a", 5, 5),
    ]  # fmt: skip
    assert world.scalar("select array_agg(id order by id) from shared.outbox_pending") == [
        row.id for row in rows
    ]


def test_a_transaction_that_fails_announces_nothing(world, vocabulary):
    with suppress(ZeroDivisionError), world.sessions.begin() as session:
        announce(session, vocabulary.happened(subject="a", number=1))
        raise ZeroDivisionError
    assert world.outbox() == []


def test_a_session_used_again_after_a_rollback_announces_only_what_came_later(world, vocabulary):
    with world.sessions() as session:
        announce(session, vocabulary.happened(subject="a", number=1))
        session.rollback()
        announce(session, vocabulary.happened(subject="a", number=2))
        session.commit()
        session.commit()
    assert [row.data["number"] for row in world.outbox()] == [2]


def test_a_savepoint_takes_its_events_with_it(world, vocabulary):
    with world.sessions.begin() as session:
        announce(session, vocabulary.happened(subject="a", number=1))
        with suppress(ZeroDivisionError), session.begin_nested():
            announce(session, vocabulary.happened(subject="a", number=2))
            with session.begin_nested():
                announce(session, vocabulary.happened(subject="a", number=3))
            raise ZeroDivisionError
        with session.begin_nested():
            announce(session, vocabulary.happened(subject="a", number=4))
            with suppress(ZeroDivisionError), session.begin_nested():
                announce(session, vocabulary.happened(subject="a", number=5))
                raise ZeroDivisionError
    assert [(row.sequence, row.data["number"]) for row in world.outbox()] == [(1, 1), (2, 4)]


def test_a_savepoint_that_is_rolled_back_before_anything_was_announced_takes_all_of_its_own(
    world, vocabulary
):
    with world.sessions.begin() as session:
        with suppress(ZeroDivisionError), session.begin_nested():
            announce(session, vocabulary.happened(subject="a", number=1))
            raise ZeroDivisionError
        announce(session, vocabulary.happened(subject="a", number=2))
    assert [row.data["number"] for row in world.outbox()] == [2]


def test_an_event_over_900_kb_is_refused(world, vocabulary):
    with world.sessions.begin() as session:
        announce(session, vocabulary.happened(subject="a", number=1, words="x" * 890_000))
    with world.sessions() as session, pytest.raises(Invalid) as refusal:
        announce(session, vocabulary.happened(subject="a", number=2, words="客" * 301_000))
    assert refusal.value.code == "event_too_large"
    assert len(world.outbox()) == 1


def test_a_derived_event_names_its_cause_and_goes_on_with_its_trace(world, vocabulary):
    cause = vocabulary.happened(subject="a", number=1)
    cause._traceparent = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"
    effect = vocabulary.noticed(subject="a", number=1).because(cause)
    world.announce(effect)
    (row,) = world.outbox()
    assert (row.event_id, row.causation_id, row.traceparent) == (effect.id, cause.id, cause._traceparent)


def test_an_event_carries_the_trace_of_its_request(world, vocabulary):
    from shared import tracing

    token = tracing.traceparent.set("00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01")
    try:
        world.announce(vocabulary.happened(subject="a", number=1))
    finally:
        tracing.traceparent.reset(token)
    assert world.outbox()[0].traceparent == "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"


def test_many_writers_of_the_same_keys_leave_no_gap_and_ids_agree_with_sequences(world, vocabulary):
    """8 writers, 12 keys, transactions of one and of many events, a tenth of them rolled back; no deadlock."""
    failures = []

    def write(writer):
        try:
            for step in range(40):
                with world.sessions() as session:
                    keys = [f"k{(writer * 7 + step * 5 + part * 3) % 12}" for part in range(1 + step % 4)]
                    announce(session, *(vocabulary.happened(subject=key, number=step) for key in keys))
                    if step % 10 == writer:
                        session.rollback()
                    else:
                        session.commit()
        except Exception as error:
            failures.append(error)

    writers = [threading.Thread(target=write, args=(number,)) for number in range(8)]
    for thread in writers:
        thread.start()
    for thread in writers:
        thread.join()

    assert failures == []
    seen = {}
    for row in world.outbox():  # in the order of ids
        assert row.sequence == seen.get(row.key, 0) + 1
        seen[row.key] = row.sequence
    assert len(seen) == 12


def test_installing_twice_announces_once(world, vocabulary):
    outbox.install(world.sessions)
    outbox.install(world.sessions)
    world.announce(vocabulary.happened(subject=str(uuid4()), number=1))
    assert len(world.outbox()) == 1
