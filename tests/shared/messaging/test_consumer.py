"""Each effect happens once, in order per key, whatever is delivered, and a poison event harms only its key."""

import threading
from datetime import timedelta

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from sqlalchemy import text
from sqlalchemy.exc import OperationalError

from shared.errors import Conflict, NotFound
from shared.messaging import parked
from shared.messaging.bus import Record
from shared.messaging.consumer import Applied, Consumer, apply, retry_due

AT_ONCE = (timedelta(0),) * 5


@pytest.fixture
def announced(world, vocabulary):
    """announced("aab"): a1 a2 b1 are in the outbox; gives them as records."""

    def announce(keys):
        counts = {}
        for key in keys:
            counts[key] = counts.get(key, 0) + 1
            world.announce(vocabulary.happened(subject=key, number=counts[key]))
        return world.records()

    return announce


def decide(world, decision, event_id):
    with world.sessions.begin() as session:
        return decision(session, event_id)


def listing(world, **filters):
    with world.sessions() as session:
        return parked.listing(session, **filters)


def counts(world):
    with world.sessions() as session:
        return tuple(parked.counts(session))


def test_a_batch_is_applied_once_however_often_it_comes(world, vocabulary, announced):
    records, consumer = announced("aabac"), vocabulary.consumer()
    assert apply(world.sessions, consumer, records) == Applied(applied=5)
    for again in (records, records[::-1], records * 2):
        outcome = apply(world.sessions, consumer, again)
        assert (outcome.applied, outcome.repeated, outcome.parked) == (0, len(again), 0)
    assert apply(world.sessions, consumer, records, mostly_repeats=True) == Applied(repeated=5)
    assert world.effects() == {"a": [1, 2, 3], "b": [1], "c": [1]}


def test_a_reaction_gets_long_runs_and_the_events_with_their_ids(world, vocabulary):
    world.announce(
        *(kind(subject=key, number=number) for key in "abc" for number, kind in
          enumerate((vocabulary.happened, vocabulary.noticed, vocabulary.happened), 1))
    )  # fmt: skip
    runs = []
    take = lambda session, events: runs.append([(event.subject, event.number, event.id) for event in events])  # noqa: E731
    consumer = Consumer("tests.runs", {vocabulary.happened: take, vocabulary.noticed: take})
    assert apply(world.sessions, consumer, world.records()).applied == 9
    assert [len(run) for run in runs] == [3, 3, 3]
    assert {row.event_id for row in world.outbox()} == {event_id for run in runs for _, _, event_id in run}


def test_a_type_without_a_reaction_only_moves_the_watermark(world, vocabulary, announced):
    records = announced("aaa")
    newer = records[1]._replace(value=records[1].value.replace(b"tests.happened.v1", b"tests.unheard_of.v9"))
    outcome = apply(world.sessions, vocabulary.consumer(), [records[0], newer, records[2]])
    assert outcome == Applied(applied=3)
    assert world.effects() == {"a": [1, 3]}


def test_a_poison_event_parks_its_key_and_nothing_else(world, vocabulary, announced):
    records, consumer = announced("abcabcabc"), vocabulary.consumer()
    world.poison("b", 2)
    assert apply(world.sessions, consumer, records) == Applied(applied=7, parked=2)
    assert world.effects() == {"a": [1, 2, 3], "b": [1], "c": [1, 2, 3]}
    assert [(event.key, event.sequence, event.reason) for event in listing(world)] == [
        ("b", 2, "failed"),
        ("b", 3, "behind"),
    ]
    assert apply(world.sessions, consumer, records) == Applied(repeated=9)  # the parked ones are known, too


def test_what_is_listed_of_a_failure_quotes_nothing_of_the_event(world, vocabulary, announced):
    records = announced("a")
    world.poison("a", 1)
    apply(world.sessions, vocabulary.consumer(), records)
    (event,) = listing(world)
    assert event.error.startswith("PoisonError at tests/shared/messaging/world.py:")
    assert "private" not in event.error


def test_a_retry_after_the_cure_ends_in_the_state_without_the_fault(world, vocabulary, announced):
    records, consumer = announced("bababbb"), vocabulary.consumer()
    world.poison("b", 2)
    apply(world.sessions, consumer, records[:4])
    apply(world.sessions, consumer, records[4:])
    assert world.effects() == {"a": [1, 2], "b": [1]}
    assert retry_due(world.sessions, consumer) == 0  # not yet due

    world.cure()
    decide(world, parked.retry, world.parked_ids()[-1])  # asking for one behind tries the first of its key
    assert retry_due(world.sessions, consumer) == 4
    assert world.effects() == {"a": [1, 2], "b": [1, 2, 3, 4, 5]}
    assert counts(world) == (0, 0, 0)


