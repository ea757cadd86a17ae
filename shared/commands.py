"""``python -m services.<name> …``: the command line of one service."""

import argparse
import sys
import threading
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from typing import Any

from shared import logs, migrate, processes
from shared.messaging.bus import open_bus
from shared.service import Service
from shared.settings import Settings, SettingsError


def main(service: Service, arguments: Sequence[str] | None = None) -> int:
    """Run one command; the exit code. Errors of the environment are one clear line on standard error."""
    parser = argparse.ArgumentParser(prog=f"python -m services.{service.name}")
    commands = parser.add_subparsers(dest="command", required=True, metavar="COMMAND")
    commands.add_parser("api", help="answer HTTP requests")
    commands.add_parser("relay", help="publish what the outbox holds")
    commands.add_parser("react", help="apply the events of the other services")
    commands.add_parser("work", help="jobs, steps and scheduled work")
    commands.add_parser("migrate", help="bring the database to the current tables")
    job = commands.add_parser("job", help="run one entry of the schedule now, e.g. from a CronJob")
    job.add_argument("name", choices=[entry.name for entry in service.schedule] or None)
    parked = commands.add_parser("parked", help="list parked events, or decide about one")
    parked.add_argument("decision", nargs="?", choices=["retry", "discard", "accept-gap"])
    parked.add_argument("id", nargs="?", help="the parked event's id")
    for name, command in service.commands.items():
        own = commands.add_parser(name, help=(command.__doc__ or "").strip().partition("\n")[0])
        own.add_argument("rest", nargs=argparse.REMAINDER)
    given = parser.parse_args(arguments)
    if given.command == "parked" and (given.decision is None) != (given.id is None):
        parser.error("parked: name a decision and an id, or nothing to list all")

    try:
        settings = service.settings.from_environment(service.name)
    except SettingsError as error:
        print(error, file=sys.stderr)
        return 2
    logs.configure(
        service.name, stream=sys.stderr if given.command in ("parked", *service.commands) else None
    )
    if given.command in service.commands:
        return service.commands[given.command](settings, *given.rest)
    return _COMMANDS[given.command](service, settings, given)


def _api(service: Service, settings: Settings, given: Any) -> int:
    from shared.auth.keys import open_keys
    from shared.http.app import new_app

    with processes.open_service(service, settings, "api") as opened:
        end_metrics = processes.start_metrics(settings.metrics_port)
        try:
            keys = open_keys(service, settings, opened.sessions)
            processes.serve(new_app(service, settings, opened.sessions, keys), settings)
        finally:
            end_metrics()
    return 0


def _relay(service: Service, settings: Settings, given: Any) -> int:
    return _run_loops(service, settings, "relay", lambda opened, bus: processes.relay_loops(opened, bus))


def _react(service: Service, settings: Settings, given: Any) -> int:
    return _run_loops(service, settings, "react", lambda opened, bus: processes.react_loops(opened, bus))


def _run_loops(
    service: Service, settings: Settings, role: str, loops: Callable[[processes.OpenService, Any], Any]
) -> int:
    stop = threading.Event()
    processes.stop_on_signals(stop)
    with ExitStack() as open_things:
        opened = open_things.enter_context(processes.open_service(service, settings, role))
        open_things.callback(processes.start_metrics(settings.metrics_port))
        bus = open_bus(settings.bus)
        open_things.callback(bus.close)
        processes.run_threads(loops(opened, bus), stop)
    return 0


def _work(service: Service, settings: Settings, given: Any) -> int:
    stop = threading.Event()
    processes.stop_on_signals(stop)
    with ExitStack() as open_things:
        opened = open_things.enter_context(
            processes.open_service(service, settings, "work", patient=True)
        )
        open_things.callback(processes.start_metrics(settings.metrics_port))
        processes.run_threads(processes.work_loops(opened), stop)
    return 0


def _migrate(service: Service, settings: Settings, given: Any) -> int:
    done = migrate.upgrade(settings.database_url, migrate.chains(service.name, service.migrations))
    print(f"{service.name}: {', '.join(done) or 'at head already'}")
    return 0


def _job(service: Service, settings: Settings, given: Any) -> int:
    from shared.jobs.schedule import Context
    from shared.jobs.scheduler import run_exclusively

    entry = next(entry for entry in service.schedule if entry.name == given.name)
    with processes.open_service(service, settings, "job", patient=True) as opened:
        if not run_exclusively(Context(settings, opened.sessions, opened.engine), entry):
            print(f"{entry.name} is running elsewhere")
    return 0


def _parked(service: Service, settings: Settings, given: Any) -> int:
    from shared.messaging import parked

    with processes.open_service(service, settings, "parked", pool_size=2) as opened:
        return parked.command(service, opened.sessions, given.decision, given.id)


_COMMANDS: dict[str, Callable[[Service, Settings, Any], int]] = {
    "api": _api,
    "relay": _relay,
    "react": _react,
    "work": _work,
    "migrate": _migrate,
    "job": _job,
    "parked": _parked,
}
