"""Real Postgres for every test: one cluster per run, migrated databases copied per worker."""

import fcntl
import os
import secrets
import shutil
import subprocess
import tempfile
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import hypothesis
import psycopg
import pytest
from sqlalchemy.engine import Engine, make_url

from shared import migrate
from shared.auth.keys import hmac_of, new_key, open_keys
from shared.database import Sessions, open_engine, open_sessions
from shared.embedded import postgres
from shared.messaging import outbox
from shared.sealing import Keyring
from shared.service import Service
from shared.settings import Settings
from tests.identity_provider import IdentityProvider

DIRECTORY = "REGULARS_TEST_DIRECTORY"
PEPPER = "a-pepper-that-only-the-tests-know"

# No test is judged by the clock of a busy machine.
hypothesis.settings.register_profile("untimed", deadline=None)
hypothesis.settings.load_profile("untimed")

pytest_plugins = ["tests.kafka", "tests.deployment"]


def pytest_configure(config: pytest.Config) -> None:
    if not hasattr(config, "workerinput"):
        os.environ[DIRECTORY] = tempfile.mkdtemp(prefix="regulars-tests-")


def pytest_unconfigure(config: pytest.Config) -> None:
    if hasattr(config, "workerinput"):
        return
    directory = Path(os.environ.pop(DIRECTORY))
    if (running := postgres.find_running(directory / "postgres")) is not None:
        running.stop()
    shutil.rmtree(directory, ignore_errors=True)


