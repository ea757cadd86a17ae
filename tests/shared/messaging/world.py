"""What the tests of messaging talk about: events of a topic that is one test's alone, a consumer that writes them
down, and the database it does so in."""

import secrets
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, ClassVar
from uuid import UUID

from sqlalchemy import Engine, text

from shared.database import Sessions, open_engine, open_sessions
from shared.events.envelope import Event
from shared.messaging import relay
from shared.messaging.bus import Record
from shared.messaging.consumer import Consumer
from shared.messaging.outbox import announce
from shared.settings import Settings

SETTINGS = Settings(
    service="tests", database_url="", key_pepper="p" * 16, sealing_keys={"k1": bytes(32)}, audit_key="a" * 16
)


class Happened(Event):
    """Something happened to ``subject``, for the ``number``-th time."""

    topic: ClassVar[str]
    type: ClassVar[str] = "regulars.tests.happened.v1"

    subject: str
    number: int
    words: str = ""

    @property
    def key(self) -> str:
        return self.subject


class Noticed(Happened):
    """The same under another type."""

    type: ClassVar[str] = "regulars.tests.noticed.v1"


class Vocabulary:
    """Events of a topic that is this test's alone, and a consumer that writes them down."""

    def __init__(self) -> None:
        self.topic = f"regulars.tests.t{secrets.token_hex(6)}.v1"
        self.happened: Any = type("Happened", (Happened,), {"topic": self.topic, "__annotations__": {}})
        self.noticed: Any = type("Noticed", (Noticed,), {"topic": self.topic, "__annotations__": {}})

    def consumer(self, **more: Any) -> Consumer:
        """Writes (key, number, type) to the table ``effect``; refuses what stands in the table ``poison``."""
        reactions = {self.happened: write_down, self.noticed: write_down}
        return Consumer(f"tests.{self.topic.split('.')[2]}", reactions, **more)


class PoisonError(Exception):
    """What a reaction raises for an event that it will not take."""


def write_down(session: Any, events: Any) -> None:
    poisoned = session.execute(
        text(
            "select exists (select from poison join unnest(cast(:keys as text[]), cast(:numbers as integer[]))"
            " as e(key, number) using (key, number))"
        ),
        {"keys": [event.subject for event in events], "numbers": [event.number for event in events]},
    ).scalar_one()
    if poisoned:
        raise PoisonError(f"someone's private words: {events[0].subject}")
    session.execute(
        text(
            "insert into effect (event_id, key, number, type) select * from unnest(cast(:ids as uuid[]),"
            " cast(:keys as text[]), cast(:numbers as integer[]), cast(:types as text[]))"
        ),
        {
            "ids": [event.id for event in events],
            "keys": [event.subject for event in events],
            "numbers": [event.number for event in events],
            "types": [event.type for event in events],
        },
    )


EFFECTS = """
create table effect (
    position bigint generated always as identity primary key,
    event_id uuid not null unique, key text not null, number integer not null, type text not null
);
create table poison (key text not null, number integer not null, primary key (key, number))
"""


class World:
    """A service's database: ``announce`` commits events, ``effects`` tells what a consumer made of them."""

    def __init__(self, url: str, pool_size: int = 10) -> None:
        self.url = url
        self.engine: Engine = open_engine(url, pool_size=pool_size, connect_timeout=15, name="tests")
        self.sessions: Sessions = open_sessions(self.engine, settings=SETTINGS)

    def announce(self, *events: Event) -> None:
        with self.sessions.begin() as session:
            announce(session, *events)

    def outbox(self) -> list[Any]:
        with self.engine.connect() as connection:
            return list(connection.execute(text("select * from shared.outbox order by id")))

    def records(self) -> list[Record]:
        """The outbox as a bus would deliver it."""
        columns = "event_id, topic, type, key, sequence, created_at, data::text, traceparent, causation_id"
        with self.engine.connect() as connection:
            rows = connection.execute(text(f"select {columns} from shared.outbox order by id")).all()
        messages = [relay.message(*row) for row in rows]
        return [Record(m.topic, 0, offset, m.key, m.value) for offset, m in enumerate(messages)]

    def effects(self) -> dict[str, list[int]]:
        """The numbers written down, by key, in the order of their writing."""
        found: dict[str, list[int]] = {}
        with self.engine.connect() as connection:
            for key, number in connection.execute(text("select key, number from effect order by position")):
                found.setdefault(key, []).append(number)
        return found

    def poison(self, key: str, number: int) -> None:
        self.run("insert into poison values (:key, :number)", key=key, number=number)

    def cure(self) -> None:
        self.run("delete from poison")

    def run(self, statement: str, **values: Any) -> None:
        with self.engine.begin() as connection:
            connection.execute(text(statement), values)

    def scalar(self, statement: str, **values: Any) -> Any:
        with self.engine.connect() as connection:
            return connection.execute(text(statement), values).scalar()

    def parked_ids(self) -> list[UUID]:
        with self.engine.connect() as connection:
            return list(connection.scalars(text("select id from shared.parked_event order by key, sequence")))


@contextmanager
def running(work: Callable[[threading.Event], None]) -> Iterator[threading.Event]:
    """``work(stop)`` in a thread, stopped at the end."""
    stop = threading.Event()
    thread = threading.Thread(target=work, args=(stop,), daemon=True)
    thread.start()
    try:
        yield stop
    finally:
        stop.set()
        thread.join(20)
        assert not thread.is_alive()
