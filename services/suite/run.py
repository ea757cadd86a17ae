"""``python -m services``: the API of all four services on one port, and the children that work beside it."""

import gc
import os
import signal
import socket
import threading
import time
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, closing, contextmanager, suppress
from http.client import HTTPConnection, HTTPException
from pathlib import Path

from services.suite.children import connections
from services.suite.family import Family
from services.suite.gateway import Gateway
from services.suite.members import NAMES, kinds, services
from shared import erasures, logs, migrate, processes
from shared.auth.keys import open_keys
from shared.database import open_engine
from shared.embedded.directory import BUS_DATABASE, DataDirectory, Server, bus_kind, bus_of
from shared.embedded.postgres import CannotStart, find_running
from shared.embedded.surroundings import read
from shared.http.app import new_app
from shared.messaging import partitions
from shared.settings import Settings

MOST_CONNECTIONS = 60


def run(environment: Mapping[str, str] = os.environ) -> int:
    """Start everything, serve until Ctrl-C or SIGTERM, stop everything. Raises CannotStart with a message for people."""
    stop = threading.Event()
    processes.stop_on_signals(stop)
    directory = DataDirectory.of_environment(environment)
    directory.prepare()
    with ExitStack() as open_things:
        listener = open_things.enter_context(_listen(environment))
        lock = open_things.enter_context(directory.only_suite())
        server = open_things.enter_context(_server(directory, environment))
        bus = bus_of(environment, server)
        directory.refuse_other_bus(bus)
        settings = _prepare(directory, server, bus, environment)
        _say_where(directory, server, bus, environment)
        if stop.is_set():
            return 0
        _log_to(directory.path / "suite.log")
        family = Family(
            {**os.environ, **directory.environment(server, bus, kinds(), environment)},
            directory.path / "suite.log",
            listener,
            lock,
        )
        # What the children share with this process in memory is what it has loaded by now.
        gc.freeze()
        family.start("react", "work")
        open_things.callback(family.stop)
        _serve(directory, settings, listener, server, family, stop)
        print("stopping …", flush=True)
    return 0


def _listen(environment: Mapping[str, str]) -> socket.socket:
    """Take the port before anything is started, so that a taken one is known at once."""
    port = int(environment.get("REGULARS_PORT") or 8080)
    host = environment.get("REGULARS_HOST") or "127.0.0.1"
    listener = socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET)
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        listener.bind((host, port))
        listener.listen(1024)
    except OSError as error:
        listener.close()
        raise CannotStart(
            f"port {port} on {host} cannot be used ({error.strerror}): set REGULARS_PORT to another one"
        ) from error
    return listener


@contextmanager
def _server(directory: DataDirectory, environment: Mapping[str, str]) -> Iterator[Server]:
    """The server of this suite; a Postgres that a killed suite left is adopted, and this suite's to stop."""
    with directory.server(environment) as server:
        try:
            yield server
        finally:
            if server.cluster is not None and server.cluster.adopted:
                server.cluster.stop()


def _prepare(
    directory: DataDirectory, server: Server, bus: str, environment: Mapping[str, str]
) -> dict[str, Settings]:
    """Databases, tables, secrets: everything that must be there before a process starts."""
    own_bus = [] if bus_kind(bus) == "kafka" else [BUS_DATABASE]
    server.create_databases([*NAMES, *own_bus])
    settings = read(kinds(), directory.environment(server, bus, kinds(), environment))
    for service in services():
        url = settings[service.name].database_url
        if done := migrate.upgrade(url, migrate.chains(service.name, service.migrations)):
            print(f"migrated {service.name}: {', '.join(done)}", flush=True)
        engine = open_engine(url, pool_size=1)
        with engine.connect() as connection:
            partitions.ensure(connection)
        engine.dispose()
        # A restored database forgets again before it serves.
        if known := erasures.in_file(settings[service.name]):
            with processes.open_service(
                service, settings[service.name], "erasures", pool_size=2, patient=True
            ) as opened:
                if again := erasures.reapply(service, opened.sessions, known):
                    print(f"{service.name}: {again} erasures reapplied", flush=True)
    needed = connections(settings)
    if needed > MOST_CONNECTIONS:
        raise CannotStart(f"the suite's pools add up to {needed} connections; {MOST_CONNECTIONS} is the most")
    server.check_connections(needed)
    directory.remember(environment)
    directory.remember_bus(bus)
    return settings