@contextmanager
def _only_one(name: str) -> Iterator[None]:
    """The workers of one run take turns."""
    with Path(os.environ[DIRECTORY], f"{name}.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield


@dataclass(frozen=True)
class TestCluster:
    """The Postgres of this run. ``url(database)`` reaches one of its databases."""

    __test__ = False
    server: str

    def url(self, database: str = "postgres") -> str:
        return make_url(self.server).set(database=database).render_as_string(hide_password=False)

    def execute(self, *statements: str) -> None:
        with psycopg.connect(self.url(), autocommit=True) as connection:
            for statement in statements:
                connection.execute(statement)  # type: ignore[call-overload]

    def template(self, service: str, migrations: Path) -> str:
        """A migrated, empty database of a service, made once per run."""
        name = f"template_{service}"
        made = Path(os.environ[DIRECTORY], name)
        with _only_one(name):
            if not made.exists():
                self.execute(f'drop database if exists "{name}"', f'create database "{name}"')
                migrate.upgrade(self.url(name), migrate.chains(service, migrations))
                made.touch()
        return name

    @contextmanager
    def copy(self, template: str) -> Iterator[str]:
        """A database of one's own; gives its url."""
        name = f"{template.removeprefix('template_')}_{secrets.token_hex(4)}"
        with _only_one(template):  # a template cannot be copied twice at the same time
            self.execute(f'create database "{name}" template "{template}"')
        try:
            yield self.url(name)
        finally:
            self.execute(f'drop database if exists "{name}" with (force)')


@pytest.fixture(scope="session")
def cluster() -> TestCluster:
    """One Postgres per run: REGULARS_TEST_POSTGRES, or one started for it (fsync off: tests lose nothing)."""
    if given := os.environ.get("REGULARS_TEST_POSTGRES"):
        return TestCluster(given)
    directory = Path(os.environ[DIRECTORY])
    with _only_one("cluster"):
        running = postgres.start(
            directory / "postgres",
            settings={
                "fsync": "off",
                "full_page_writes": "off",
                "max_connections": "200",
                "autovacuum": "off",
            },
        )
        if not running.adopted:
            _stop_with(
                os.getppid() if "PYTEST_XDIST_WORKER" in os.environ else os.getpid(), running.pid, directory
            )
    return TestCluster(running.url())


def _stop_with(pid: int, server: int, directory: Path) -> None:
    """Stop the server when ``pid`` is gone without having done so: a test run that was killed leaves nothing."""
    watch = (
        f"while kill -0 {pid} 2>/dev/null; do kill -0 {server} 2>/dev/null || exit 0; sleep 2; done;"
        f" kill -QUIT {server} 2>/dev/null; sleep 1; rm -rf '{directory}'"
    )
    subprocess.Popen(
        ["sh", "-c", watch],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        start_new_session=True,
    )


def _migrations(service: str) -> Path:
    return Path(__file__).parents[1] / "services" / service / "migrations"


@pytest.fixture(scope="session")
def database(cluster: TestCluster) -> Iterator[Callable[[str], str]]:
    """``database("profile")``: the url of this worker's migrated database of a service. What a test commits there it
    cleans up, or it uses ``fresh_database``."""
    urls: dict[str, str] = {}
    with ExitStack() as databases:

        def url(service: str) -> str:
            if service not in urls:
                template = cluster.template(service, _migrations(service))
                urls[service] = databases.enter_context(cluster.copy(template))
            return urls[service]

        yield url


@pytest.fixture(scope="module")
def idp() -> Iterator[IdentityProvider]:
    """The identity provider of a company, whose tokens services are told to trust (``**idp.settings``)."""
    with IdentityProvider() as provider:
        yield provider


@pytest.fixture
def fresh_database(cluster: TestCluster) -> Iterator[Callable[[str], str]]:
    """``fresh_database("profile")``: the url of a migrated, empty database for this test alone."""
    with ExitStack() as databases:
        yield lambda service: databases.enter_context(
            cluster.copy(cluster.template(service, _migrations(service)))
        )


@pytest.fixture
def empty_database(cluster: TestCluster) -> Iterator[str]:
    """The url of a database without any table, for this test alone."""
    name = f"empty_{secrets.token_hex(4)}"
    cluster.execute(f'create database "{name}"')
    yield cluster.url(name)
    cluster.execute(f'drop database if exists "{name}" with (force)')


@dataclass(frozen=True)
class ServiceUnderTest:
    """A service over a database of its own: ``client`` carries an admin key, ``stranger`` carries none."""

    service: Service
    settings: Settings
    engine: Engine
    sessions: Sessions
    app: Any
    client: Any
    stranger: Any
    admin_key: str


def settings_for(service: Service, url: str, **more: Any) -> tuple[Settings, str]:
    """Settings as a test's environment would give them, and the clear admin key that goes with them."""
    clear, _ = new_key(PEPPER)
    values = {
        "service": service.name,
        "database_url": url,
        "key_pepper": PEPPER,
        "environment_keys": {"admin": hmac_of(clear, PEPPER)},
        "profile_url": "http://127.0.0.1:9",  # nobody answers there
        "sealing_keys": {"k1": bytes(range(32))},
        "audit_key": "an-audit-key-that-only-the-tests-know",
        "link_key": "a-link-key-that-only-the-tests-know",
        "blind_index_key": "a-blind-index-key-that-only-tests-know",
    }
    return service.settings.model_validate(values | more), clear


@pytest.fixture
def service(
    database: Callable[[str], str], fresh_database: Callable[[str], str]
) -> Iterator[Callable[..., ServiceUnderTest]]:
    """``service(SERVICE)``: everything happens in one outer transaction that is rolled back; commits are savepoints.

    ``service(SERVICE, committing=True)``: a fresh database, a real pool and real commits, for races and timeouts.
    Further keywords are settings.
    """
    with ExitStack() as open_things:

        def under_test(service: Service, *, committing: bool = False, **more: Any) -> ServiceUnderTest:
            from starlette.testclient import TestClient

            from shared.http.app import new_app

            url = fresh_database(service.name) if committing else database(service.name)
            settings, clear = settings_for(service, url, **more)
            # A machine that is busy with other tests may need long to accept a connection.
            engine = open_engine(url, pool_size=16 if committing else 2, connect_timeout=15, name="tests")
            open_things.callback(engine.dispose)
            info = {"settings": settings, "keyring": Keyring(settings.sealing_keys)}
            if committing:
                sessions = open_sessions(engine, **info)
            else:
                connection = open_things.enter_context(engine.connect())
                outer = connection.begin()
                open_things.callback(outer.rollback)
                sessions = Sessions(
                    connection, join_transaction_mode="create_savepoint", expire_on_commit=False, info=info
                )
            outbox.install(sessions)
            # The key ring asks in a thread of its own, which must not share the connection of the outer transaction.
            own = sessions if committing else open_sessions(engine, **info)
            app = new_app(service, settings, sessions, open_keys(service, settings, own))
            bearer = {"Authorization": f"Bearer {clear}"}
            client = open_things.enter_context(
                TestClient(
                    app, f"http://testserver/{service.name}", headers=bearer, raise_server_exceptions=False
                )
            )
            stranger = TestClient(app, f"http://testserver/{service.name}", raise_server_exceptions=False)
            return ServiceUnderTest(service, settings, engine, sessions, app, client, stranger, clear)

        yield under_test


__all__ = ["ServiceUnderTest", "TestCluster", "settings_for"]
