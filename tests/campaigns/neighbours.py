"""Stand-ins at the other end of a wire: a mail server, and what profile and feedback answer to campaigns."""

import json
import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from email import message_from_bytes, policy
from email.message import EmailMessage
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

from aiosmtpd.controller import Controller

CONSENT = "0193a000-0000-7000-8000-00000000c0de"


@dataclass
class Answers:
    """What the neighbours know. ``people`` by customer id: the answer to a lookup of contact points. ``suppressed``: the
    bodies of suppressions by their Idempotency-Key, in order; ``refusal`` is what they get instead of 201 (status, code),
    ``on_suppression`` is called before one is answered."""

    people: dict[str, dict[str, Any]] = field(default_factory=dict)
    links: dict[str, str] = field(default_factory=dict)
    case_messages: dict[str, str] = field(default_factory=dict)
    asked: list[tuple[str, dict[str, Any]]] = field(default_factory=list)
    suppressed: dict[str, dict[str, Any]] = field(default_factory=dict)
    refusal: tuple[int, str] | None = None
    on_suppression: Callable[[], None] = lambda: None
    away: bool = False
    valid_for: timedelta = timedelta(seconds=60)
    url: str = ""

    def know(self, customer_id: Any, **changes: Any) -> None:
        self.people[str(customer_id)] = {
            "address": f"{customer_id}@example.com",
            "reason": None,
            "name": "王芳",
            "language": "zh",
            "consent_id": CONSENT,
        } | changes

    def suppress(self, key: str, body: dict[str, Any]) -> tuple[int, dict[str, Any]]:
        self.on_suppression()
        if self.refusal:
            return self.refusal[0], {"code": self.refusal[1]}
        assert self.suppressed.setdefault(key, body) == body
        return 201, {"reason": body["reason"]}

    def answer(self, path: str, body: dict[str, Any]) -> list[dict[str, Any]]:
        self.asked.append((path, body))
        until = (datetime.now(UTC) + self.valid_for).isoformat()
        if path.endswith("/contact-points/lookup"):
            nobody = {
                "address": None,
                "reason": "no_consent",
                "name": None,
                "language": None,
                "consent_id": None,
            }
            return [
                {"customer_id": each, "valid_until": until} | self.people.get(each, nobody)
                for each in body["customer_ids"]
            ]
        if path.endswith("/invitation-links/lookup"):
            return [
                {"invitation_id": each, "url": self.links[each], "language": "zh"}
                for each in body["invitation_ids"]
                if each in self.links
            ]
        if path.endswith("/confirmation-links/lookup"):
            return [
                {"confirmation_id": each, "kind": "opt_in", "url": self.links[each], "language": "zh"}
                for each in body["confirmation_ids"]
                if each in self.links
            ]
        return [
            {"message_id": each, "text": self.case_messages[each], "case_number": "C-1001", "language": "zh"}
            for each in body["message_ids"]
            if each in self.case_messages
        ]


@contextmanager
def answering() -> Iterator[Answers]:
    """Profile and feedback on one loopback port."""
    answers = Answers()

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
            if answers.away:
                status, said = 503, {}
            elif self.path.endswith("/suppressions"):
                status, said = answers.suppress(self.headers["Idempotency-Key"], body)
            else:
                status, said = 200, {"items": answers.answer(self.path, body)}
            content = json.dumps(said).encode()
            self.send_response(status)
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(content)))
            self.end_headers()
            self.wfile.write(content)

        def log_message(self, *_: Any) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    answers.url = f"http://127.0.0.1:{server.server_address[1]}"
    try:
        yield answers
    finally:
        server.shutdown()
        server.server_close()


class MailServer:
    """Real SMTP on loopback. ``refuse_recipient`` and ``refuse_message`` are what it answers instead of 250;
    ``on_message`` is called before it answers to a message."""

    def __init__(self) -> None:
        self.received: list[EmailMessage] = []
        self.refuse_recipient: str | None = None
        self.refuse_message: str | None = None
        self.on_message: Callable[[], None] = lambda: None
        self._controller = Controller(self, hostname="127.0.0.1", port=_free_port(), enable_SMTPUTF8=True)

    async def handle_RCPT(self, server: Any, session: Any, envelope: Any, address: str, options: Any) -> str:  # noqa: N802
        if self.refuse_recipient:
            return self.refuse_recipient
        envelope.rcpt_tos.append(address)
        return "250 OK"

    async def handle_DATA(self, server: Any, session: Any, envelope: Any) -> str:  # noqa: N802
        self.on_message()
        if self.refuse_message:
            return self.refuse_message
        self.received.append(message_from_bytes(envelope.content, policy=policy.default))  # type: ignore[arg-type]
        return "250 OK"

    @contextmanager
    def running(self) -> Iterator[str]:
        """Gives the url."""
        self._controller.start()
        try:
            yield f"smtp://127.0.0.1:{self._controller.port}"
        finally:
            self._controller.stop()


def _free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as probe:
        return int(probe.getsockname()[1])
