"""The data directory of a suite on one machine: its lock, its secrets, its first key, its Postgres, its bus."""

import base64
import fcntl
import json
import os
import secrets
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import IO
from urllib.parse import urlsplit, urlunsplit

import psycopg

from shared.auth.keys import hmac_of, new_key
from shared.embedded import postgres
from shared.embedded.postgres import CannotStart
from shared.settings import Settings

# What a fresh embedded Postgres calls its databases: regulars_profile, …, regulars_bus.
PREFIX = "regulars"
BUS_DATABASE = "bus"
# What a start is told and the commands beside it have to know too.
TOLD = ("DATABASE_URL", "KAFKA", "REGULARS_BUS", "REGULARS_PORT", "REGULARS_CURRENCY", "REGULARS_TIME_ZONE")


@dataclass(frozen=True)
class DataDirectory:
    """``.data`` or where REGULARS_DATA_DIR points."""

    path: Path

    @classmethod
    def of_environment(cls, environment: Mapping[str, str] = os.environ) -> "DataDirectory":
        return cls(Path(environment.get("REGULARS_DATA_DIR") or ".data").expanduser().absolute())

    @property
    def admin_key_file(self) -> Path:
        return self.path / "admin.key"

    def shown(self, file: Path) -> str:
        """A path as a person at this terminal would write it."""
        try:
            return str(file.relative_to(Path.cwd()))
        except ValueError:
            return str(file)

    def prepare(self) -> None:
        """Make the directory; raises CannotStart where nothing can be written."""
        try:
            self.path.mkdir(parents=True, exist_ok=True)
            probe = self.path / f".writable-{os.getpid()}"
            probe.touch()
            probe.unlink()
        except OSError as error:
            raise CannotStart(
                f"{self.path} cannot be written ({error.strerror}): name another directory in REGULARS_DATA_DIR"
            ) from error

    def must_exist(self) -> None:
        """Raises CannotStart where no suite was ever started."""
        if not (self.path / "secrets.env").exists():
            raise CannotStart(
                f"there is no suite in {self.path}: start one with make run, or set REGULARS_DATA_DIR"
            )

    def remember(self, environment: Mapping[str, str]) -> None:
        """What this start was given, so that verify, replay and demo find the suite without being told again."""
        told = {name: environment[name] for name in TOLD if environment.get(name)}
        _write_private(self.path / "suite.env", "".join(f"{name}={value}\n" for name, value in told.items()))

    def last_environment(self) -> dict[str, str]:
        return _read(self.path / "suite.env")

    @contextmanager
    def only_suite(self) -> Iterator[IO[str]]:
        """Hold the directory: a second suite over it, or a republish under a running one, is refused."""
        with (self.path / "suite.pid").open("a+") as lock:
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except OSError:
                lock.seek(0)
                raise CannotStart(
                    f"a suite is running over {self.path} (process {lock.read().strip() or 'unknown'}): stop it first,"
                    " or name another directory in REGULARS_DATA_DIR"
                ) from None
            lock.truncate(0)
            lock.write(str(os.getpid()))
            lock.flush()
            try:
                yield lock
            finally:
                lock.truncate(0)

    def running_suite(self) -> int | None:
        """The process id of the suite that holds the directory."""
        try:
            with (self.path / "suite.pid").open() as lock:
                try:
                    fcntl.flock(lock, fcntl.LOCK_SH | fcntl.LOCK_NB)
                except OSError:
                    return int(lock.read().strip() or 0) or None
        except (OSError, ValueError):
            pass
        return None

    @contextmanager
    def server(self, environment: Mapping[str, str] = os.environ) -> Iterator["Server"]:
        """The Postgres to use: DATABASE_URL's, or the directory's own – found running and left so, or started and
        stopped again."""
        if given := environment.get("DATABASE_URL"):
            yield Server.given(given)
            return
        data = self.path / "postgres"
        # A running suite starts its Postgres again by itself, on the port that its processes know.
        if self.running_suite() not in (None, os.getpid()):
            cluster = postgres.await_running(data)
        else:
            cluster = postgres.start(data)
        server = Server(cluster.url(), PREFIX, cluster)
        try:
            yield server
        finally:
            if server.cluster is not None and not server.cluster.adopted:
                server.cluster.stop()

    def secrets(self, kinds: Sequence[type[Settings]], services: Sequence[str]) -> dict[str, str]:
        """The environment's secrets, made once and kept in ``secrets.env`` (mode 600): without them the sealed data
        cannot be read."""
        file = self.path / "secrets.env"
        kept = _read(file)
        fresh = {name: make() for name, make in _wanted(kinds, services) if name not in kept}
        if fresh:
            kept |= fresh
            _write_private(file, "".join(f"{name}={value}\n" for name, value in kept.items()))
        if not self.admin_key_file.exists():
            _write_private(self.admin_key_file, new_key(kept["REGULARS_KEY_PEPPER"])[0] + "\n")
        return kept

    def environment(
        self,
        server: "Server",
        bus: str,
        kinds: Mapping[str, type[Settings]],
        environment: Mapping[str, str] = os.environ,
    ) -> dict[str, str]:
        """The whole environment of the suite's processes; what the caller's environment says wins."""
        kept = self.secrets(list(kinds.values()), list(kinds))
        pepper = environment.get("REGULARS_KEY_PEPPER") or kept["REGULARS_KEY_PEPPER"]
        keys = {name: kept[f"REGULARS_{name.upper()}_SERVICE_KEY"] for name in kinds}
        keys["admin"] = self.admin_key_file.read_text().strip()
        port = environment.get("REGULARS_PORT") or "8080"
        address = f"http://127.0.0.1:{port}"
        own = {
            **kept,
            "REGULARS_ENVIRONMENT_KEYS": json.dumps(
                {name: hmac_of(key, pepper) for name, key in keys.items()}
            ),
            "REGULARS_BUS": bus,
            "REGULARS_PORT": port,
            "REGULARS_PUBLIC_URL": address,
            "REGULARS_MAILBOX_DIR": str(self.path / "mailbox"),
            "REGULARS_AUDIT_ANCHORS": str(self.path / "audit-anchors.jsonl"),
            **{f"REGULARS_{name.upper()}_URL": address for name in kinds},
            **{f"REGULARS_{name.upper()}_DATABASE_URL": server.database(name) for name in kinds},
        }
        return own | {name: value for name, value in environment.items() if value}

    def remembered_bus(self) -> str | None:
        """Which bus this directory's events are on: ``postgresql`` or ``kafka``; None before the first start."""
        try:
            return (self.path / "bus").read_text().strip() or None
        except FileNotFoundError:
            return None

    def remember_bus(self, bus: str) -> None:
        _write_private(self.path / "bus", bus_kind(bus) + "\n")

    def refuse_other_bus(self, bus: str) -> None:
        """Raises CannotStart where the events of this directory are on another bus."""
        kept = self.remembered_bus()
        if kept not in (None, bus_kind(bus)):
            here, there = _BUS_NAMES[str(kept)], _BUS_NAMES[bus_kind(bus)]
            raise CannotStart(
                f"the events of {self.path} are on {here}; to move them to {there}, run once, with the same"
                " settings: python -m services republish"
            )


