"""A real Kafka on one machine (KRaft, one node), from its published jars.

    python deploy/kafka/broker.py start [--data .kafka/data] [--port 9092]    waits until it accepts connections
    python deploy/kafka/broker.py stop  [--data .kafka/data]
    python deploy/kafka/broker.py status [--data .kafka/data]
    python deploy/kafka/broker.py run   [--data .kafka/data] [--port 9092]    in the foreground, until Ctrl-C

Needs Java 17 or newer, and Maven once: the jars (54 MB) are copied into .kafka/libs. ``--port 0`` takes a free port.
``start`` prints the address, e.g. ``127.0.0.1:9092``; starting a broker that runs already says so and changes nothing.
The data directory holds ``broker.pid`` (pid and port), ``broker.log`` and ``log/``; it survives ``stop`` and a kill -9.

Imported, the same as functions: ``start(data, port) -> Broker``, ``stop(data)``, ``find_running(data)``.
"""

import argparse
import contextlib
import os
import re
import shutil
import signal
import socket
import string
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path

HERE = Path(__file__).resolve().parent
HOME = HERE.parents[1] / ".kafka"
HEAP = "512m"  # about 450 MB resident


class BrokerError(Exception):
    """The broker cannot be started; the message says what is missing or where to look."""


@dataclass(frozen=True)
class Broker:
    """A running broker. ``address`` is what clients connect to."""

    data: Path
    pid: int
    port: int

    @property
    def address(self) -> str:
        return f"127.0.0.1:{self.port}"

    def stop(self, seconds: float = 30) -> None:
        _end(self.pid, seconds)
        (self.data / "broker.pid").unlink(missing_ok=True)


def find_running(data: Path) -> Broker | None:
    """The broker of this data directory, if its process is alive and is a Kafka."""
    try:
        pid, port = (int(word) for word in (data / "broker.pid").read_text().split())
    except (OSError, ValueError):
        return None
    if not _is_kafka(pid, data):
        return None
    return Broker(data, pid, port)


def start(data: Path, port: int = 9092, *, seconds: float = 90) -> Broker:
    """Start a broker in the background and wait until it accepts; the one that runs already is returned as it is."""
    data = data.resolve()
    if running := find_running(data):
        _wait(running, seconds)
        return running
    java, libraries = _java(), jars()
    _make_writable(data)
    if port and not _is_free(port):
        raise BrokerError(f"port {port} is taken by another program: choose another with --port")
    port = port or _free_port()
    configuration = _configure(data, port)
    with (data / "broker.log").open("ab") as output:
        process = subprocess.Popen(
            [
                java,
                f"-Xmx{HEAP}",
                f"-Dregulars.data={data}",
                f"-Dlog4j2.configurationFile=file:{HERE / 'log4j2.properties'}",
                "-cp",
                f"{libraries}/*",
                "kafka.Kafka",
                str(configuration),
            ],
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
            cwd=data,
            start_new_session=True,
        )
    (data / "broker.pid").write_text(f"{process.pid} {port}\n")
    broker = Broker(data, process.pid, port)
    _wait(broker, seconds, process)
    return broker


def stop(data: Path) -> bool:
    """False where none was running."""
    running = find_running(data.resolve())
    if running is None:
        return False
    running.stop()
    return True


def jars() -> Path:
    """The folder of the jars, fetched by Maven where it is missing. REGULARS_KAFKA_LIBS names another one."""
    if given := os.environ.get("REGULARS_KAFKA_LIBS"):
        return Path(given)
    libraries = HOME / "libs"
    if any(libraries.glob("kafka_2.13-*.jar")):
        return libraries
    maven = shutil.which("mvn")
    if maven is None:
        raise BrokerError(
            "Kafka's jars are not here and Maven (mvn) is not installed. Install it (Debian: apt install maven),"
            " or use a broker of your own: make run KAFKA=host:9092"
        )
    _make_writable(HOME)
    # Fetched beside and then renamed: an interrupted download is never taken for the whole.
    partial = HOME / f"libs.{os.getpid()}"
    fetched = subprocess.run(
        [
            maven, "-q", "-B", "-f", str(HERE / "pom.xml"), "dependency:copy-dependencies",
            f"-DoutputDirectory={partial}", "-DincludeScope=runtime",
        ],
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        check=False,
    )  # fmt: skip
    if fetched.returncode:
        shutil.rmtree(partial, ignore_errors=True)
        raise BrokerError(
            f"Maven could not fetch Kafka's jars:\n{(fetched.stdout + fetched.stderr).strip()[-800:]}"
        )
    with contextlib.suppress(OSError):  # another process was faster
        partial.rename(libraries)
    shutil.rmtree(partial, ignore_errors=True)
    return libraries


def _java() -> str:
    java = shutil.which("java")
    if java is None:
        raise BrokerError(
            "Java is not installed. Install version 17 or newer (Debian: apt install openjdk-17-jre-headless),"
            " or use a broker of your own: make run KAFKA=host:9092"
        )
    return java