def _say_where(directory: DataDirectory, server: Server, bus: str, environment: Mapping[str, str]) -> None:
    if server.cluster is None:
        print("Postgres: DATABASE_URL", flush=True)
    else:
        found = "found running" if server.cluster.adopted else "started"
        print(f"Postgres: {found}, data in {directory.shown(directory.path / 'postgres')}", flush=True)
    print(
        f"events: {'Kafka, ' + bus.removeprefix('kafka://') if bus_kind(bus) == 'kafka' else 'in Postgres'}",
        flush=True,
    )
    if not (environment.get("REGULARS_SMTP_URL") or environment.get("REGULARS_CAMPAIGNS_SMTP_URL")):
        print(
            f"no SMTP server is set (REGULARS_SMTP_URL): messages go to {directory.shown(directory.path / 'mailbox')}/",
            flush=True,
        )


def _log_to(file: Path) -> None:
    """Everything that is logged goes to a file: the terminal is for the few lines that a person needs."""
    if file.exists() and file.stat().st_size > 20_000_000:
        file.replace(file.with_suffix(".log.1"))
    logs.configure("suite", stream=file.open("a", buffering=1, encoding="utf-8"))


def _serve(
    directory: DataDirectory,
    settings: Mapping[str, Settings],
    listener: socket.socket,
    server: Server,
    family: Family,
    stop: threading.Event,
) -> None:
    with ExitStack() as open_things:
        applications = {}
        for service in services():
            own = settings[service.name]
            opened = open_things.enter_context(processes.open_service(service, own, "api"))
            keys = open_keys(service, own, opened.sessions)
            applications[service.name] = new_app(service, own, opened.sessions, keys)
        first = settings[NAMES[0]]
        open_things.callback(processes.start_metrics(first.metrics_port))
        threading.Thread(target=family.look_after, args=(stop,), name="family", daemon=True).start()
        threading.Thread(
            target=_look_after_postgres, args=(server, stop), name="postgres", daemon=True
        ).start()
        threading.Thread(
            target=_announce_ready, args=(directory, first.port, stop), name="ready", daemon=True
        ).start()
        processes.serve(Gateway(applications), first, stop=stop, bound=listener)
        stop.set()


def _look_after_postgres(server: Server, stop: threading.Event) -> None:
    """Until ``stop``: a Postgres that died is started again; every pool finds its way back by itself."""
    while not stop.wait(1.0):
        try:
            if server.revive():
                print("Postgres ended and was started again", flush=True)
        except CannotStart as problem:
            print(f"Postgres ended: {problem}", flush=True)
            stop.wait(5)


def _announce_ready(directory: DataDirectory, port: int, stop: threading.Event) -> None:
    """Say it when it is true: all four answer, with their databases behind them."""
    while not stop.is_set():
        connection = HTTPConnection("127.0.0.1", port, timeout=5)
        with suppress(OSError, HTTPException), closing(connection):
            connection.request("GET", "/readyz")
            if connection.getresponse().status == 200:
                key_file = directory.shown(directory.admin_key_file)
                print(f"ready at http://127.0.0.1:{port} · key in {key_file}", flush=True)
                return
        time.sleep(0.05)


def down(environment: Mapping[str, str] = os.environ) -> int:
    """Stop the suite of the data directory, and a Postgres that a killed one left."""
    directory = DataDirectory.of_environment(environment)
    if (suite := directory.running_suite()) is not None:
        os.kill(suite, signal.SIGTERM)
        for _ in range(300):
            if directory.running_suite() is None:
                break
            time.sleep(0.1)
        print(f"stopped the suite (process {suite})")
    if (cluster := find_running(directory.path / "postgres")) is not None:
        cluster.stop()
        print("stopped Postgres")
    return 0
