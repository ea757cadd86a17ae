"""The production bus: Kafka by kafka-python, whose idempotent producer and acks=all keep order and every record.

``kafka://[user:password@]host:port[,host:port][?replication=3&tls=true&ca=/path&sasl=SCRAM-SHA-512&prefix=shop-]``.
Topics that are missing are made with 12 partitions and kept without limit, or as long as their events say; without
``replication`` the broker's default holds. ``prefix`` stands before the names of topics and groups on the broker, so that deployments can share one.
Clients are made at first use and never in a request: their constructor blocks for seconds while the broker is away.
"""

import contextlib
import logging
import threading
import time
from collections.abc import Iterator, Sequence
from typing import Any
from urllib.parse import parse_qs, unquote, urlsplit

from kafka import KafkaAdminClient, KafkaConsumer, KafkaProducer, TopicPartition
from kafka.errors import (
    CommitFailedError,
    IllegalGenerationError,
    KafkaError,
    KafkaTimeoutError,
    RebalanceInProgressError,
    UnknownMemberIdError,
)
from kafka.structs import MemberState

from shared.events.catalogue import KEPT_DAYS
from shared.messaging.bus import PARTITIONS, BusUnavailable, Message, Record

log = logging.getLogger(__name__)

_TOPIC_EXISTS = 36
# Seconds in which a topic that was just made must be heard of.
_PATIENCE = 10.0

# Seconds without being a member after which a reader begins anew; by then the group has given its partitions away.
LOST_AFTER = 15.0

# The group has given the partitions to somebody else; the watermarks make what was applied here a repeat there.
_MOVED = (CommitFailedError, IllegalGenerationError, RebalanceInProgressError, UnknownMemberIdError)


