"""A real Kafka for the tests that need one: one broker per run, shared by all workers.

REGULARS_TEST_KAFKA (``host:port``) names one that runs already. Where none can be had the tests that ask for it are
skipped and the run says so at its end; with CI=true they fail instead.
"""

import fcntl
import importlib.util
import os
import subprocess
import sys
from pathlib import Path
from types import ModuleType

import pytest

_DIRECTORY = "REGULARS_TEST_DIRECTORY"
_missing: list[str] = []


def broker_module() -> ModuleType:
    """deploy/kafka/broker.py: a script, hence no package to import it from."""
    if "regulars_kafka_broker" not in sys.modules:
        path = Path(__file__).parents[1] / "deploy" / "kafka" / "broker.py"
        specification = importlib.util.spec_from_file_location("regulars_kafka_broker", path)
        assert specification is not None and specification.loader is not None
        module = importlib.util.module_from_spec(specification)
        sys.modules["regulars_kafka_broker"] = module
        specification.loader.exec_module(module)
    return sys.modules["regulars_kafka_broker"]


@pytest.fixture(scope="session")
def kafka() -> str:
    """The url of a bus on a real broker, e.g. ``kafka://127.0.0.1:41234?replication=1``. Its topics are shared by the
    whole run, so a test takes topics (or keys) and groups of its own."""
    if given := os.environ.get("REGULARS_TEST_KAFKA"):
        return f"kafka://{given}?replication=1"
    broker = broker_module()
    directory = Path(os.environ[_DIRECTORY])
    try:
        with (directory / "kafka.lock").open("w") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            known = broker.find_running(directory / "kafka")
            running = broker.start(directory / "kafka", port=0)
            if known is None:
                _stop_with(
                    os.getppid() if "PYTEST_XDIST_WORKER" in os.environ else os.getpid(),
                    running.pid,
                    directory,
                )
    except broker.BrokerError as error:
        if os.environ.get("CI", "").lower() in ("1", "true"):
            pytest.fail(f"CI runs every test, and there is no Kafka: {error}", pytrace=False)
        _missing.append(str(error))
        pytest.skip(f"NO KAFKA, so this was not tested: {error}")
    return f"kafka://{running.address}?replication=1"


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    skipped = [
        report for report in terminalreporter.stats.get("skipped", []) if "NO KAFKA" in str(report.longrepr)
    ]
    if skipped:
        terminalreporter.section("LEFT OUT: no Kafka", red=True, bold=True)
        terminalreporter.line(f"{len(skipped)} tests need a real broker and were skipped.")
        terminalreporter.line(str(skipped[0].longrepr[2] if isinstance(skipped[0].longrepr, tuple) else ""))


@pytest.hookimpl(tryfirst=True)
def pytest_unconfigure(config: pytest.Config) -> None:
    """Before the run's directory goes."""
    if hasattr(config, "workerinput") or _DIRECTORY not in os.environ:
        return
    broker_module().stop(Path(os.environ[_DIRECTORY]) / "kafka")


def _stop_with(pid: int, server: int, directory: Path) -> None:
    """Stop the broker when ``pid`` is gone without having done so: a test run that was killed leaves nothing."""
    watch = (
        f"while kill -0 {pid} 2>/dev/null; do kill -0 {server} 2>/dev/null || exit 0; sleep 2; done;"
        f" kill -KILL {server} 2>/dev/null; sleep 1; rm -rf '{directory}'"
    )
    subprocess.Popen(
        ["sh", "-c", watch],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        start_new_session=True,
    )
