"""Who belongs to the suite, and with which settings each is run."""

import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from functools import cache

from shared.embedded.directory import DataDirectory, Server
from shared.service import Service
from shared.settings import Settings

NAMES = ("profile", "scoring", "campaigns", "feedback")
BUS_DATABASE = "bus"


@cache
def services() -> tuple[Service, ...]:
    """The four services. Importing them takes a second: only who needs them calls this."""
    from services.campaigns.app import SERVICE as CAMPAIGNS
    from services.feedback.app import SERVICE as FEEDBACK
    from services.profile.app import SERVICE as PROFILE
    from services.scoring.app import SERVICE as SCORING

    return PROFILE, SCORING, CAMPAIGNS, FEEDBACK


def settings_kinds() -> dict[str, type[Settings]]:
    return {service.name: service.settings for service in services()}


def bus_of(environment: Mapping[str, str], server: Server) -> str:
    """KAFKA=host:port, REGULARS_BUS, or the bus in the suite's own Postgres."""
    if kafka := environment.get("KAFKA"):
        return kafka if "://" in kafka else f"kafka://{kafka}"
    return environment.get("REGULARS_BUS") or server.database(BUS_DATABASE)


def is_deployed(environment: Mapping[str, str]) -> bool:
    """Whether the environment names every service's database itself, as on a cluster."""
    return all(environment.get(f"REGULARS_{name.upper()}_DATABASE_URL") for name in NAMES)


@contextmanager
def surroundings() -> Iterator[dict[str, Settings]]:
    """The settings of all services, for a command that looks at a suite from outside.

    A deployment whose environment is given (REGULARS_<SERVICE>_DATABASE_URL …) is used as it is; else it is the suite
    of the data directory, running or not: where its Postgres is down it is started, and stopped again at the end.
    """
    if is_deployed(os.environ):
        yield read(os.environ)
        return
    directory = DataDirectory.of_environment()
    directory.must_exist()
    environment = directory.last_environment() | dict(os.environ)
    with directory.server(environment) as server:
        yield read(directory.environment(server, bus_of(environment, server), settings_kinds(), environment))


def read(environment: Mapping[str, str]) -> dict[str, Settings]:
    return {
        service.name: service.settings.from_environment(service.name, environment) for service in services()
    }