def test_a_failure_is_retried_with_backoff_and_becomes_a_dead_letter_after_the_last_try(
    world, vocabulary, announced
):
    records = announced("aa")
    consumer = vocabulary.consumer(retry_after=(timedelta(0), timedelta(hours=1), timedelta(0)))
    world.poison("a", 1)
    apply(world.sessions, consumer, records)
    for attempts in (2, 2):  # the second retry is an hour away
        retry_due(world.sessions, consumer)
        assert listing(world)[0].attempts == attempts
    world.run("update shared.parked_event set next_try_at = now() where next_try_at is not null")
    retry_due(world.sessions, consumer)
    retry_due(world.sessions, consumer)
    first, second = listing(world)
    assert (first.attempts, first.next_try_at, second.reason) == (4, None, "behind")
    assert first.dead_at is not None
    assert counts(world) == (1, 2, 1)
    assert [event.sequence for event in listing(world, dead=True)] == [1]

    world.cure()
    assert retry_due(world.sessions, consumer) == 0  # dead is dead until somebody asks
    decide(world, parked.retry, first.id)
    assert retry_due(world.sessions, consumer) == 2
    assert world.effects() == {"a": [1, 2]}


def test_an_event_can_be_discarded_and_the_others_of_its_key_go_on(world, vocabulary, announced):
    records, consumer = announced("aaa"), vocabulary.consumer()
    world.poison("a", 1)
    apply(world.sessions, consumer, records)
    first, second, _ = world.parked_ids()
    with pytest.raises(Conflict) as refusal:
        decide(world, parked.discard, second)
    assert refusal.value.code == "not_first_in_line"
    decide(world, parked.discard, first)
    assert retry_due(world.sessions, consumer) == 2
    assert world.effects() == {"a": [2, 3]}
    assert counts(world) == (0, 0, 0)
    assert apply(world.sessions, consumer, records) == Applied(repeated=3)
    with pytest.raises(NotFound):
        decide(world, parked.retry, first)


def test_a_gap_parks_the_key_and_closes_itself_when_the_missing_event_comes(world, vocabulary, announced):
    records, consumer = announced("aaaab"), vocabulary.consumer()
    assert apply(world.sessions, consumer, [records[0], records[2], records[3], records[4]]) == Applied(
        applied=2, parked=2
    )
    assert world.effects() == {"a": [1], "b": [1]}
    assert [event.reason for event in listing(world)] == ["gap", "behind"]
    with pytest.raises(Conflict) as refusal:
        decide(world, parked.retry, world.parked_ids()[0])
    assert refusal.value.code == "gap_open"

    outcome = apply(world.sessions, consumer, [records[1]])
    assert outcome.applied == 3
    assert world.effects() == {"a": [1, 2, 3, 4], "b": [1]}
    assert counts(world) == (0, 0, 0)


def test_an_operator_can_accept_a_gap(world, vocabulary, announced):
    records, consumer = announced("aaaa"), vocabulary.consumer()
    apply(world.sessions, consumer, [records[0], records[3]])
    (waiting,) = world.parked_ids()
    decide(world, parked.accept_gap, waiting)
    assert retry_due(world.sessions, consumer) == 1
    assert world.effects() == {"a": [1, 4]}
    assert apply(world.sessions, consumer, records) == Applied(
        repeated=4
    )  # what comes too late stays a repeat
    world.poison("a", 5)
    world.announce(vocabulary.happened(subject="a", number=5))
    apply(world.sessions, consumer, world.records())
    with pytest.raises(Conflict) as refusal:
        decide(world, parked.accept_gap, world.parked_ids()[0])
    assert refusal.value.code == "no_gap"


def test_a_topic_with_a_finite_retention_may_have_gaps(world, vocabulary, announced):
    records = announced("aaaa")
    consumer = vocabulary.consumer(lossy_topics=frozenset({vocabulary.topic}))
    assert apply(world.sessions, consumer, records[2:]) == Applied(applied=2)
    assert world.effects() == {"a": [3, 4]}


@pytest.mark.parametrize(
    "value",
    [b"", b"\xff\xfe", b"[]", b"{}", b'{"type":"t","sequence":"x"}', b'{"type":"t","sequence":"0"}',
     b'{"type":"t","sequence":1}', b'{"type":"","sequence":"1"}', b'{"type":"t","sequence":"1","partitionkey":"b"}',
     b'{"type":"t","sequence":"99999999999999999999"}'],
)  # fmt: skip
def test_a_record_that_is_no_event_is_kept_for_an_operator_and_holds_up_nobody(
    world, vocabulary, announced, value
):
    records, consumer = announced("aa"), vocabulary.consumer()
    garbage = Record(vocabulary.topic, 3, 7, "a", value)
    batch = [records[0], garbage, records[1]]
    assert apply(world.sessions, consumer, batch) == Applied(applied=2, parked=1)
    assert world.effects() == {"a": [1, 2]}
    (event,) = listing(world)
    assert (event.reason, event.key, event.sequence) == ("unreadable", "a", None)
    assert counts(world) == (0, 0, 1)
    decide(world, parked.retry, event.id)
    assert retry_due(world.sessions, consumer) == 0
    assert counts(world) == (0, 0, 1)
    decide(world, parked.discard, event.id)
    assert apply(world.sessions, consumer, batch) == Applied(repeated=3)  # a replay does not bring it back
    assert counts(world) == (0, 0, 0)


