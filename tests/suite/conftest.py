"""All services as separate processes over real Kafka and Postgres, once for the whole folder."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.deployment import Deployment, deployed


@pytest.fixture(scope="session")
def suite(tmp_path_factory: pytest.TempPathFactory, cluster: Any, kafka: str) -> Iterator[Deployment]:
    directory: Path = tmp_path_factory.mktemp("suite")
    with deployed(directory, cluster.url(), kafka) as running:
        yield running
