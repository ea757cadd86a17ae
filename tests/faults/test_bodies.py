"""Promise 20: whatever is sent, however long, deep or slow, a process keeps its size."""

import contextlib
import socket
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.deployment import Deployment

pytestmark = pytest.mark.xdist_group("deployment")

MEBIBYTE = 2**20
GROWTH = 20 * MEBIBYTE


@contextlib.contextmanager
def keeps_its_size(deployment: Deployment) -> Iterator[None]:
    """Profile's api has grown by no more than 20 MB at any moment, and still answers."""
    popen = deployment.processes["profile api"].popen
    assert popen is not None
    process = Path("/proc") / str(popen.pid)
    process.joinpath("clear_refs").write_text("5")  # the peak is counted from here
    before = kibibytes(process, "VmRSS")
    yield
    grown = (kibibytes(process, "VmHWM") - before) * 1024
    assert grown < GROWTH, f"grew by {grown / MEBIBYTE:.1f} MB"
    deployment.await_ready("profile", 10)


def kibibytes(process: Path, what: str) -> int:
    [line] = [line for line in (process / "status").read_text().splitlines() if line.startswith(what)]
    return int(line.split()[1])


def opened(deployment: Deployment, *headers: str, key: bool = True) -> socket.socket:
    """A connection on which a purchase was begun: its head is sent, its body is not."""
    connection = socket.create_connection(("127.0.0.1", deployment.ports["profile"]), timeout=10)
    lines = [
        "PUT /profile/v1/purchases/shop/endless HTTP/1.1",
        "Host: regulars",
        "Content-Type: application/json",
        *([f"Authorization: Bearer {deployment.admin_key}"] if key else []),
        *headers,
    ]
    connection.sendall("\r\n".join([*lines, "", ""]).encode())
    return connection


def pour(connection: socket.socket, size: int) -> int:
    """Send a body in chunks until the other side has enough; returns how much it took."""
    chunk = b"10000\r\n" + b"[" * 65_536 + b"\r\n"
    sent = 0
    connection.settimeout(5)
    with contextlib.suppress(OSError):
        while sent < size:
            connection.sendall(chunk)
            sent += 65_536
    return sent


@pytest.mark.parametrize(("key", "status"), [(True, b"413"), (False, b"401")])
def test_a_gigabyte_in_chunks_is_neither_kept_nor_read_to_its_end(
    deployment: Deployment, key: bool, status: bytes
) -> None:
    with keeps_its_size(deployment), opened(deployment, "Transfer-Encoding: chunked", key=key) as connection:
        taken = pour(connection, 1024 * MEBIBYTE)
        answer = b""
        with contextlib.suppress(OSError):
            answer = connection.recv(4096)
    assert taken < 64 * MEBIBYTE
    assert answer[9:12] in (status, b"")  # nothing left to read where the connection was already cut


def test_nesting_of_ten_thousand_levels_is_refused(deployment: Deployment) -> None:
    with keeps_its_size(deployment), deployment.client("profile") as client:
        for body in (b"[" * 10_000 + b"]" * 10_000, b'{"a":' * 10_000 + b"1" + b"}" * 10_000):
            reply = client.put(
                "/purchases/shop/deep", content=body, headers={"Content-Type": "application/json"}
            )
            assert (reply.status_code, reply.json()["code"]) == (413, "too_deep")


def test_hundreds_of_slow_senders_neither_swell_a_process_nor_keep_others_out(deployment: Deployment) -> None:
    with (
        keeps_its_size(deployment),
        contextlib.ExitStack() as connections,
        deployment.client("profile") as client,
    ):
        slow = [
            connections.enter_context(opened(deployment, "Content-Length: 1000000", key=number % 2 == 0))
            for number in range(200)
        ]
        for _ in range(3):
            for connection in slow:
                with contextlib.suppress(OSError):
                    connection.sendall(b" ")
            assert client.get("/customers", params={"limit": 1}).status_code == 200
            time.sleep(0.5)
