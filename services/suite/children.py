"""The suite's processes beside its API: ``react`` (relays and consumers of all four) and ``work``."""

import os
import threading
from collections.abc import Mapping
from contextlib import ExitStack

from services.suite.members import kinds, services
from shared import processes
from shared.embedded.surroundings import read
from shared.messaging.bus import open_bus
from shared.service import Service
from shared.settings import Settings


# Connections of one service's engine in each process. Together with the API's four pools of 8 and the bus they stay
# within the 60 that the suite promises (connections()).
def work_pool(service: Service) -> int:
    """What runs at set times holds its lock and a session; a service's own jobs take one more."""
    return 3 if service.jobs else 2


def react_pool(service: Service) -> int:
    """The relay's leading connection and its upkeep, and one per consumer."""
    return 2 + len(service.consumers)


def connections(settings: Mapping[str, Settings]) -> int:
    """The most connections that all processes of the suite may hold at once."""
    api = sum(settings[service.name].pool_size for service in services())
    react = sum(react_pool(service) for service in services())
    # The embedded bus: one connection that publishes, one per consumer, one that measures the lag.
    readers = sum(len(service.consumers) for service in services())
    bus = 0 if next(iter(settings.values())).is_kafka() else 2 + readers
    return api + react + bus + sum(work_pool(service) for service in services())


def run_child(role: str, lifeline: int, environment: Mapping[str, str] = os.environ) -> int:
    """Run one child until SIGTERM, or until the parent that holds the other end of ``lifeline`` is gone."""
    stop = threading.Event()
    processes.stop_on_signals(stop)
    threading.Thread(target=_follow_parent, args=(lifeline, stop), name="lifeline", daemon=True).start()
    settings = read(kinds(), environment)
    try:
        (_react if role == "react" else _work)(settings, stop)
    except SystemExit as end:
        return int(end.code or 0)
    return 0


def _follow_parent(lifeline: int, stop: threading.Event) -> None:
    """A pipe closes with the process that holds it, even by kill -9: nothing may go on writing without its parent."""
    os.read(lifeline, 1)
    stop.set()
    threading.Event().wait(processes.GRACE + 2)
    os._exit(1)


def _react(settings: Mapping[str, Settings], stop: threading.Event) -> None:
    with ExitStack() as open_things:
        bus = open_bus(next(iter(settings.values())).bus)
        open_things.callback(bus.close)
        loops = []
        for service in services():
            opened = open_things.enter_context(
                processes.open_service(
                    service, settings[service.name], "react", pool_size=react_pool(service)
                )
            )
            loops += processes.relay_loops(opened, bus) + processes.react_loops(opened, bus)
        processes.run_threads(loops, stop)


def _work(settings: Mapping[str, Settings], stop: threading.Event) -> None:
    with ExitStack() as open_things:
        loops = []
        for service in services():
            opened = open_things.enter_context(
                processes.open_service(
                    service, settings[service.name], "work", pool_size=work_pool(service), patient=True
                )
            )
            loops += processes.work_loops(opened)
        processes.run_threads(loops, stop)
