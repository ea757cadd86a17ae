"""The settings of services, for a command that looks at a suite from outside."""

import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager

from shared.embedded.directory import DataDirectory, bus_of
from shared.settings import Settings

Kinds = Mapping[str, type[Settings]]


def is_deployed(kinds: Kinds, environment: Mapping[str, str] = os.environ) -> bool:
    """Whether the environment says where the databases are, as on a cluster."""
    if len(kinds) == 1 and environment.get("REGULARS_DATABASE_URL"):
        return True
    return all(environment.get(f"REGULARS_{name.upper()}_DATABASE_URL") for name in kinds)


@contextmanager
def surroundings(kinds: Kinds, environment: Mapping[str, str] = os.environ) -> Iterator[dict[str, Settings]]:
    """A deployment whose environment is given is used as it is; else it is the suite of the data directory, running or
    not: where its Postgres is down it is started, and stopped again at the end.

    Raises CannotStart where there is neither.
    """
    if is_deployed(kinds, environment):
        yield read(kinds, environment)
        return
    directory = DataDirectory.of_environment(environment)
    directory.must_exist()
    told = {**directory.last_environment(), **environment}
    with directory.server(told) as server:
        yield read(kinds, directory.environment(server, bus_of(told, server), kinds, told))


def read(kinds: Kinds, environment: Mapping[str, str]) -> dict[str, Settings]:
    """Raises SettingsError naming what is missing or wrong."""
    return {name: kind.from_environment(name, environment) for name, kind in kinds.items()}