def _configure(data: Path, port: int) -> Path:
    """Write server.properties and format the log directory the first time."""
    log = data / "log"
    template = string.Template((HERE / "server.properties").read_text())
    configuration = data / "server.properties"
    configuration.write_text(
        template.substitute(port=port, controller_port=_controller_port(configuration), data=log)
    )
    if not (log / "meta.properties").exists():
        tool = [_java(), "-Xmx256m", "-cp", f"{jars()}/*", "kafka.tools.StorageTool"]
        cluster = subprocess.run([*tool, "random-uuid"], capture_output=True, text=True, check=False)
        if not cluster.returncode:
            cluster = subprocess.run(
                [*tool, "format", "-t", cluster.stdout.split()[-1], "-c", str(configuration), "--standalone"],
                capture_output=True, text=True, check=False,
            )  # fmt: skip
        if cluster.returncode:
            raise BrokerError(f"the data directory could not be formatted:\n{cluster.stderr.strip()[-800:]}")
    return configuration


def _controller_port(configuration: Path) -> int:
    """The one it was formatted with, where that is still free: the quorum remembers its voters' addresses."""
    with contextlib.suppress(OSError):
        remembered = re.search(r"^controller\..*:(\d+)$", configuration.read_text(), re.MULTILINE)
        if remembered and _is_free(int(remembered[1])):
            return int(remembered[1])
    return _free_port()


def _wait(broker: Broker, seconds: float, process: "subprocess.Popen[bytes] | None" = None) -> None:
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        if (process.poll() is not None) if process else not _is_kafka(broker.pid, broker.data):
            (broker.data / "broker.pid").unlink(missing_ok=True)
            raise BrokerError(f"Kafka ended while it started:\n{_last_words(broker.data)}")
        if _accepts(broker.port):
            return
        time.sleep(0.2)
    broker.stop(5)
    raise BrokerError(f"Kafka did not accept connections within {seconds:.0f} s:\n{_last_words(broker.data)}")


def _accepts(port: int) -> bool:
    """Whether a broker – not only a socket – answers: ApiVersions (key 18, version 0), which needs no login."""
    request = b"\x00\x12\x00\x00\x00\x00\x00\x01\x00\x09regulars-"
    try:
        with socket.create_connection(("127.0.0.1", port), timeout=2) as connection:
            connection.settimeout(2)
            connection.sendall(len(request).to_bytes(4, "big") + request)
            return len(connection.recv(8)) > 0
    except OSError:
        return False


def _is_kafka(pid: int, data: Path) -> bool:
    """A pid may have been given to another program since: only a Java with our data directory counts."""
    try:
        command = Path(f"/proc/{pid}/cmdline").read_bytes().decode(errors="replace")
    except OSError:
        if Path("/proc/self").exists():
            return False
        shown = subprocess.run(
            ["ps", "-o", "command=", "-p", str(pid)], capture_output=True, text=True, check=False
        )
        command = shown.stdout
    return "kafka.Kafka" in command and f"-Dregulars.data={data}" in command


def _end(pid: int, seconds: float) -> None:
    """Ask, wait, insist."""
    for number, patience in ((signal.SIGTERM, seconds), (signal.SIGKILL, 10.0)):
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, number)
        deadline = time.monotonic() + patience
        while time.monotonic() < deadline:
            with contextlib.suppress(ChildProcessError):  # collect our own child, or it stays a zombie
                os.waitpid(pid, os.WNOHANG)
            try:
                os.kill(pid, 0)
            except ProcessLookupError:
                return
            time.sleep(0.1)


def _last_words(data: Path) -> str:
    try:
        return "\n".join((data / "broker.log").read_text(errors="replace").splitlines()[-15:])
    except OSError:
        return "(no log)"


def _make_writable(directory: Path) -> None:
    try:
        directory.mkdir(parents=True, exist_ok=True)
        (directory / ".writable").touch()
        (directory / ".writable").unlink()
    except OSError as error:
        raise BrokerError(f"{directory} cannot be written: {error.strerror}") from error


def _is_free(port: int) -> bool:
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("127.0.0.1", port))
        except OSError:
            return False
    return True


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="broker.py", description="A real Kafka on one machine.")
    parser.add_argument("what", choices=["start", "stop", "status", "run"])
    parser.add_argument(
        "--data", type=Path, default=HOME / "data", help="where it keeps its data (default .kafka/data)"
    )
    parser.add_argument("--port", type=int, default=9092, help="0 takes a free one")
    given = parser.parse_args(arguments)
    try:
        if given.what == "stop":
            print("stopped" if stop(given.data) else "no broker runs there")
        elif given.what == "status":
            running = find_running(given.data.resolve())
            print(running.address if running else "no broker runs there")
            return 0 if running else 1
        else:
            broker = start(given.data, given.port)
            print(broker.address, flush=True)
            if given.what == "run":
                _stay(broker)
    except BrokerError as error:
        print(error, file=sys.stderr)
        return 1
    return 0


def _stay(broker: Broker) -> None:
    """Until Ctrl-C, SIGTERM, or the broker's own end."""

    def leave(*_: object) -> None:
        raise KeyboardInterrupt

    signal.signal(signal.SIGTERM, leave)
    try:
        while _is_kafka(broker.pid, broker.data):
            with contextlib.suppress(ChildProcessError):
                os.waitpid(broker.pid, os.WNOHANG)
            time.sleep(0.5)
    except KeyboardInterrupt:
        broker.stop()


if __name__ == "__main__":
    sys.exit(main())
