"""A database with the tables of shared/ alone, and a bus of either kind."""

import os
import secrets
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from typing import Any

import psycopg
import pytest

from shared import migrate
from shared.messaging.bus import Bus, open_bus
from tests.shared.messaging.world import EFFECTS, Vocabulary, World


@pytest.fixture(scope="session")
def messaging_template(cluster: Any) -> Iterator[str]:
    name = f"template_messaging_{os.environ.get('PYTEST_XDIST_WORKER', 'main')}_{secrets.token_hex(3)}"
    cluster.execute(f'create database "{name}"')
    migrate.upgrade(cluster.url(name), [migrate.SHARED])
    with psycopg.connect(cluster.url(name)) as connection:
        connection.execute(EFFECTS)
    yield name
    cluster.execute(f'drop database if exists "{name}" with (force)')


@pytest.fixture
def worlds(cluster: Any, messaging_template: str) -> Iterator[Callable[[], World]]:
    """As many services' databases as a test needs."""
    with ExitStack() as stack:

        def new() -> World:
            world = World(stack.enter_context(cluster.copy(messaging_template)))
            stack.callback(world.engine.dispose)
            return world

        yield new


@pytest.fixture
def world(worlds: Callable[[], World]) -> World:
    return worlds()


@pytest.fixture
def vocabulary() -> Vocabulary:
    return Vocabulary()


@pytest.fixture(params=["postgres", "kafka"])
def bus_url(request: pytest.FixtureRequest, empty_database: str) -> str:
    if request.param == "postgres":
        return empty_database
    url: str = request.getfixturevalue("kafka")
    return url


@pytest.fixture
def bus(bus_url: str) -> Iterator[Bus]:
    bus = open_bus(bus_url)
    yield bus
    bus.close()
