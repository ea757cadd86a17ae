"""Publish the outbox: one leader per database, in the order of ids, deleted from the queue after acknowledgement.

Measured with 24 writers (facts): any cursor by id, xid or SKIP LOCKED loses or reorders events; one leader that reads
the queue of pending rows in order does neither. Leadership is an advisory lock on the very connection that reads and
deletes: who lost the connection has lost both. What an old leader still sends at that moment arrives twice, and the
consumers' watermarks drop the repeat.
"""

import logging
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress

from sqlalchemy import Connection, Engine, text
from sqlalchemy.exc import SQLAlchemyError

from shared.messaging import cloudevent, metrics, partitions
from shared.messaging.bus import Bus, BusUnavailable, Message

log = logging.getLogger(__name__)

# The number only has to be ours: advisory locks are per database, and every service has its own.
LEADER = 7_348_207_103

BATCH = 1_000
POLL = 0.05  # NOTIFY would serialise every commit (measured: 4,615 → 1,405 transactions/s with 32 writers)
_UPKEEP_EVERY = 3_600.0
_MEASURE_EVERY = 5.0
_HINT_EVERY = 5.0

# The lateral keeps the plan a nested loop into one day's index, whatever the statistics say about an empty queue.
_READ = """
select p.id, o.event_id, o.topic, o.type, o.key, o.sequence, o.created_at, o.data::text, o.traceparent, o.causation_id
from (select id, created_at from shared.outbox_pending where id > %s order by id limit %s) p
cross join lateral (
    select * from shared.outbox o where o.created_at = p.created_at and o.id = p.id offset 0
) o
order by p.id
"""
# What leaves the queue is told to the webhooks (shared/webhooks) from that moment on: once each, in the order of the queue,
# and published to the bus before. Both in one statement, so that neither happens alone.
_DONE = """
with done as (
    delete from shared.outbox_pending where id = any(%s::bigint[]) returning id, created_at
)
insert into shared.webhook_delivery (webhook_id, event_id, event_type, outbox_id, announced_at)
select w.webhook_id, o.event_id, o.type, o.id, o.created_at
from done
cross join (select * from shared.webhook offset 0) w
cross join lateral (
    select * from shared.outbox o where o.created_at = done.created_at and o.id = done.id offset 0
) o
where w.event_types = '{}' or o.type = any(w.event_types)
order by o.id
"""


class LowWater:
    """A lower bound of the ids that may still become visible in the queue.

    It only spares the reader the dead rows below it (20 × slower without, under a pinned vacuum horizon) and must
    never hide a row that commits late. So: note the last id drawn, then take a transaction id of one's own. Whoever
    drew one of those ids already had a lower transaction id (``announce`` writes the stream before it draws). Once
    every transaction below ours is finished, all rows up to the noted id are visible or never will be. The snapshot's
    xmax would not do: a running transaction may lie above it.
    """

    def __init__(self) -> None:
        self.id = 0
        self._noted: tuple[int, int] | None = None

    def raise_if_safe(self, connection: Connection) -> None:
        if self._noted is None:
            # A fresh sequence says 1 before it has given 1 to anybody.
            last = connection.exec_driver_sql(
                "select last_value - (not is_called)::int from shared.outbox_id_seq"
            ).scalar_one()
            # A statement of its own, hence later than the one above.
            mine = connection.exec_driver_sql("select pg_current_xact_id()::text::bigint").scalar_one()
            self._noted = (last, mine)
            return
        last, mine = self._noted
        oldest_running = connection.exec_driver_sql(
            "select pg_snapshot_xmin(pg_current_snapshot())::text::bigint"
        ).scalar_one()
        if oldest_running < mine:
            return
        # Everything up to `last` is decided; what of it still waits is visible to this statement.
        first_waiting = connection.exec_driver_sql(
            "select id from shared.outbox_pending where id > %s order by id limit 1", (self.id,)
        ).scalar()
        self.id = max(self.id, last if first_waiting is None else min(last, first_waiting - 1))
        self._noted = None


