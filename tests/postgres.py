"""A Postgres of the test's own, with fsync on, that may be killed."""

import contextlib
import os
import signal
import time
from pathlib import Path
from types import TracebackType

from shared.embedded import postgres


class Postgres:
    """Runs in ``directory`` while the context is open; ``kill`` is kill -9 of the postmaster."""

    def __init__(self, directory: Path, **settings: str) -> None:
        self.directory = directory
        self.settings = {"max_connections": "200", **settings}
        self.port: int | None = None

    def start(self) -> None:
        """Up again on the port that it had; recovery is over when this returns."""
        end = time.monotonic() + 60
        while True:
            try:
                self.cluster = postgres.start(self.directory, port=self.port, settings=self.settings)
                self.port = self.cluster.port
                return
            except postgres.CannotStart:
                # The killed server's last backends still hold its shared memory or its port.
                if self.port is None or time.monotonic() > end:
                    raise
                time.sleep(0.2)

    def kill(self) -> None:
        os.kill(self.cluster.pid, signal.SIGKILL)
        if self.cluster.process:
            self.cluster.process.wait()

    @property
    def url(self) -> str:
        return self.cluster.url()

    def __enter__(self) -> "Postgres":
        self.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        with contextlib.suppress(ProcessLookupError):
            self.cluster.stop()