class KafkaBus:
    """Safe to use from several threads; every reader has a client of its own."""

    def __init__(self, url: str) -> None:
        self._connection, self._replication, self.prefix = connection_settings(url)
        self._lock = threading.Lock()
        self._producer: Any = None
        self._observer: Any = None
        self._known: set[str] = set()

    def prepare(self, topics: Sequence[str]) -> None:
        missing = sorted({self.prefix + topic for topic in topics} - self._known)
        if not missing:
            return
        wanted = {
            topic: {
                "num_partitions": PARTITIONS,
                "replication_factor": self._replication,
                "configs": self._configs(topic),
            }
            for topic in missing
        }
        with _unavailable("topics"), contextlib.closing(KafkaAdminClient(**self._connection)) as admin:
            reply = admin.create_topics(wanted, timeout_ms=10_000, raise_errors=False)
            for topic in reply["topics"]:
                if topic["error_code"] not in (0, _TOPIC_EXISTS):
                    raise BusUnavailable(f"kafka: topic {topic['name']}: error {topic['error_code']}")
            admin.wait_for_topics(missing)
        self._known.update(missing)

    def forget_old(self) -> int:
        return 0  # the broker does, as the topic's configuration says

    def _configs(self, topic: str) -> dict[str, str]:
        days = KEPT_DAYS.get(topic.removeprefix(self.prefix))
        kept = "-1" if days is None else str(days * 86_400_000)
        configs = {"retention.ms": kept, "cleanup.policy": "delete"}
        if self._replication >= 3:
            configs["min.insync.replicas"] = "2"
        return configs

    def publish(self, messages: Sequence[Message]) -> None:
        if not messages:
            return
        self.prepare(sorted({message.topic for message in messages}))
        producer = self._open_producer()
        try:
            sent = [
                producer.send(self.prefix + message.topic, value=message.value, key=message.key.encode())
                for message in messages
            ]
            producer.flush(timeout=35)
            for future in sent:
                future.get(timeout=5)
        except KafkaError as error:
            # What this producer still holds may arrive late: a repeat. A new one begins with clean sequence numbers.
            self._drop_producer(producer)
            raise BusUnavailable(f"kafka: {type(error).__name__}") from error

    def consume(self, group: str, topics: Sequence[str]) -> "KafkaReader":
        return KafkaReader(self, group, topics)

    def read_from_start(self, topics: Sequence[str], batch: int = 1_000) -> Iterator[list[Record]]:
        with _unavailable("read"), contextlib.closing(self.new_consumer(None)) as consumer:
            places = self._places(consumer, topics)
            if not places:
                return
            ends = {place: end for place, end in consumer.end_offsets(places).items() if end > 0}
            consumer.assign(sorted(ends))
            consumer.seek_to_beginning()
            unread = set(ends)
            while unread:
                records = _records(consumer.poll(timeout_ms=500, max_records=batch), self.prefix)
                if records:
                    yield records
                unread = {place for place in unread if consumer.position(place) < ends[place]}

    def lag(self, group: str, topics: Sequence[str]) -> int:
        with self._lock, _unavailable("lag"):
            consumer = self._open_observer()
            places = self._places(consumer, topics)
            if not places:
                return 0
            ends, starts = consumer.end_offsets(places), consumer.beginning_offsets(places)
            with contextlib.closing(KafkaAdminClient(**self._connection)) as admin:
                committed = admin.list_group_offsets({self.prefix + group: places}).get(
                    self.prefix + group, {}
                )
            lag = 0
            for place in places:
                offset = getattr(committed.get(place), "offset", -1)
                lag += max(0, ends[place] - (offset if offset >= 0 else starts[place]))
            return lag

    def is_empty(self, topics: Sequence[str] | None = None) -> bool:
        with self._lock, _unavailable("offsets"):
            consumer = self._open_observer()
            if topics is None:
                named = self.prefix + "regulars."
                topics = [
                    topic.removeprefix(self.prefix) for topic in consumer.topics() if topic.startswith(named)
                ]
            places = self._places(consumer, topics)
            return not places or not any(consumer.end_offsets(places).values())

    def close(self) -> None:
        with self._lock:
            self._drop_observer()
        if self._producer is not None:
            self._drop_producer(self._producer)

    def new_consumer(self, group: str | None, **settings: Any) -> Any:
        return KafkaConsumer(
            group_id=group,
            enable_auto_commit=False,
            auto_offset_reset="earliest",
            allow_auto_create_topics=False,
            # A killed member's partitions move on after this long.
            session_timeout_ms=10_000,
            heartbeat_interval_ms=3_000,
            # Memory stays flat however far behind we are.
            fetch_max_bytes=8 * 1024 * 1024,
            max_partition_fetch_bytes=1024 * 1024,
            # New partitions of a topic are noticed this soon.
            metadata_max_age_ms=5_000,
            metrics_enabled=False,
            **self._connection,
            **settings,
        )

    def _open_producer(self) -> Any:
        with self._lock:
            if self._producer is None:
                with _unavailable("connect"):
                    self._producer = KafkaProducer(
                        acks="all",
                        enable_idempotence=True,
                        # Measured: 51–64k messages/s with these and crc32c.
                        linger_ms=5,
                        batch_size=131_072,
                        max_block_ms=5_000,
                        delivery_timeout_ms=30_000,
                        allow_auto_create_topics=False,
                        metrics_enabled=False,
                        **self._connection,
                    )
            return self._producer

    def _drop_producer(self, producer: Any) -> None:
        with self._lock:
            if self._producer is producer:
                self._producer = None
            self._known.clear()
        with contextlib.suppress(KafkaError):
            producer.close(timeout=1)

    def _places(self, consumer: Any, topics: Sequence[str]) -> list[TopicPartition]:
        return [
            TopicPartition(topic, partition)
            for topic in sorted(self.prefix + topic for topic in topics)
            for partition in sorted(consumer.partitions_for_topic(topic) or ())
        ]

    def _open_observer(self) -> Any:
        if self._observer is None:
            self._observer = self.new_consumer(None)
        return self._observer

    def _drop_observer(self) -> None:
        if self._observer is not None:
            with contextlib.suppress(KafkaError):
                self._observer.close()
            self._observer = None


