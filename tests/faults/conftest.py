"""How much is done to a deployment of separate processes, and a broker that may be hurt.

`make faults` runs the sizes that promises.md names (REGULARS_FAULTS=full); CI runs a short smoke of the same tests.
"""

import os
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.broker import Broker

FULL = os.environ.get("REGULARS_FAULTS") == "full"
collect_ignore = [] if FULL else ["test_canaries.py"]


@pytest.fixture(scope="session")
def size() -> Callable[[int, int], int]:
    """size(smoke, full): how much of something this run does."""
    return lambda smoke, full: full if FULL else smoke


@pytest.fixture
def own_broker(tmp_path: Path, kafka: str) -> Iterator[Broker]:
    """A broker of this test's own; ``kafka`` is asked for because where that one cannot be had, neither can this."""
    with Broker(tmp_path / "kafka") as broker:
        yield broker
