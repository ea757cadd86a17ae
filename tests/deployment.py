"""The suite as operations run it: every service's api, relay, react and work as processes of their own.

Used by tests/suite, tests/faults and tests/benchmarks. Processes are stopped by their process id.
"""

import base64
import contextlib
import hashlib
import json
import os
import secrets
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit, urlunsplit

import httpx
import psycopg
import pytest

from shared.auth.keys import hmac_of, new_key

ROOT = Path(__file__).resolve().parent.parent
SERVICES = ("profile", "scoring", "campaigns", "feedback")
ROLES = ("api", "relay", "react", "work")


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def proportional_set_size(pid: int) -> int:
    """Bytes of memory of one process, shared pages counted by their share (Linux)."""
    text = Path(f"/proc/{pid}/smaps_rollup").read_text()
    return int(text.split("Pss:")[1].split()[0]) * 1024


@dataclass
class Process:
    """One process of the deployment; restarted under the same name."""

    service: str
    role: str
    arguments: Sequence[str]
    environment: Mapping[str, str]
    log: Path
    popen: subprocess.Popen[bytes] | None = None
    starts: int = 0

    @property
    def name(self) -> str:
        return f"{self.service} {self.role}"

    def start(self) -> None:
        self.starts += 1
        with self.log.open("ab") as log:
            self.popen = subprocess.Popen(
                self.arguments,
                env=dict(self.environment),
                cwd=ROOT,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
            )

    def running(self) -> bool:
        return self.popen is not None and self.popen.poll() is None

    def kill(self) -> None:
        """kill -9, as a crash does it."""
        if self.popen and self.popen.poll() is None:
            self.popen.kill()
            self.popen.wait()

    def stop(self, seconds: float = 20) -> int | None:
        if self.popen and self.popen.poll() is None:
            self.popen.send_signal(signal.SIGTERM)
            try:
                self.popen.wait(seconds)
            except subprocess.TimeoutExpired:
                self.kill()
        return self.popen.returncode if self.popen else None


