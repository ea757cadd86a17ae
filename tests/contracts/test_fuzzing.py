"""Every operation of the four documents holds what it says, against requests that schemathesis makes up (all its checks,
authenticated). `make fuzz` (REGULARS_FUZZ=full) goes through every field of every operation, for half an hour; CI makes up
a few requests for each."""

import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.deployment import ROOT, SERVICES
from tests.embedded import EmbeddedSuite, embedded

# In the worker that runs whole deployments, one after another.
pytestmark = pytest.mark.xdist_group("deployment")

FULL = os.environ.get("REGULARS_FUZZ") == "full"
SIZE = ["--max-examples", "20"] if FULL else ["--max-examples", "3", "--phases", "examples,fuzzing,stateful"]


@pytest.fixture(scope="module")
def suite(tmp_path_factory: pytest.TempPathFactory) -> Iterator[EmbeddedSuite]:
    with embedded(tmp_path_factory.mktemp("fuzzed") / "data", REGULARS_CURRENCY="CNY") as running:
        yield running


@pytest.mark.parametrize("service", SERVICES)
def test_every_operation_holds_what_its_document_says(
    suite: EmbeddedSuite, service: str, tmp_path: Path
) -> None:
    key = (suite.directory / "admin.key").read_text().strip()
    done = subprocess.run(
        [
            str(Path(sys.executable).with_name("schemathesis")),
            "run",
            f"{suite.url}/{service}/openapi.json",
            "--header",
            f"Authorization: Bearer {key}",
            "--checks",
            "all",
            *SIZE,
            "--seed",
            "1",
            "--no-color",
        ],
        cwd=ROOT,  # where schemathesis.toml is
        capture_output=True,
        text=True,
        check=False,
    )
    told = done.stdout[done.stdout.find("= FAILURES =") :].partition("= WARNINGS =")[0]
    assert done.returncode == 0, told[:20_000] + done.stderr[-2000:]