@dataclass
class Server:
    """A Postgres server and how the suite's databases are called on it."""

    url: str
    prefix: str
    cluster: postgres.Cluster | None = None

    @classmethod
    def given(cls, url: str) -> "Server":
        """``postgresql://user@host/name``: the databases will be name_profile, …; name must exist."""
        parts = urlsplit(url)
        if not parts.scheme.startswith("postgres"):
            raise CannotStart("DATABASE_URL must begin with postgresql://")
        return cls(urlunsplit(parts._replace(scheme="postgresql")), parts.path.strip("/") or PREFIX)

    def database(self, name: str) -> str:
        return urlunsplit(urlsplit(self.url)._replace(path=f"/{self.prefix}_{name}"))

    def revive(self) -> bool:
        """Start the directory's Postgres again where it has died, on the port that everybody knows; whether it had.

        Raises CannotStart.
        """
        if self.cluster is None or self.cluster.is_running():
            return False
        if (
            other := postgres.find_running(self.cluster.data)
        ) is not None and other.port != self.cluster.port:
            other.stop()
        self.cluster = postgres.start(self.cluster.data, port=self.cluster.port)
        return True

    def create_databases(self, names: Iterable[str]) -> None:
        """Make the databases that are missing; raises CannotStart where the server cannot be asked or refuses."""
        wanted = [f"{self.prefix}_{name}" for name in names]
        try:
            with psycopg.connect(self.url, autocommit=True, connect_timeout=5) as connection:
                there = {row[0] for row in connection.execute("select datname from pg_database")}
                for name in wanted:
                    if name not in there:
                        connection.execute(f'create database "{name}"')
        except psycopg.OperationalError as error:
            raise CannotStart(
                f"DATABASE_URL cannot be reached: {str(error).strip().splitlines()[-1]}"
            ) from error
        except psycopg.Error as error:
            raise CannotStart(f"the databases {', '.join(wanted)} cannot be made: {error}") from error

    def check_connections(self, needed: int) -> None:
        """Raises CannotStart where the server grants fewer connections than the suite's pools may open."""
        with psycopg.connect(self.url, connect_timeout=5) as connection:
            row = connection.execute(
                "select current_setting('max_connections')::int - current_setting('superuser_reserved_connections')::int"
            ).fetchone()
        if row and row[0] < needed:
            raise CannotStart(
                f"the suite needs {needed} connections and the server grants {row[0]} (max_connections)"
            )


