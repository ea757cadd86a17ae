"""Both buses keep the same promises: kept for good, in order per key, at least once per group."""

import secrets
import subprocess
import sys
import threading
import time
from contextlib import closing
from urllib.parse import urlsplit

import psycopg
import pytest
from kafka import KafkaAdminClient

from shared.events.catalogue import KEPT_DAYS
from shared.messaging import kafka_bus, postgres_reader
from shared.messaging.bus import PARTITIONS, Message, open_bus
from shared.messaging.postgres_bus import PostgresBus


@pytest.fixture
def topic():
    return f"regulars.tests.b{secrets.token_hex(6)}.v1"


def messages(topic, keys, start=1, end=11):
    return [Message(topic, key, f"{key}{number}".encode()) for number in range(start, end) for key in keys]


def read_all(reader, expected, seconds=30):
    """Polls until ``expected`` records came, then once more."""
    found, deadline = [], time.monotonic() + seconds
    while len(found) < expected and time.monotonic() < deadline:
        found += reader.poll(100, 0.5)
    return found + reader.poll(100, 0.2)


def by_key(records):
    found = {}
    for record in records:
        found.setdefault(record.key, []).append(record.value.decode())
    return found


def test_records_of_a_key_arrive_in_order_and_complete(bus, topic):
    bus.publish(messages(topic, "abcdefgh", 1, 6))
    bus.publish(messages(topic, "abcdefgh", 6, 11))
    reader = bus.consume("g" + topic, [topic])
    records = read_all(reader, 80)
    reader.close()
    assert by_key(records) == {key: [f"{key}{number}" for number in range(1, 11)] for key in "abcdefgh"}
    for partition in {record.partition for record in records}:
        offsets = [record.offset for record in records if record.partition == partition]
        assert offsets == list(range(len(offsets)))
    assert len({record.partition for record in records}) > 1


def test_a_group_goes_on_where_it_committed_and_sees_again_what_it_did_not(bus, topic):
    group = "g" + topic
    bus.publish(messages(topic, "abc", 1, 4))
    first = bus.consume(group, [topic])
    assert len(read_all(first, 9)) == 9
    first.commit()
    bus.publish(messages(topic, "abc", 4, 6))
    assert len(read_all(first, 6)) == 6  # not committed
    first.close()
    second = bus.consume(group, [topic])
    assert by_key(read_all(second, 6)) == {key: [f"{key}4", f"{key}5"] for key in "abc"}
    second.close()


def test_lag_counts_what_a_group_has_not_committed(bus, topic):
    group = "g" + topic
    assert bus.lag(group, [topic]) == 0
    bus.publish(messages(topic, "abc"))
    assert bus.lag(group, [topic]) == 30
    reader = bus.consume(group, [topic])
    read_all(reader, 30)
    assert bus.lag(group, [topic]) == 30
    reader.commit()
    assert bus.lag(group, [topic]) == 0
    assert bus.lag("another" + topic, [topic]) == 30
    reader.close()


def test_reading_from_the_start_gives_everything_and_moves_no_group(bus, topic):
    assert bus.is_empty([topic])
    assert list(bus.read_from_start([topic])) == []
    bus.publish(messages(topic, "abc"))
    assert not bus.is_empty([topic])
    for _ in range(2):
        records = [record for batch in bus.read_from_start([topic], batch=7) for record in batch]
        assert by_key(records) == {key: [f"{key}{number}" for number in range(1, 11)] for key in "abc"}
    assert bus.lag("g" + topic, [topic]) == 30


def test_two_members_share_a_topic_and_one_takes_over_what_the_other_leaves(bus, topic):
    group, keys = "g" + topic, [f"k{number}" for number in range(40)]
    bus.prepare([topic])
    readers = [bus.consume(group, [topic]), bus.consume(group, [topic])]
    deadline, seen = time.monotonic() + 40, [set(), set()]
    number = 1
    while not all(seen) and time.monotonic() < deadline:
        bus.publish(messages(topic, keys, number, number + 1))
        number += 1
        for member, reader in enumerate(readers):
            records = reader.poll(1_000, 0.3)
            seen[member] = {record.partition for record in records}
            reader.commit()
    assert all(seen) and not seen[0] & seen[1]

    readers[0].close()
    bus.publish(messages(topic, keys, 1_000, 1_001))
    last, deadline = set(), time.monotonic() + 40
    while len(last) < 40 and time.monotonic() < deadline:
        last |= {record.key for record in readers[1].poll(1_000, 0.3) if record.value.endswith(b"1000")}
        readers[1].commit()
    assert len(last) == 40
    readers[1].close()


