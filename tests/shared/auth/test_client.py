"""A call from one service to another: to a real server that answers as the test says."""

import json
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest

from shared import tracing
from shared.auth.client import CallRefused, ServiceClient
from shared.errors import Unavailable
from shared.settings import Settings


@pytest.fixture
def profile():
    class Handler(BaseHTTPRequestHandler):
        answer = 200, {"items": []}

        def _reply(self):
            length = int(self.headers.get("Content-Length", 0))
            self.seen.append((self.command, self.path, dict(self.headers), self.rfile.read(length)))
            status, body = self.answer
            self.send_response(status)
            self.end_headers()
            self.wfile.write(json.dumps(body).encode() if body is not None else b"")

        do_GET = do_POST = do_PUT = _reply  # noqa: N815

        def log_message(self, *_):
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    Handler.seen = []
    Handler.url = f"http://127.0.0.1:{server.server_port}"
    yield Handler
    server.shutdown()
    server.server_close()


def settings(url):
    return Settings(
        service="campaigns", database_url="", key_pepper="p" * 16, sealing_keys={"a": bytes(32)}, audit_key="a" * 16, profile_url=url,
        service_key="rgl_own",
    )  # fmt: skip


def test_a_call_carries_the_key_and_the_trace(profile):
    tracing.traceparent.set("00-" + "a" * 32 + "-" + "b" * 16 + "-01")
    tracing.request_id.set("r-1")
    with ServiceClient(settings(profile.url), "profile") as client:
        assert client.post("/v1/contact-points/lookup", {"ids": []}, idempotency_key="k") == {"items": []}
    ((method, path, headers, body),) = profile.seen
    assert (method, path, json.loads(body)) == ("POST", "/profile/v1/contact-points/lookup", {"ids": []})
    assert headers["Authorization"] == "Bearer rgl_own"
    assert headers["traceparent"].startswith("00-" + "a" * 32)
    assert (headers["X-Request-Id"], headers["Idempotency-Key"]) == ("r-1", "k")


def test_a_refusal_is_told_by_its_code(profile):
    profile.answer = 409, {"code": "no_consent", "detail": "not granted"}
    with ServiceClient(settings(profile.url), "profile") as client, pytest.raises(CallRefused) as refused:
        client.get("/v1/x")
    assert (refused.value.status, refused.value.code) == (409, "no_consent")


@pytest.mark.parametrize("answer", [(503, None), (500, {}), (429, {})])
def test_a_service_that_cannot_answer_is_away(profile, answer):
    profile.answer = answer
    with ServiceClient(settings(profile.url), "profile") as client, pytest.raises(Unavailable) as away:
        client.get("/v1/x")
    assert away.value.code == "profile_unavailable"


def test_a_service_that_is_not_there_is_away():
    with ServiceClient(settings("http://127.0.0.1:1"), "profile") as client, pytest.raises(Unavailable):
        client.put("/v1/x", {})