def test_data_that_do_not_fit_the_event_park_the_key_without_being_quoted(world, vocabulary, announced):
    records, consumer = announced("aab"), vocabulary.consumer()
    wrong = records[0]._replace(value=records[0].value.replace(b'"number": 1', b'"number": "secret"'))
    assert apply(world.sessions, consumer, [wrong, *records[1:]]) == Applied(applied=1, parked=2)
    failed = listing(world, reasons=["failed"])
    assert [event.error for event in failed] == ["the data do not fit Happened: /number: int_parsing"]


def test_a_fault_of_the_database_parks_nothing(world, vocabulary, announced):
    records, consumer = announced("ab"), vocabulary.consumer()
    with world.engine.begin() as connection:
        connection.execute(text("lock table effect in access exclusive mode"))
        with world.sessions() as session:
            session.execute(text("select 1"))
        with pytest.raises(OperationalError):  # lock timeout
            apply(world.sessions, consumer, records)
    assert counts(world) == (0, 0, 0)
    assert apply(world.sessions, consumer, records) == Applied(applied=2)


def test_two_processes_with_the_same_batch_apply_it_once(world, vocabulary, announced):
    records, consumer = announced("abcdefghij" * 10), vocabulary.consumer()
    outcomes, barrier = [], threading.Barrier(4)

    def work():
        barrier.wait()
        outcomes.append(apply(world.sessions, consumer, records))

    threads = [threading.Thread(target=work) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sum(outcome.applied for outcome in outcomes) == 100
    assert sum(outcome.repeated for outcome in outcomes) == 300
    assert world.effects() == {key: list(range(1, 11)) for key in "abcdefghij"}


def test_one_bad_event_among_many_is_found_without_trying_each(world, vocabulary, announced):
    for number in range(1, 301):
        world.announce(vocabulary.happened(subject=f"k{number}", number=1))
    world.poison("k77", 1)
    calls = []
    inner = vocabulary.consumer().reactions[vocabulary.happened]
    consumer = Consumer(
        "tests.counted", {vocabulary.happened: lambda s, run: (calls.append(len(run)), inner(s, run))[1]}
    )
    assert apply(world.sessions, consumer, world.records()) == Applied(applied=299, parked=1)
    assert len(calls) < 40


@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data())
def test_whatever_is_lost_doubled_reordered_or_refused_the_end_is_the_state_without_faults(
    world, vocabulary, data
):
    """Events of four keys are delivered in any order, some more than once, in batches of any size, while some are
    refused. When every event has come at least once and every refusal is cured, each key has its events, in order."""
    for table in (
        "shared.parked_event",
        "shared.parked_key",
        "shared.watermark",
        "shared.stream",
        "shared.outbox",
        "shared.outbox_pending",
        "effect",
        "poison",
    ):
        world.run(f"delete from {table}")
    keys = data.draw(st.text("abcd", min_size=1, max_size=14))
    numbers = {}
    for key in keys:
        numbers[key] = numbers.get(key, 0) + 1
        kind = data.draw(st.sampled_from([vocabulary.happened, vocabulary.noticed]))
        world.announce(kind(subject=key, number=numbers[key]))
    records = world.records()
    for record in data.draw(st.sets(st.sampled_from(records), max_size=4)):
        world.poison(record.key, int(record.value.split(b'"sequence":"')[1][:20]))
    delivered = data.draw(
        st.permutations(records + data.draw(st.lists(st.sampled_from(records), max_size=8)))
    )
    consumer = vocabulary.consumer(retry_after=AT_ONCE)
    while delivered:
        size = data.draw(st.integers(1, len(delivered)))
        apply(world.sessions, consumer, delivered[:size])
        delivered = delivered[size:]
        for found in world.effects().values():
            assert found == list(range(1, len(found) + 1))
    world.cure()
    for event in listing(world, reasons=["failed"]):
        decide(world, parked.retry, event.id)
    retry_due(world.sessions, consumer)
    assert world.effects() == {key: list(range(1, count + 1)) for key, count in numbers.items()}
    assert counts(world) == (0, 0, 0)
    assert apply(world.sessions, consumer, records) == Applied(repeated=len(records))
