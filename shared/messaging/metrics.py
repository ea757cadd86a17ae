"""What operations watches of the events' way through the suite."""

from prometheus_client import Counter, Gauge

_CONSUMED = Counter("regulars_events_consumed", "Events by what became of them", ["consumer", "outcome"])
_GAPS = Counter(
    "regulars_event_gaps_accepted", "Gaps in topics with a finite retention", ["consumer", "topic"]
)
_PUBLISHED = Counter("regulars_events_published", "Events that the bus acknowledged", ["database"])
_PENDING = Gauge(
    "regulars_outbox_pending", "Announced events that the bus has not acknowledged", ["database"]
)
_OLDEST = Gauge(
    "regulars_outbox_oldest_age_seconds", "Age of the oldest event that waits for the bus", ["database"]
)
_LEADER = Gauge("regulars_relay_leader", "1 where this process publishes the outbox", ["database"])
_LAG = Gauge("regulars_consumer_lag", "Records on the bus that the consumer has not committed", ["consumer"])
_PARKED = Gauge("regulars_parked_keys", "Keys whose events queue behind a gap or a failure", ["consumer"])
_DEAD = Gauge("regulars_dead_letters", "Parked events that wait for an operator", ["consumer"])


def consumed(consumer: str, **outcomes: int) -> None:
    for outcome, count in outcomes.items():
        if count:
            _CONSUMED.labels(consumer, outcome).inc(count)


def gap_accepted(consumer: str, topic: str) -> None:
    _GAPS.labels(consumer, topic).inc()


def published(database: str, count: int) -> None:
    _PUBLISHED.labels(database).inc(count)


def outbox(database: str, pending: int, oldest_age: float) -> None:
    _PENDING.labels(database).set(pending)
    _OLDEST.labels(database).set(oldest_age)


def leader(database: str, leads: bool) -> None:
    _LEADER.labels(database).set(leads)


def lag(consumer: str, records: int) -> None:
    _LAG.labels(consumer).set(records)


def parked(consumer: str, keys: int, dead_letters: int) -> None:
    _PARKED.labels(consumer).set(keys)
    _DEAD.labels(consumer).set(dead_letters)