@dataclass
class Deployment:
    """Four services over one Postgres server and one bus, in a folder for their logs and mail."""

    directory: Path
    server_url: str
    bus: str
    prefix: str = field(default_factory=lambda: "d" + secrets.token_hex(4))
    settings: Mapping[str, str] = field(default_factory=dict)
    command: Sequence[str] = (sys.executable,)
    roles: Sequence[str] = ROLES

    def __post_init__(self) -> None:
        self.directory.mkdir(parents=True, exist_ok=True)
        if self.bus.startswith("kafka:") and "prefix=" not in self.bus:
            # Deployments share the run's one broker and none of its topics.
            self.bus += ("&" if "?" in self.bus else "?") + f"prefix={self.prefix}-"
        self.ports = {service: free_port() for service in SERVICES}
        self.processes: dict[str, Process] = {}
        pepper = secrets.token_hex(16)
        keys = {name: new_key(pepper)[0] for name in ("admin", *SERVICES)}
        self.admin_key = keys["admin"]
        self.environment = {
            **{name: value for name, value in os.environ.items() if not name.startswith("REGULARS_")},
            **{f"REGULARS_{s.upper()}_DATABASE_URL": self.database_url(s) for s in SERVICES},
            **{f"REGULARS_{s.upper()}_URL": self.url(s) for s in SERVICES},
            **{f"REGULARS_{s.upper()}_PORT": str(self.ports[s]) for s in SERVICES},
            **{f"REGULARS_{s.upper()}_SERVICE_KEY": keys[s] for s in SERVICES},
            "REGULARS_ENVIRONMENT_KEYS": json.dumps({n: hmac_of(k, pepper) for n, k in keys.items()}),
            "REGULARS_KEY_PEPPER": pepper,
            "REGULARS_BUS": self.bus,
            "REGULARS_SEALING_KEYS": "k1:" + base64.b64encode(secrets.token_bytes(32)).decode(),
            "REGULARS_AUDIT_KEY": secrets.token_hex(32),
            "REGULARS_AUDIT_ANCHORS": str(self.directory / "audit-anchors.jsonl"),
            "REGULARS_LINK_KEY": secrets.token_hex(32),
            "REGULARS_BLIND_INDEX_KEY": secrets.token_hex(32),
            "REGULARS_MAILBOX_DIR": str(self.directory / "mailbox"),
            "REGULARS_PUBLIC_URL": self.url("feedback"),
            "REGULARS_PROFILE_PUBLIC_URL": self.url("profile"),
            **self.settings,
        }

    def url(self, service: str) -> str:
        return f"http://127.0.0.1:{self.ports[service]}"

    def database_url(self, service: str) -> str:
        parts = urlsplit(self.server_url)
        return urlunsplit(parts._replace(path=f"/{self.prefix}_{service}"))

    def prepare(self) -> None:
        """Databases, made and migrated."""
        with psycopg.connect(self.server_url, autocommit=True) as connection:
            for service in SERVICES:
                connection.execute(f'create database "{self.prefix}_{service}"')
        migrations = [self._run(service, "migrate") for service in SERVICES]
        for migration in migrations:
            assert migration.wait() == 0, f"migrate failed: {self.directory}"

    def drop(self) -> None:
        with psycopg.connect(self.server_url, autocommit=True) as connection:
            for service in SERVICES:
                connection.execute(f'drop database if exists "{self.prefix}_{service}" with (force)')

    def start(self, services: Sequence[str] = SERVICES, roles: Sequence[str] | None = None) -> None:
        for service in services:
            for role in roles or self.roles:
                name = f"{service} {role}"
                if name not in self.processes:
                    self.processes[name] = Process(
                        service,
                        role,
                        [*self.command, "-m", f"services.{service}", role],
                        self.environment,
                        self.directory / f"{service}-{role}.log",
                    )
                self.processes[name].start()
        for service in services:
            if "api" in (roles or self.roles):
                self.await_ready(service)

    def await_ready(self, service: str, seconds: float = 180) -> None:
        end = time.monotonic() + seconds
        while True:
            with contextlib.suppress(httpx.HTTPError):
                if httpx.get(f"{self.url(service)}/readyz", timeout=5).status_code == 200:
                    return
            if time.monotonic() > end or not self.processes[f"{service} api"].running():
                log = self.processes[f"{service} api"].log.read_text()[-2000:]
                raise AssertionError(f"{service} api is not ready:\n{log}")
            time.sleep(0.1)

    def stop(self) -> None:
        for process in self.processes.values():
            if process.running() and process.popen:
                process.popen.send_signal(signal.SIGTERM)
        for process in self.processes.values():
            process.stop()

    def client(self, service: str, key: str | None = None) -> httpx.Client:
        return httpx.Client(
            base_url=f"{self.url(service)}/{service}/v1",
            headers={"Authorization": f"Bearer {key or self.admin_key}"},
            timeout=30,
        )

    def connect(self, service: str) -> psycopg.Connection[Any]:
        return psycopg.connect(self.database_url(service), autocommit=True)

    def suite(self, *arguments: str, seconds: float = 600) -> Any:
        """What `python -m services <arguments>` prints on this deployment, as JSON."""
        done = subprocess.run(
            [sys.executable, "-m", "services", *arguments],
            env=self.environment,
            cwd=ROOT,
            capture_output=True,
            timeout=seconds,
            check=False,
        )
        assert done.returncode == 0, (done.stdout.decode()[-3000:], done.stderr.decode()[-3000:])
        return json.loads(done.stdout)

    def verify(self) -> dict[str, Any]:
        return dict(self.suite("verify"))

    def hashes(self) -> dict[str, str]:
        return {service: told["state_hash"] for service, told in self.verify().items()}

    def settle(self, seconds: float = 120) -> dict[str, Any]:
        """Wait until nothing is pending or behind; what verify says then."""
        end = time.monotonic() + seconds
        while True:
            told = self.verify()
            if all(not part["outbox_pending"] and not part["behind"] for part in told.values()):
                return told
            assert time.monotonic() < end, f"not settled: {json.dumps(told)}"
            time.sleep(0.5)

    def rebuild_scoring(self) -> dict[str, Any]:
        """What `python -m services.scoring rebuild` prints."""
        done = subprocess.run(
            [sys.executable, "-m", "services.scoring", "rebuild"],
            env=self.environment,
            cwd=ROOT,
            capture_output=True,
            check=False,
        )
        assert done.returncode == 0, done.stderr.decode()[-3000:]
        return dict(json.loads(done.stdout))

    def _run(self, service: str, *arguments: str) -> subprocess.Popen[bytes]:
        with (self.directory / f"{service}-{arguments[0]}.log").open("ab") as log:
            return subprocess.Popen(
                [sys.executable, "-m", f"services.{service}", *arguments],
                env=self.environment,
                cwd=ROOT,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
            )


@contextlib.contextmanager
def deployed(directory: Path, server_url: str, bus: str, **more: Any) -> Iterator[Deployment]:
    """A deployment that is ready, and gone afterwards."""
    deployment = Deployment(directory, server_url, bus, **more)
    deployment.prepare()
    try:
        deployment.start()
        yield deployment
    finally:
        deployment.stop()
        deployment.drop()


@pytest.fixture(scope="session")
def deployment(tmp_path_factory: pytest.TempPathFactory, cluster: Any, kafka: str) -> Iterator[Deployment]:
    """One deployment for all the tests that leave it whole. They carry `xdist_group("deployment")`, so that one worker
    has it, and customers of their own."""
    with deployed(tmp_path_factory.mktemp("deployment"), cluster.url(), kafka) as running:
        yield running


def purchase(customer: str, number: int | str, **changes: Any) -> dict[str, Any]:
    """A purchase body that depends on nothing but its arguments."""
    seed = int.from_bytes(hashlib.sha256(f"{customer}/{number}".encode()).digest()[:4], "big")
    return {
        "customer": {"source": "shop", "external_id": customer},
        "create_customer": True,
        "occurred_at": "2026-11-20T10:00:00Z",
        "currency": "CNY",
        "channel": "web",
        "lines": [
            {
                "sku": f"SKU-{seed % 97}",
                "description": "茶杯",
                "quantity": 1 + seed % 5,
                "unit_price": f"{seed % 300}.50",
            },
            {"sku": f"SKU-{seed % 89}", "description": "Mug", "quantity": 2, "unit_price": "12.25"},
        ],
        **changes,
    }
