"""A Kafka of the test's own, that may be killed."""

import contextlib
import os
import signal
from pathlib import Path
from types import TracebackType
from typing import Any

from tests.kafka import broker_module


class Broker:
    """Runs over ``directory`` while the context is open; ``kill`` is kill -9, ``start`` comes back on the same port."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self.port = 0

    def start(self) -> None:
        self.running: Any = broker_module().start(self.directory, port=self.port)
        self.port = self.running.port

    def kill(self) -> None:
        os.kill(self.running.pid, signal.SIGKILL)
        with contextlib.suppress(ChildProcessError):
            os.waitpid(self.running.pid, 0)

    @property
    def url(self) -> str:
        return f"kafka://{self.running.address}?replication=1"

    def __enter__(self) -> "Broker":
        self.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.running.stop()
