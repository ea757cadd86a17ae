"""What a transaction announced reaches the bus in order and completely, whoever is killed."""

import os
import secrets
import signal
import subprocess
import sys
import threading
import time

import pytest
from sqlalchemy import text

from shared.messaging import react, relay
from shared.messaging.bus import BusUnavailable, open_bus
from shared.messaging.outbox import announce
from tests.shared.messaging.world import running


def published(bus, topic):
    """(key → sequences) as they stand on the bus."""
    found = {}
    for batch in bus.read_from_start([topic]):
        for record in batch:
            found.setdefault(record.key, []).append(int(record.value.split(b'"sequence":"')[1][:20]))
    return found


def without_repeats(sequences):
    """What a consumer keeps: what is above all that came before."""
    kept = []
    for sequence in sequences:
        if not kept or sequence > kept[-1]:
            kept.append(sequence)
    return kept


def wait_until(condition, seconds=60):
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, "in time"
        time.sleep(0.05)


def test_the_relay_publishes_and_empties_the_queue(world, vocabulary, bus):
    with running(relay.Relay(world.engine, bus).run):
        for number in range(1, 51):
            world.announce(*(vocabulary.happened(subject=key, number=number) for key in "abc"))
        wait_until(lambda: world.scalar("select count(*) from shared.outbox_pending") == 0)
    assert published(bus, vocabulary.topic) == {key: list(range(1, 51)) for key in "abc"}
    assert len(world.outbox()) == 150  # the log stays


def test_only_one_relay_leads_and_another_takes_over(world, vocabulary, empty_database):
    bus = open_bus(empty_database)
    with relay.leading(world.engine) as first, relay.leading(world.engine) as second:
        assert first is not None
        assert second is None
        world.announce(vocabulary.happened(subject="a", number=1))
        assert relay.publish_pending_once(world.engine, bus) == 0
    assert relay.publish_pending_once(world.engine, bus) == 1


_RELAY = """
import sys, threading
from shared.database import open_engine
from shared.messaging.bus import open_bus
from shared.messaging.relay import Relay
Relay(open_engine(sys.argv[1], pool_size=2), open_bus(sys.argv[2]), batch=7).run(threading.Event())
"""


def test_order_per_key_without_a_gap_with_several_writers_and_relays_that_are_killed(
    world, vocabulary, empty_database
):
    bus = open_bus(empty_database)
    stop, failures = threading.Event(), []

    def write(writer):
        number = 0
        try:
            while not stop.is_set():
                number += 1
                with world.sessions() as session:
                    announce(session, *(vocabulary.happened(subject=f"k{(writer + number * part) % 9}", number=number)
                                        for part in range(1, 4)))  # fmt: skip
                    # Transactions end in another order than they began.
                    time.sleep(secrets.randbelow(10) / 1000)
                    if secrets.randbelow(10):
                        session.commit()
        except Exception as error:
            failures.append(error)

    def start():
        return subprocess.Popen([sys.executable, "-c", _RELAY, world.url, empty_database])

    writers = [threading.Thread(target=write, args=(writer,)) for writer in range(6)]
    for thread in writers:
        thread.start()
    for _ in range(6):
        relays = [start(), start()]
        time.sleep(1.5 + secrets.randbelow(100) / 100)
        for process in relays:
            os.kill(process.pid, signal.SIGKILL)
            process.wait()
    stop.set()
    for thread in writers:
        thread.join()
    assert failures == []
    last = {
        row.key: row.last
        for row in world.engine.connect().execute(text("select key, last from shared.stream"))
    }
    wait_until(
        lambda: (
            (
                relay.publish_pending_once(world.engine, bus),
                world.scalar("select count(*) from shared.outbox_pending"),
            )[1]
            == 0
        )
    )

    found = published(bus, vocabulary.topic)
    assert found.keys() == last.keys()
    for key, sequences in found.items():
        assert without_repeats(sequences) == list(range(1, last[key] + 1))
    bus.close()


def test_the_low_water_mark_never_passes_a_transaction_that_is_still_open(world, vocabulary):
    low = relay.LowWater()
    slow, fast = world.sessions(), world.sessions()
    announce(slow, vocabulary.happened(subject="slow", number=1))
    slow.begin_nested()
    # Write what the commit would write, but stay open: the id is drawn, the row is not visible.
    slow.get_nested_transaction().rollback()
    slow.info.clear()
    slow.execute(text("insert into shared.stream values ('t', 'slow', 1)"))
    drawn = slow.execute(
        text("insert into shared.outbox_pending values (nextval('shared.outbox_id_seq'), now()) returning id")
    ).scalar_one()
    announce(fast, vocabulary.happened(subject="fast", number=1))
    fast.commit()
    with world.engine.connect() as plain:
        connection = plain.execution_options(isolation_level="AUTOCOMMIT")
        connection.exec_driver_sql("delete from shared.outbox_pending")  # the fast one is acknowledged
        for _ in range(6):
            low.raise_if_safe(connection)
        assert low.id < drawn
        slow.commit()
        for _ in range(6):
            low.raise_if_safe(connection)
        assert low.id < drawn  # it waits to be published
        connection.exec_driver_sql("delete from shared.outbox_pending")
        # The server's other databases have transactions, too, and every one that is open holds the mark back.
        end = time.monotonic() + 60
        while low.id <= drawn and time.monotonic() < end:
            low.raise_if_safe(connection)
            time.sleep(0.01)
        assert low.id > drawn
    fast.close()
    slow.close()


