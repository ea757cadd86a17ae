"""A small company: events by natural names, applied as a run or through the consumer."""

from collections.abc import Callable
from typing import Any

import pytest

from services.scoring.app import SERVICE
from tests.scoring.world import World


@pytest.fixture
def scoring(service: Callable[..., Any]) -> Any:
    return service(SERVICE)


@pytest.fixture
def world(scoring: Any) -> World:
    return World(scoring)