class Relay:
    """Publishes one service's outbox as long as it leads; waits to lead otherwise."""

    def __init__(self, engine: Engine, bus: Bus, *, batch: int = BATCH) -> None:
        self._engine = engine
        self._bus = bus
        self._batch = batch
        self._database = engine.url.database or ""

    def run(self, stop: threading.Event) -> None:
        """Until ``stop``; outlives outages of the database and of the bus."""
        wait = POLL
        while not stop.is_set():
            try:
                with leading(self._engine) as connection:
                    if connection is not None:
                        wait = POLL
                        self._lead(connection, stop)
                stop.wait(1.0)
            except SQLAlchemyError as error:
                log.warning(
                    "relay lost the database",
                    extra={"database": self._database, "error": type(error).__name__},
                )
                stop.wait(wait)
                wait = min(wait * 2, 5.0)
            finally:
                metrics.leader(self._database, False)

    def _lead(self, connection: Connection, stop: threading.Event) -> None:
        metrics.leader(self._database, True)
        low = LowWater()
        upkeep = measured = hinted = -_UPKEEP_EVERY
        wait = POLL
        while not stop.is_set():
            now = time.monotonic()
            if now - upkeep >= _UPKEEP_EVERY:
                upkeep = now
                with self._engine.connect() as other:
                    partitions.ensure(other)
                    partitions.drop_old(other)
                with suppress(BusUnavailable):  # the next hour will do
                    self._bus.forget_old()
            if now - hinted >= _HINT_EVERY:
                hinted = now
                low.raise_if_safe(connection)
            if now - measured >= _MEASURE_EVERY:
                measured = now
                metrics.outbox(self._database, *waiting(connection))
            try:
                published = publish_batch(connection, self._bus, low.id, self._batch)
                wait = POLL
            except BusUnavailable as error:
                log.warning("the bus is away", extra={"database": self._database, "error": str(error)})
                stop.wait(wait)
                wait = min(wait * 2, 5.0)
                continue
            if published < self._batch:
                stop.wait(POLL)


@contextmanager
def leading(engine: Engine) -> Iterator[Connection | None]:
    """The connection of the leader, or None where another process leads. Each statement is a transaction of its own."""
    with engine.connect() as plain:
        connection = plain.execution_options(isolation_level="AUTOCOMMIT")
        if not connection.scalar(text("select pg_try_advisory_lock(:lock)"), {"lock": LEADER}):
            yield None
            return
        try:
            yield connection
        finally:
            # Given back at once, so that nobody waits until the server has noticed that the connection is gone – and the
            # connection goes all the same: a pooled one that still held the lock would hold it for ever.
            with suppress(SQLAlchemyError):
                connection.scalar(text("select pg_advisory_unlock(:lock)"), {"lock": LEADER})
            connection.invalidate()


def publish_batch(connection: Connection, bus: Bus, low: int = 0, limit: int = BATCH) -> int:
    """Publish the next events of the queue, in order; returns how many. Raises BusUnavailable: nothing is deleted then.

    Only for the leader, on the leader's connection.
    """
    rows = connection.exec_driver_sql(_READ, (low, limit)).all()
    if not rows:
        return 0
    bus.publish([message(*row[1:]) for row in rows])
    connection.exec_driver_sql(_DONE, ([row.id for row in rows],))
    metrics.published(connection.engine.url.database or "", len(rows))
    return len(rows)


def publish_pending_once(engine: Engine, bus: Bus) -> int:
    """Publish everything that waits, then return; 0 where another process leads."""
    total = 0
    with leading(engine) as connection:
        if connection is not None:
            bus.prepare(
                sorted(connection.exec_driver_sql("select distinct topic from shared.stream").scalars())
            )
            while published := publish_batch(connection, bus):
                total += published
    return total


_ALL = """
select id, event_id, topic, type, key, sequence, created_at, data::text, traceparent, causation_id
from shared.outbox order by id
"""


def publish_everything(engine: Engine, connection: Connection, bus: Bus) -> int:
    """Publish the whole outbox, whether it had been published before or not; only for the leader.

    Not day by day: around midnight the order of ids and that of days differ. So the database sorts once, and the rows
    are streamed.
    """
    total = 0
    with engine.connect() as other, other.begin():
        other.exec_driver_sql("set local statement_timeout = 0")
        everything = other.execution_options(yield_per=BATCH).execute(text(_ALL))
        for rows in everything.partitions():
            bus.publish([message(*row[1:]) for row in rows])
            connection.exec_driver_sql(_DONE, ([row.id for row in rows],))
            total += len(rows)
    while published := publish_batch(connection, bus):  # announced meanwhile
        total += published
    return total


def message(  # type: ignore[no-untyped-def]
    event_id, topic, type_, key, sequence, created_at, data, traceparent, causation_id
) -> Message:
    """A row of the outbox as it travels."""
    value = cloudevent.write(
        event_id=event_id,
        type=type_,
        key=key,
        sequence=sequence,
        created_at=created_at,
        data=data,
        traceparent=traceparent,
        causation_id=causation_id,
    )
    return Message(topic, key, value)


def waiting(connection: Connection) -> tuple[int, float]:
    """How many events wait for the bus (counted up to 100,000) and how old the first one is, in seconds."""
    count, age = connection.exec_driver_sql(
        "select count(*), coalesce(extract(epoch from now() - min(created_at)), 0)::float8"
        " from (select created_at from shared.outbox_pending order by id limit 100000) p"
    ).one()
    return count, age
