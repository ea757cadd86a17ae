"""Read every topic again, or fill an empty bus from the outboxes."""

import os
from collections.abc import Mapping
from contextlib import ExitStack

from services.suite.members import kinds, services
from shared import processes
from shared.embedded.directory import BUS_DATABASE, DataDirectory, bus_kind, bus_of
from shared.embedded.postgres import CannotStart
from shared.embedded.surroundings import is_deployed, read, surroundings
from shared.messaging import react
from shared.messaging.bus import open_bus
from shared.settings import Settings


def replay() -> dict[str, int]:
    """Every consumer reads every topic from its start; each event finds its watermark and changes nothing."""
    reread = applied = 0
    with surroundings(kinds()) as settings, ExitStack() as open_things:
        bus = open_bus(next(iter(settings.values())).bus)
        open_things.callback(bus.close)
        for service in services():
            opened = open_things.enter_context(
                processes.open_service(service, settings[service.name], "replay", pool_size=2, patient=True)
            )
            done = react.replay(opened.sessions, bus, service.consumers)
            reread, applied = reread + done.reread, applied + done.applied
    return {"events_reread": reread, "events_applied": applied}


def republish(environment: Mapping[str, str] = os.environ) -> dict[str, int]:
    """Fill the bus that the environment names (KAFKA=host:port, or the one in Postgres), which must be empty.

    Afterwards the data directory belongs to that bus. Raises CannotStart while the suite runs or where the bus holds
    events already.
    """
    if is_deployed(kinds(), environment):
        return {"events_published": _republish(read(kinds(), environment))}
    directory = DataDirectory.of_environment(environment)
    directory.must_exist()
    told = {**directory.last_environment(), **environment}
    for name in ("KAFKA", "REGULARS_BUS"):
        if not environment.get(name):
            told.pop(name, None)
    with directory.only_suite(), directory.server(told) as server:
        bus = bus_of(told, server)
        if bus_kind(bus) == "postgresql":
            server.create_databases([BUS_DATABASE])
        published = _republish(read(kinds(), directory.environment(server, bus, kinds(), told)))
        directory.remember_bus(bus)
        directory.remember(told)
    return {"events_published": published}


def _republish(settings: Mapping[str, Settings]) -> int:
    published = 0
    with ExitStack() as open_things:
        bus = open_bus(next(iter(settings.values())).bus)
        open_things.callback(bus.close)
        if not bus.is_empty():
            raise CannotStart("the bus holds events already; republish fills an empty one only")
        for service in services():
            opened = open_things.enter_context(
                processes.open_service(
                    service, settings[service.name], "republish", pool_size=2, patient=True
                )
            )
            published += react.republish(opened.engine, bus)
    return published
