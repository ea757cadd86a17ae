"""``python -m services.<name> …``: the command line of one service."""

import argparse
import json
import sys
import threading
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from dataclasses import asdict
from typing import Any
from uuid import UUID

from shared import erasures, logs, migrate, processes
from shared.embedded.binaries import NoPostgres
from shared.embedded.postgres import CannotStart
from shared.embedded.surroundings import surroundings
from shared.errors import Refusal
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
    parked.add_argument("id", nargs="?", type=UUID, help="the parked event's id")
    audited = commands.add_parser(
        "audit", help="compare the audit log with its hashes and with what was told outside"
    )
    audited.add_argument("verb", choices=["verify"])
    audited.add_argument(
        "--anchors", help="a file of anchors or of log lines, instead of REGULARS_AUDIT_ANCHORS"
    )
    commands.add_parser("rotate-keys", help="wrap every data key with the current key of the environment")
    again = commands.add_parser(
        "reapply-erasures", help="after a restore: forget once more who was erased since the backup"
    )
    again.add_argument(
        "--anchors", help="a file of anchors or of log lines, instead of REGULARS_AUDIT_ANCHORS"
    )
    again.add_argument("--no-bus", action="store_true", help="do not read profile's topic")
    for name, command in service.commands.items():
        own = commands.add_parser(name, help=(command.__doc__ or "").strip().partition("\n")[0])
        own.add_argument("rest", nargs=argparse.REMAINDER)
    given = parser.parse_args(arguments)
    if given.command == "parked" and (given.decision is None) != (given.id is None):
        parser.error("parked: name a decision and an id, or nothing to list all")

    try:
        if given.command not in _BESIDE and given.command not in service.commands:
            logs.configure(service.name)
            return _COMMANDS[given.command](service, service.settings.from_environment(service.name), given)
        logs.configure(service.name, stream=sys.stderr)
        with surroundings({service.name: service.settings}) as settings:
            if given.command == "audit":
                return _audit(service, settings[service.name], given.anchors)
            if given.command == "rotate-keys":
                return _rotate_keys(service, settings[service.name])
            if given.command == "reapply-erasures":
                return _reapply_erasures(service, settings[service.name], given.anchors, bus=not given.no_bus)
            if given.command == "parked":
                return _parked(service, settings[service.name], given.decision, given.id)
            return service.commands[given.command](settings[service.name], *given.rest)
    except (SettingsError, CannotStart, NoPostgres) as error:
        print(error, file=sys.stderr)
        return 2


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
        opened = open_things.enter_context(processes.open_service(service, settings, "work", patient=True))
        open_things.callback(processes.start_metrics(settings.metrics_port))
        processes.run_threads(processes.work_loops(opened), stop)
    return 0


def _migrate(service: Service, settings: Settings, given: Any) -> int:
    done = migrate.upgrade(settings.database_url, migrate.chains(service.name, service.migrations))
    print(f"{service.name}: {', '.join(done) or 'at head already'}")
    with processes.open_service(service, settings, "migrate", pool_size=2, patient=True) as opened:
        if again := erasures.reapply(service, opened.sessions, erasures.in_file(settings)):
            print(f"{service.name}: {again} erasures reapplied")
    return 0


def _job(service: Service, settings: Settings, given: Any) -> int:
    from shared.jobs.schedule import Context
    from shared.jobs.scheduler import run_exclusively

    entry = next(entry for entry in service.schedule if entry.name == given.name)
    with processes.open_service(service, settings, "job", patient=True) as opened:
        if not run_exclusively(Context(settings, opened.sessions, opened.engine), entry):
            print(f"{entry.name} is running elsewhere")
    return 0


def _parked(service: Service, settings: Settings, decision: str | None, event_id: UUID | None) -> int:
    """One JSON object a line; a refusal is one on standard error."""
    from shared.messaging import parked

    decide = {"retry": parked.retry, "discard": parked.discard, "accept-gap": parked.accept_gap}
    with (
        processes.open_service(service, settings, "parked", pool_size=1) as opened,
        opened.sessions.begin() as session,
    ):
        try:
            if decision is None or event_id is None:
                events = parked.listing(session, limit=1_000)
            else:
                events = [decide[decision](session, event_id)]
        except Refusal as refusal:
            print(json.dumps({"code": refusal.code, "message": refusal.message}), file=sys.stderr)
            return 1
    for event in events:
        print(json.dumps(event._asdict(), default=str, ensure_ascii=False))
    return 0


def _audit(service: Service, settings: Settings, file: str | None) -> int:
    """What was found, as JSON; 1 where something was."""
    from shared.audit.verification import verify

    with (
        processes.open_service(service, settings, "audit", pool_size=1, patient=True) as opened,
        opened.sessions() as session,
    ):
        found = verify(session, service.audited_rows, file=file)
    print(json.dumps({"service": service.name, "intact": found.intact, **asdict(found)}, indent=2))
    return 0 if found.intact else 1


def _reapply_erasures(service: Service, settings: Settings, file: str | None, *, bus: bool) -> int:
    """How many erasures are known outside of the database, and how many it had forgotten of; as JSON."""
    known = erasures.in_file(settings, file)
    if bus:
        opened_bus = open_bus(settings.bus)
        try:
            there = {one.customer_id for one in known}
            known += [one for one in erasures.in_topic(opened_bus) if one.customer_id not in there]
        finally:
            opened_bus.close()
    with processes.open_service(service, settings, "erasures", pool_size=2, patient=True) as opened:
        again = erasures.reapply(service, opened.sessions, known)
    print(json.dumps({"service": service.name, "erasures_known": len(known), "erasures_reapplied": again}))
    return 0


def _rotate_keys(service: Service, settings: Settings) -> int:
    """The job that ``work`` will do, and what each key wraps now; as JSON."""
    from shared import key_rotation

    with (
        processes.open_service(service, settings, "rotate-keys", pool_size=1) as opened,
        opened.sessions.begin() as session,
    ):
        job_id = key_rotation.start(session, "command line")
        wrapped = key_rotation.wrapped_by(session)
    print(json.dumps({"service": service.name, "job": str(job_id), "wrapped": wrapped}))
    return 0


# Commands that look at a running deployment from beside it.
_BESIDE = ("parked", "audit", "reapply-erasures", "rotate-keys")

_COMMANDS: dict[str, Callable[[Service, Settings, Any], int]] = {
    "api": _api,
    "relay": _relay,
    "react": _react,
    "work": _work,
    "migrate": _migrate,
    "job": _job,
}