def test_a_member_too_impatient_to_see_its_rejoining_through_commits_all_the_same(kafka, topic, monkeypatch):
    monkeypatch.setattr(kafka_bus, "LOST_AFTER", 2.0)
    group, bus = "g" + topic, open_bus(kafka)
    bus.publish(messages(topic, "abc"))
    reader = bus.consume(group, [topic])
    assert len(read_all(reader, 30)) == 30
    reader.commit()
    with closing(KafkaAdminClient(bootstrap_servers=urlsplit(kafka).netloc)) as admin:
        admin.create_partitions({topic: 2 * PARTITIONS})
    noticed = time.monotonic() + 8
    while time.monotonic() < noticed:
        reader.poll(100, 0.001)
    bus.publish(messages(topic, "abc", 11, 21))
    deadline = time.monotonic() + 30
    while bus.lag(group, [topic]) and time.monotonic() < deadline:
        if reader.poll(100, 0.25):
            reader.commit()
    assert bus.lag(group, [topic]) == 0
    reader.close()
    bus.close()


def test_several_publishers_do_not_mix_up_a_key(bus, topic):
    """Each publisher has keys of its own, as the relays of the services have topics of their own."""

    def publish(writer):
        for number in range(1, 21):
            bus.publish([Message(topic, f"{writer}-{key}", str(number).encode()) for key in range(3)])

    threads = [threading.Thread(target=publish, args=(writer,)) for writer in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    records = [record for batch in bus.read_from_start([topic]) for record in batch]
    assert by_key(records) == {
        f"{writer}-{key}": [str(number) for number in range(1, 21)] for writer in range(4) for key in range(3)
    }


_PUBLISHER = """
import sys
from shared.messaging.bus import Message, open_bus
url, topic, name = sys.argv[1:]
bus = open_bus(url)
for number in range(50):
    bus.publish([Message(topic, f"{name}-{key}", f"{number}".encode()) for key in range(20)])
"""


def test_processes_that_append_at_once_leave_no_hole_in_the_offsets(empty_database, topic):
    """Also the tables are made by whoever comes first."""
    processes = [
        subprocess.Popen([sys.executable, "-c", _PUBLISHER, empty_database, topic, str(number)])
        for number in range(3)
    ]
    bus = open_bus(empty_database)
    reader = bus.consume("g", [topic])
    found, deadline = [], time.monotonic() + 60
    while len(found) < 3_000 and time.monotonic() < deadline:  # reads while they write
        found += reader.poll(500, 0.5)
        reader.commit()
    assert [process.wait(30) for process in processes] == [0, 0, 0]
    assert len(found) == 3_000
    expected = {}
    for record in found:
        assert record.offset == expected.get(record.partition, 0)
        expected[record.partition] = record.offset + 1
    assert by_key(found) == {
        f"{name}-{key}": [str(number) for number in range(50)] for name in range(3) for key in range(20)
    }
    reader.close()
    bus.close()


def test_a_member_that_slept_through_its_lease_commits_nothing(empty_database, topic, monkeypatch):
    bus = PostgresBus(empty_database)
    bus.publish(messages(topic, "abc"))
    monkeypatch.setattr(postgres_reader, "LEASE", 0.5)
    sleeper = bus.consume("g", [topic])
    assert len(read_all(sleeper, 30)) == 30
    time.sleep(1.2)
    other = bus.consume("g", [topic])
    taken = read_all(other, 30)
    assert len(taken) == 30  # at least once: it was never committed
    sleeper.commit()
    assert bus.lag("g", [topic]) == 30  # the sleeper's commit counted for nothing
    other.commit()
    assert bus.lag("g", [topic]) == 0
    other.close()
    sleeper.close()
    bus.close()


def test_a_bus_that_is_away_says_so_and_serves_again(topic):
    from shared.messaging.bus import BusUnavailable

    for url in ("postgresql://app@127.0.0.1:1/none", "kafka://127.0.0.1:1"):
        bus = open_bus(url)
        with pytest.raises(BusUnavailable):
            bus.publish(messages(topic, "a"))
        with pytest.raises(BusUnavailable):
            bus.consume("g", [topic]).poll(10, 0.1)
        with pytest.raises(BusUnavailable):
            bus.lag("g", [topic])
        bus.close()


def test_what_a_topic_need_not_keep_goes_and_readers_go_on(empty_database, monkeypatch):
    monkeypatch.setitem(KEPT_DAYS, "short", 30)
    bus = PostgresBus(empty_database)
    for topic in ("short", "long"):
        bus.publish([Message(topic, "a", str(number).encode()) for number in range(5)])
    with psycopg.connect(empty_database) as connection:
        connection.execute("update record set appended_at = now() - interval '31 days' where \"offset\" < 3")
    assert (bus.forget_old(), bus.forget_old()) == (3, 0)
    kept = {
        topic: [r.value for r in read_all(bus.consume("g", [topic]), count)]
        for topic, count in (("short", 2), ("long", 5))
    }
    assert kept == {"short": [b"3", b"4"], "long": [b"0", b"1", b"2", b"3", b"4"]}

    with psycopg.connect(empty_database) as connection:
        connection.execute("update record set appended_at = now() - interval '31 days'")
    assert bus.forget_old() == 1
    late = bus.consume("late", ["short"])
    assert [record.value for record in read_all(late, 1)] == [b"4"]
    late.commit()
    assert bus.lag("late", ["short"]) == 0
