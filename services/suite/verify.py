"""What ``verify`` prints, and the comparison of tables with migrations that ``make check`` asks for."""

import tempfile
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from pathlib import Path

import psycopg
from sqlalchemy import text
from sqlalchemy.engine import Engine

from services.suite.members import kinds, services
from shared import migrate
from shared.database import open_engine
from shared.embedded import postgres
from shared.embedded.surroundings import surroundings
from shared.messaging.bus import Bus, open_bus
from shared.settings import Settings
from shared.verification import Verification, outstanding
from shared.verification import verify as verify_service

# An event that is being applied while we look is counted on one side or the other, unless nothing moved meanwhile.
LOOKS = 5


def verify() -> dict[str, Verification]:
    """Ask all four, beside the running suite."""
    with surroundings(kinds()) as settings:
        return verify_all(settings)


def verify_all(settings: Mapping[str, Settings]) -> dict[str, Verification]:
    """Every service's verification. When all say that they are settled, nothing was announced while they were asked."""
    with _opened(settings) as (bus, engines):
        for _ in range(LOOKS):
            before = _announced(engines)
            told = {
                service.name: verify_service(service, engines[service.name], bus) for service in services()
            }
            if not all(part.is_settled for part in told.values()) or _announced(engines) == before:
                break
            time.sleep(0.1)
        return told


def await_settled(settings: Mapping[str, Settings], progress: Callable[[int], None]) -> None:
    """Wait until every event has been applied; ``progress`` is told how many wait, about twice a second."""
    with _opened(settings) as (bus, engines):
        while True:
            before = _announced(engines)
            waiting = sum(outstanding(service, engines[service.name], bus) for service in services())
            progress(waiting)
            if waiting == 0 and _announced(engines) == before:
                return
            time.sleep(0.5 if waiting else 0.05)


@contextmanager
def _opened(settings: Mapping[str, Settings]) -> Iterator[tuple[Bus, dict[str, Engine]]]:
    with ExitStack() as open_things:
        bus = open_bus(next(iter(settings.values())).bus)
        open_things.callback(bus.close)
        engines = {}
        for service in services():
            own = settings[service.name]
            engines[service.name] = open_engine(
                own.database_url, pool_size=1, statement_timeout="300s", name=f"{service.name} verify"
            )
            open_things.callback(engines[service.name].dispose)
        yield bus, engines


def _announced(engines: Mapping[str, Engine]) -> list[int]:
    """The last outbox id of every service: it moves with whatever is announced."""
    last = []
    for engine in engines.values():
        with engine.connect() as connection:
            last.append(
                connection.scalar(text("select last_value - (not is_called)::int from shared.outbox_id_seq"))
                or 0
            )
    return last


def check_migrations() -> int:
    """Migrate empty databases and compare them with the tables in code; 1 where they differ."""
    different = 0
    with tempfile.TemporaryDirectory(prefix="regulars-check-", ignore_cleanup_errors=True) as directory:
        cluster = postgres.start(Path(directory) / "postgres", settings={"fsync": "off"})
        try:
            with psycopg.connect(cluster.url(), autocommit=True) as connection:
                for service in services():
                    connection.execute(f'create database "{service.name}"')
            for service in services():
                chains = migrate.chains(service.name, service.migrations)
                migrate.upgrade(cluster.url(service.name), chains)
                for chain in chains if service is services()[0] else chains[1:]:
                    differences = migrate.check(cluster.url(service.name), chain)
                    different += bool(differences)
                    print(f"{chain.name}: " + ("; ".join(differences) or "tables and migrations agree"))
        finally:
            cluster.stop()
    return 1 if different else 0
