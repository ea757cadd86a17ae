"""The bus that carries events between services: publish a batch, poll a batch and commit.

Every bus promises the same: what ``publish`` returned from is kept for good, the records of one (topic, key) arrive in
the order in which they were published, and a group sees every record at least once. Everything else – exactly once,
gaps, poison – is the work of the code above it.
"""

from collections.abc import Iterator, Sequence
from typing import NamedTuple, Protocol
from urllib.parse import urlsplit

PARTITIONS = 12


class Message(NamedTuple):
    """What is published. Records of one (topic, key) stay in order."""

    topic: str
    key: str
    value: bytes


class Record(NamedTuple):
    """What arrives. ``key`` is empty where the sender gave none."""

    topic: str
    partition: int
    offset: int
    key: str
    value: bytes


class BusUnavailable(Exception):  # noqa: N818 - says a state, as Unavailable does in shared/errors
    """The bus cannot be reached or did not acknowledge; the same call may be made again."""


class Reader(Protocol):
    """One member of a group, used by one thread."""

    def poll(self, max_records: int, timeout: float) -> list[Record]:
        """The next records, in order per partition; empty after ``timeout`` seconds without any."""

    def commit(self) -> None:
        """Everything polled so far has been applied. Partitions that meanwhile moved to another member are left to it."""

    def close(self) -> None: ...


class Bus(Protocol):
    """One of the two buses; safe to use from several threads."""

    def prepare(self, topics: Sequence[str]) -> None:
        """Make what is missing: topics with 12 partitions, and the bus's own tables where it has any."""

    def forget_old(self) -> int:
        """Drop what topics with a finite retention need not keep any longer; how many records went. A broker that does
        so by itself has nothing to do here."""

    def publish(self, messages: Sequence[Message]) -> None:
        """Returns when all of them are kept; raises BusUnavailable when some may not be. Makes topics it does not know."""

    def consume(self, group: str, topics: Sequence[str]) -> Reader:
        """A new group starts at the beginning of the topics."""

    def read_from_start(self, topics: Sequence[str], batch: int = 1_000) -> Iterator[list[Record]]:
        """Every record from the beginning up to what was there when the reading began; touches no group."""

    def lag(self, group: str, topics: Sequence[str]) -> int:
        """How many records the group has not committed yet."""

    def is_empty(self, topics: Sequence[str] | None = None) -> bool:
        """Whether nothing was ever published – to these topics, or to any of ours."""

    def close(self) -> None: ...


def open_bus(url: str) -> Bus:
    """``kafka://host:port[,host:port]?replication=3`` or ``postgresql://…/database`` (the embedded bus).

    Connects at the first use, so that a process starts while its bus is away.
    """
    scheme = urlsplit(url).scheme
    if scheme == "kafka":
        from shared.messaging.kafka_bus import KafkaBus

        return KafkaBus(url)
    if scheme.startswith("postgresql"):
        from shared.messaging.postgres_bus import PostgresBus

        return PostgresBus(url)
    raise ValueError(f"a bus is kafka:// or postgresql://, not {scheme or url!r}")