def bus_of(environment: Mapping[str, str], server: Server) -> str:
    """KAFKA=host:port, REGULARS_BUS, or the bus in the suite's own Postgres."""
    if kafka := environment.get("KAFKA"):
        return kafka if "://" in kafka else f"kafka://{kafka}"
    return environment.get("REGULARS_BUS") or server.database(BUS_DATABASE)


_BUS_NAMES = {"postgresql": "the embedded bus in Postgres", "kafka": "Kafka"}


def bus_kind(bus: str) -> str:
    return "kafka" if urlsplit(bus).scheme == "kafka" else "postgresql"


def _wanted(
    kinds: Sequence[type[Settings]], services: Sequence[str]
) -> Iterator[tuple[str, Callable[[], str]]]:
    yield "REGULARS_KEY_PEPPER", lambda: secrets.token_hex(32)
    yield "REGULARS_SEALING_KEYS", lambda: "k1:" + base64.b64encode(secrets.token_bytes(32)).decode()
    for name in services:
        yield f"REGULARS_{name.upper()}_SERVICE_KEY", lambda: new_key("")[0]
    # Whatever else a service cannot start without and calls a key, e.g. the one that signs links.
    for kind in kinds:
        for field, about in kind.model_fields.items():
            if field.endswith("_key") and about.is_required():
                yield f"REGULARS_{field.upper()}", lambda: secrets.token_hex(32)


def _read(file: Path) -> dict[str, str]:
    try:
        lines = file.read_text().splitlines()
    except FileNotFoundError:
        return {}
    except OSError as error:
        raise CannotStart(f"{file} cannot be read: {error.strerror}") from error
    return dict(line.split("=", 1) for line in lines if "=" in line)


def _write_private(file: Path, content: str) -> None:
    """Whole or not at all, on disk, readable by its owner only."""
    beside = file.with_name(f"{file.name}.{os.getpid()}.tmp")
    with os.fdopen(os.open(beside, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "w") as output:
        output.write(content)
        output.flush()
        os.fsync(output.fileno())
    beside.replace(file)
    folder = os.open(file.parent, os.O_RDONLY)
    try:
        os.fsync(folder)
    finally:
        os.close(folder)
