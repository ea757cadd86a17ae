"""A lean HTTP load: prepared requests over kept-alive connections, so that the client costs little beside the server."""

import asyncio
import json
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any


def prepare(method: str, path: str, body: Any, headers: Mapping[str, str]) -> bytes:
    """One HTTP/1.1 request, ready to be written."""
    content = b"" if body is None else json.dumps(body).encode()
    lines = [f"{method} {path} HTTP/1.1", "Host: 127.0.0.1", "Content-Type: application/json"]
    lines += [f"{name}: {value}" for name, value in headers.items()]
    lines += [f"Content-Length: {len(content)}", "", ""]
    return "\r\n".join(lines).encode() + content


@dataclass
class Outcome:
    """What a run saw: requests a second, statuses by count."""

    seconds: float = 0.0
    statuses: dict[int, int] = field(default_factory=dict)

    @property
    def per_second(self) -> float:
        return sum(self.statuses.values()) / self.seconds


async def _exchange(reader: asyncio.StreamReader, writer: asyncio.StreamWriter, request: bytes) -> int:
    writer.write(request)
    head = await reader.readuntil(b"\r\n\r\n")
    lowered = head.lower()
    at = lowered.index(b"content-length:")
    await reader.readexactly(int(lowered[at + 15 : lowered.index(b"\r\n", at)]))
    return int(head[9:12])


async def _connection(port: int, requests: Iterator[bytes], outcome: Outcome) -> None:
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    try:
        for request in requests:
            status = await _exchange(reader, writer, request)
            outcome.statuses[status] = outcome.statuses.get(status, 0) + 1
    finally:
        writer.close()


async def _drive(port: int, requests: list[bytes], connections: int) -> Outcome:
    outcome, shared = Outcome(), iter(requests)
    began = time.perf_counter()
    await asyncio.gather(*(_connection(port, shared, outcome) for _ in range(connections)))
    outcome.seconds = time.perf_counter() - began
    return outcome


def drive(port: int, requests: list[bytes], connections: int = 32) -> Outcome:
    """Send every request once, ``connections`` at a time."""
    return asyncio.run(_drive(port, requests, connections))
