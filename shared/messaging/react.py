"""What a ``react`` process does all day – and what an operator asks of it now and then: replay, republish."""

import logging
import threading
import time
from collections.abc import Iterable, Sequence
from typing import NamedTuple

from sqlalchemy import Engine

from shared.database import Sessions
from shared.messaging import metrics, parked, relay
from shared.messaging.bus import Bus, BusUnavailable, Reader, Record
from shared.messaging.consumer import Applied, Consumer, apply, is_the_databases, retry_due

log = logging.getLogger(__name__)

BATCH = 1_000
_RETRY_EVERY = 1.0
_MEASURE_EVERY = 15.0
_LONGEST_WAIT = 5.0
_LONGEST_START = 20.0


def run(
    sessions: Sessions, bus: Bus, consumer: Consumer, stop: threading.Event, *, batch: int = BATCH
) -> None:
    """Poll, apply, commit, retry what is due – until ``stop``; outlives outages of the database and of the bus."""
    reader = bus.consume(consumer.name, consumer.topics)
    retried = measured = 0.0
    wait = 0.1
    try:
        while not stop.is_set():
            try:
                records = reader.poll(batch, 0.25)
                if records and not _apply_all(sessions, consumer, records, stop):
                    break
                if records:
                    reader.commit()
                now = time.monotonic()
                if now - retried >= _RETRY_EVERY:
                    retry_due(sessions, consumer)
                    retried = time.monotonic()
                if now - measured >= _MEASURE_EVERY:
                    measured = now
                    _measure(sessions, bus, consumer)
                wait = 0.1
            except BusUnavailable as error:
                log.warning("the bus is away", extra={"consumer": consumer.name, "error": str(error)})
                stop.wait(wait)
                wait = min(wait * 2, _LONGEST_WAIT)
            except Exception as error:
                if not is_the_databases(error):
                    log.exception("a fault outside of any event", extra={"consumer": consumer.name})
                stop.wait(wait)
                wait = min(wait * 2, _LONGEST_WAIT)
    finally:
        _close(reader)


def _apply_all(
    sessions: Sessions, consumer: Consumer, records: Sequence[Record], stop: threading.Event
) -> bool:
    """Apply the batch, however long the database is away; False when asked to stop before it was done.

    Every failure halves the parts, down to single events: a batch too heavy for the statement timeout comes through.
    """
    size, wait = len(records), 0.1
    start = 0
    while start < len(records):
        try:
            apply(sessions, consumer, records[start : start + size])
            start += size
            wait = 0.1
        except Exception as error:
            if is_the_databases(error):
                log.warning(
                    "the database is away", extra={"consumer": consumer.name, "error": type(error).__name__}
                )
            else:
                log.exception("a batch that cannot be committed", extra={"consumer": consumer.name})
            if stop.wait(wait):
                return False
            size = max(1, size // 2)
            wait = min(wait * 2, _LONGEST_WAIT)
    return True


def _measure(sessions: Sessions, bus: Bus, consumer: Consumer) -> None:
    metrics.lag(consumer.name, bus.lag(consumer.name, consumer.topics))
    with sessions() as session:
        counts = parked.counts(session, consumer.name)
    metrics.parked(consumer.name, counts.keys, counts.dead_letters)


def _close(reader: Reader) -> None:
    try:
        reader.close()
    except BusUnavailable:
        log.info("the bus was away when its reader closed")


class Replayed(NamedTuple):
    reread: int
    applied: int


def replay(sessions: Sessions, bus: Bus, consumers: Iterable[Consumer]) -> Replayed:
    """Have every consumer read its topics from their start again, beside the running suite.

    ``applied`` is 0 where everything had been applied before: repeats change nothing. Touches no group's offsets.
    """
    reread = applied = 0
    for consumer in consumers:
        for records in bus.read_from_start(consumer.topics):
            outcome: Applied = apply(sessions, consumer, records, mostly_repeats=True)
            reread += len(records)
            applied += outcome.applied
    return Replayed(reread, applied)


def behind(bus: Bus, consumers: Sequence[Consumer]) -> int:
    """Records on the bus that some consumer has not applied yet. Raises BusUnavailable where there is no answer for a
    while: a broker that has just started does not know yet how far its consumers are."""
    end = time.monotonic() + _LONGEST_START
    while True:
        try:
            return sum(bus.lag(consumer.name, consumer.topics) for consumer in consumers)
        except BusUnavailable:
            if time.monotonic() > end:
                raise
            time.sleep(0.5)


class NotEmpty(Exception):  # noqa: N818 - says a state
    """The bus holds events already: refilling it would put old events behind new ones."""


def republish(engine: Engine, bus: Bus, *, patience: float = 30.0) -> int:
    """Fill an empty bus from the outbox, in the order of ids; returns how many events were published.

    Takes the relay's place for as long as it lasts (waits ``patience`` seconds for it). Consumers that had followed
    drop all of it as repeats; for a new one a bus refilled from 14 days of outbox begins where the outbox begins,
    which it sees as gaps. Raises NotEmpty, or TimeoutError where a relay keeps running.
    """
    deadline = time.monotonic() + patience
    while True:
        with relay.leading(engine) as connection:
            if connection is not None:
                topics = sorted(
                    connection.exec_driver_sql("select distinct topic from shared.stream").scalars()
                )
                if not bus.is_empty(topics):
                    raise NotEmpty("the bus already holds events of this service")
                return relay.publish_everything(engine, connection, bus)
        if time.monotonic() > deadline:
            raise TimeoutError("a relay is publishing this outbox: stop it first")
        time.sleep(0.5)
