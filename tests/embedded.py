"""The whole suite on its embedded defaults, as `make run` starts it, in a data directory of the test's own."""

import contextlib
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import psutil

from tests.deployment import ROOT, free_port, proportional_set_size


class EmbeddedSuite:
    """`python -m services` with a port and a data directory; ``directory`` survives stop and kill."""

    def __init__(self, directory: Path, **settings: str) -> None:
        self.directory, self.port = directory, free_port()
        kept = {n: v for n, v in os.environ.items() if not n.startswith("REGULARS_") and n != "DATABASE_URL"}
        self.environment = {
            **kept,
            "REGULARS_DATA_DIR": str(directory),
            "REGULARS_PORT": str(self.port),
            **settings,
        }
        self.popen: subprocess.Popen[bytes] | None = None

    def start(self, seconds: float = 120) -> float:
        """Seconds until ready."""
        began = time.monotonic()
        with (self.directory.parent / f"{self.directory.name}.log").open("ab") as log:
            self.popen = subprocess.Popen(
                [sys.executable, "-m", "services"],
                env=self.environment,
                cwd=ROOT,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
            )
        while True:
            with contextlib.suppress(httpx.HTTPError):
                replies = [
                    httpx.get(f"{self.url}/{s}/readyz")
                    for s in ("profile", "scoring", "campaigns", "feedback")
                ]
                if all(reply.status_code == 200 for reply in replies):
                    return time.monotonic() - began
            assert self.popen.poll() is None, "the suite ended at its start"
            assert time.monotonic() < began + seconds, "the suite did not become ready"
            time.sleep(0.05)

    def stop(self) -> int:
        assert self.popen
        if self.popen.poll() is None:
            self.popen.send_signal(signal.SIGTERM)
        return self.popen.wait(60)

    def kill(self) -> None:
        """kill -9 of the suite's own process; its children notice by themselves, Postgres stays behind."""
        assert self.popen
        self.popen.kill()
        self.popen.wait()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def client(self, service: str) -> httpx.Client:
        key = (self.directory / "admin.key").read_text().strip()
        return httpx.Client(
            base_url=f"{self.url}/{service}/v1", headers={"Authorization": f"Bearer {key}"}, timeout=60
        )

    def command(self, *arguments: str, module: str = "services") -> Any:
        done = subprocess.run(
            [sys.executable, "-m", module, *arguments],
            env=self.environment,
            cwd=ROOT,
            capture_output=True,
            check=False,
        )
        assert done.returncode == 0, (done.stdout.decode()[-3000:], done.stderr.decode()[-3000:])
        return json.loads(done.stdout)

    def verify(self) -> dict[str, Any]:
        return dict(self.command("verify"))

    def hashes(self) -> dict[str, str]:
        return {service: told["state_hash"] for service, told in self.verify().items()}

    def settle(self, seconds: float = 300) -> dict[str, Any]:
        end = time.monotonic() + seconds
        while True:
            told = self.verify()
            if all(not part["outbox_pending"] and not part["behind"] for part in told.values()):
                return told
            assert time.monotonic() < end, f"not settled: {json.dumps(told)}"
            time.sleep(0.2)

    def processes(self) -> list[psutil.Process]:
        assert self.popen
        parent = psutil.Process(self.popen.pid)
        own = [parent]
        for child in parent.children(recursive=True):
            with contextlib.suppress(psutil.NoSuchProcess):  # one of Postgres's that ended meanwhile
                if "postgres" not in child.name():
                    own.append(child)
        return own

    def memory(self) -> dict[str, int]:
        """Proportional set size in bytes: of the suite's own processes and of Postgres's."""
        own = sum(proportional_set_size(process.pid) for process in self.processes())
        postmaster = int((self.directory / "postgres" / "postmaster.pid").read_text().split()[0])
        server = [psutil.Process(postmaster), *psutil.Process(postmaster).children(recursive=True)]
        return {"suite": own, "postgres": sum(proportional_set_size(process.pid) for process in server)}

    def import_file(self, file: Path, mapping: dict[str, Any], name: str = "retail") -> str:
        """Start the import; the job's id."""
        with self.client("profile") as client:
            reply = client.put(f"/import-mappings/{name}", json=mapping)
            assert reply.status_code in (200, 201), reply.text
            headers = {"Content-Type": "text/csv"}
            if file.suffix == ".gz":
                headers["Content-Encoding"] = "gzip"
            with file.open("rb") as content:
                reply = client.post(
                    "/imports",
                    params={"kind": "purchases", "mapping": name},
                    content=iter(lambda: content.read(1 << 16), b""),
                    headers=headers,
                )
            assert reply.status_code == 202, reply.text
            return reply.headers["Location"].rsplit("/", 1)[1]

    def job(self, job_id: str, service: str = "profile") -> dict[str, Any]:
        with self.client(service) as client:
            return dict(client.get(f"/jobs/{job_id}").json())

    def await_job(self, job_id: str, service: str = "profile", seconds: float = 300) -> dict[str, Any]:
        end = time.monotonic() + seconds
        while True:
            job = self.job(job_id, service)
            if job["state"] not in ("queued", "running"):
                return job
            assert time.monotonic() < end, job
            time.sleep(0.1)


@contextlib.contextmanager
def embedded(directory: Path, **settings: str) -> Iterator[EmbeddedSuite]:
    """A suite that is ready, and gone afterwards, its Postgres with it."""
    suite = EmbeddedSuite(directory, **settings)
    suite.start()
    try:
        yield suite
    finally:
        suite.stop()