class Faltering:
    """A bus that cannot be reached for its first calls."""

    def __init__(self, bus, failures):
        self._bus, self.failures = bus, failures

    def publish(self, messages):
        if self.failures:
            self.failures -= 1
            raise BusUnavailable("away")
        self._bus.publish(messages)

    def forget_old(self):
        return self._bus.forget_old()


def test_an_outage_of_the_bus_loses_nothing(world, vocabulary, empty_database):
    bus = open_bus(empty_database)
    world.announce(*(vocabulary.happened(subject="a", number=number) for number in range(1, 6)))
    with running(relay.Relay(world.engine, Faltering(bus, 4)).run):
        wait_until(lambda: world.scalar("select count(*) from shared.outbox_pending") == 0)
    assert published(bus, vocabulary.topic) == {"a": [1, 2, 3, 4, 5]}


def test_a_relay_whose_connection_is_cut_goes_on(world, vocabulary, empty_database):
    bus = open_bus(empty_database)
    with running(relay.Relay(world.engine, bus).run):
        world.announce(vocabulary.happened(subject="a", number=1))
        wait_until(lambda: world.scalar("select count(*) from shared.outbox_pending") == 0)
        world.scalar(
            "select count(pg_terminate_backend(l.pid)) from pg_locks l"
            " where l.locktype = 'advisory' and l.objid = :id and l.database ="
            " (select oid from pg_database where datname = current_database())",
            id=relay.LEADER & 0xFFFFFFFF,
        )
        world.announce(vocabulary.happened(subject="a", number=2))
        wait_until(lambda: world.scalar("select count(*) from shared.outbox_pending") == 0)
    assert without_repeats(published(bus, vocabulary.topic)["a"]) == [1, 2]


def test_an_empty_bus_is_refilled_from_the_outbox_and_one_with_events_is_not(world, vocabulary, bus):
    world.announce(*(vocabulary.happened(subject=key, number=1) for key in "abc"))
    lost = vocabulary.topic
    world.run("delete from shared.outbox_pending")  # had been published to a bus that is gone
    world.announce(vocabulary.happened(subject="a", number=2))
    assert react.republish(world.engine, bus) == 4
    assert published(bus, lost) == {"a": [1, 2], "b": [1], "c": [1]}
    assert world.scalar("select count(*) from shared.outbox_pending") == 0
    with pytest.raises(react.NotEmpty):
        react.republish(world.engine, bus)


def test_events_from_the_bus_to_the_effect_and_replay_changes_nothing(worlds, vocabulary, bus):
    """Announce, relay, react; then read every topic from its start, twice."""
    sender, receiver = worlds(), worlds()
    consumer = vocabulary.consumer()
    with (
        running(relay.Relay(sender.engine, bus).run),
        running(lambda stop: react.run(receiver.sessions, bus, consumer, stop)),
    ):
        for number in range(1, 31):
            sender.announce(*(vocabulary.happened(subject=key, number=number) for key in "abcdef"))
        expected = {key: list(range(1, 31)) for key in "abcdef"}
        wait_until(lambda: receiver.effects() == expected)
        wait_until(lambda: react.behind(bus, [consumer]) == 0)
    for _ in range(2):
        assert react.replay(receiver.sessions, bus, [consumer]) == (180, 0)
    assert receiver.effects() == expected

    fresh = worlds()  # a new consumer is built from the start
    assert react.replay(fresh.sessions, bus, [consumer]) == (180, 180)
    assert fresh.effects() == expected


def test_a_parked_event_is_retried_by_the_running_consumer(worlds, vocabulary, empty_database):
    from shared.messaging import parked

    sender, receiver = worlds(), worlds()
    bus, consumer = open_bus(empty_database), vocabulary.consumer()
    receiver.poison("b", 2)
    with (
        running(relay.Relay(sender.engine, bus).run),
        running(lambda stop: react.run(receiver.sessions, bus, consumer, stop)),
    ):
        for number in range(1, 4):
            sender.announce(*(vocabulary.happened(subject=key, number=number) for key in "ab"))
        wait_until(
            lambda: receiver.effects() == {"a": [1, 2, 3], "b": [1]} and len(receiver.parked_ids()) == 2
        )
        receiver.cure()
        with receiver.sessions.begin() as session:
            parked.retry(session, receiver.parked_ids()[0])
        wait_until(lambda: receiver.effects() == {"a": [1, 2, 3], "b": [1, 2, 3]})
        wait_until(lambda: receiver.parked_ids() == [])