class KafkaReader:
    """A member of a consumer group. Offsets are committed by ``commit`` alone, after the effects."""

    def __init__(self, bus: KafkaBus, group: str, topics: Sequence[str]) -> None:
        self._bus = bus
        self._group = bus.prefix + group
        self._topics = sorted(topics)
        self._consumer: Any = None
        self._member_at = 0.0

    def poll(self, max_records: int, timeout: float) -> list[Record]:
        try:
            if self._consumer is None:
                self._consumer = self._join(max_records)
                self._member_at = time.monotonic()
            polled = self._consumer.poll(timeout_ms=int(timeout * 1000), max_records=max_records)
            self._stay_a_member()
            return _records(polled, self._bus.prefix)
        except KafkaError as error:
            self._drop()
            raise BusUnavailable(f"kafka: {type(error).__name__}") from error

    def _join(self, max_records: int) -> Any:
        """A member that has heard of every topic before it joins: one that leads the group without having heard of a new
        topic gives nobody any of it, and nothing makes it look again."""
        self._bus.prepare(self._topics)
        topics = [self._bus.prefix + topic for topic in self._topics]
        consumer = self._bus.new_consumer(self._group, max_poll_records=max_records)
        # Subscribed first, it takes what it hears for what it is to watch, and need not join a second time at once.
        consumer.subscribe(topics)
        deadline = time.monotonic() + _PATIENCE
        try:
            while not all(consumer.partitions_for_topic(topic) for topic in topics):
                if time.monotonic() > deadline:
                    raise KafkaTimeoutError("no metadata of a topic")
                time.sleep(0.1)
        except KafkaError:
            consumer.close(autocommit=False, timeout_ms=2_000)
            raise
        return consumer

    def _stay_a_member(self) -> None:
        """Leave, to join anew, where joining has taken too long.

        The client forgets a rejoining that outlasted one poll and ended before the next: it goes on reading what it had
        been given, sends no heartbeats and can never commit again.
        """
        if self._consumer.group_metadata().state is MemberState.STABLE:
            self._member_at = time.monotonic()
        elif time.monotonic() - self._member_at > LOST_AFTER:
            log.warning("not a member of its group; joins anew", extra={"group": self._group})
            self._drop()

    def commit(self) -> None:
        if self._consumer is None:
            return
        try:
            self._consumer.commit(timeout_ms=10_000)
        except _MOVED as error:
            log.info(
                "partitions moved before the commit",
                extra={"group": self._group, "why": type(error).__name__},
            )
        except KafkaError as error:
            self._drop()
            raise BusUnavailable(f"kafka: {type(error).__name__}") from error

    def close(self) -> None:
        self._drop()

    def _drop(self) -> None:
        if self._consumer is not None:
            with contextlib.suppress(KafkaError):
                self._consumer.close(autocommit=False, timeout_ms=2_000)
            self._consumer = None


def connection_settings(url: str) -> tuple[dict[str, Any], int, str]:
    """What every client is told, the replication factor of new topics (−1 = the broker's default), the prefix of names."""
    parts = urlsplit(url)
    servers = parts.netloc.rpartition("@")[2]
    query = {name: values[-1] for name, values in parse_qs(parts.query).items()}
    unknown = query.keys() - {"replication", "tls", "ca", "sasl", "api_version", "prefix"}
    if not servers or unknown:
        raise ValueError(
            f"kafka://host:port[,host:port]: {', '.join(sorted(unknown)) or 'no server'} is not understood"
        )
    tls = query.get("tls") == "true"
    settings: dict[str, Any] = {
        "bootstrap_servers": servers.split(","),
        "client_id": "regulars",
        "bootstrap_timeout_ms": 5_000,
        "request_timeout_ms": 15_000,
        # After an outage everybody is back within two seconds.
        "reconnect_backoff_max_ms": 2_000,
    }
    if "api_version" in query:
        settings["api_version"] = tuple(int(part) for part in query["api_version"].split("."))
    if parts.username:
        settings |= {
            "security_protocol": "SASL_SSL" if tls else "SASL_PLAINTEXT",
            "sasl_mechanism": query.get("sasl", "SCRAM-SHA-512"),
            "sasl_plain_username": unquote(parts.username),
            "sasl_plain_password": unquote(parts.password or ""),
        }
    elif tls:
        settings["security_protocol"] = "SSL"
    if "ca" in query:
        settings["ssl_cafile"] = query["ca"]
    return settings, int(query.get("replication", -1)), query.get("prefix", "")


def _records(polled: Any, prefix: str) -> list[Record]:
    return [
        Record(
            place.topic.removeprefix(prefix),
            place.partition,
            record.offset,
            # What cannot be decoded is parked as unreadable, under the nearest readable name.
            "" if record.key is None else bytes(record.key).decode(errors="replace"),
            b"" if record.value is None else bytes(record.value),
        )
        for place, records in polled.items()
        for record in records
    ]


@contextlib.contextmanager
def _unavailable(doing: str) -> Iterator[None]:
    try:
        yield
    except KafkaError as error:
        raise BusUnavailable(f"kafka: {type(error).__name__} ({doing})") from error
