"""Promise 23: whoever may name an address reaches nothing inside by it."""

import http.server
import ipaddress
import socket
import threading

import httpx
import pytest

from shared import outbound

INNER = [
    "http://127.0.0.1:{port}/",
    "http://127.1:{port}/",
    "http://127.0.1:{port}/",
    "http://127.255.255.254:{port}/",
    "http://0:{port}/",
    "http://0.0.0.0:{port}/",
    "http://2130706433:{port}/",
    "http://0x7f000001:{port}/",
    "http://0x7f.1:{port}/",
    "http://0177.0.0.1:{port}/",
    "http://017700000001:{port}/",
    "http://[::1]:{port}/",
    "http://[::]:{port}/",
    "http://[0:0:0:0:0:0:0:1]:{port}/",
    "http://[::ffff:127.0.0.1]:{port}/",
    "http://[::ffff:7f00:1]:{port}/",
    "http://[::127.0.0.1]:{port}/",
    "http://[64:ff9b::7f00:1]:{port}/",
    "http://[2002:7f00:1::]:{port}/",
    "http://localhost:{port}/",
    "http://LOCALHOST.:{port}/",
    "http://a.localhost:{port}/",
    "http://postgres:{port}/",
    "http://metadata.google.internal/",
    "http://169.254.169.254/latest/meta-data/",
    "http://[fd00:ec2::254]/latest/",
    "http://[fe80::1]/",
    "http://[fec0::1]/",
    "http://10.0.0.1/",
    "http://172.16.3.4/",
    "http://192.168.1.1/",
    "http://100.64.0.1/",
    "http://198.18.0.1/",
    "http://224.0.0.1/",
    "http://255.255.255.255/",
    "http://240.0.0.1/",
    "http://user:secret@example.com/",
    "http://user@127.0.0.1:{port}/",
    "ftp://example.com/",
    "file:///etc/passwd",
    "gopher://127.0.0.1:{port}/",
    "http:///nowhere",
    "http://example.com:0/",
    "http://example.com/#part",
    "http://exa mple.com/",
    "http://example.com:99999/",
    "http://[::1",
    "",
]  # fmt: skip


@pytest.fixture
def canary():
    """A server inside that notes whoever comes; also under ``::1`` where the machine has it."""
    hits: list[str] = []

    class Inside(http.server.BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            self.rfile.read(int(self.headers.get("content-length", 0)))
            hits.append(self.headers["host"])
            self.send_response(200)
            self.send_header("Content-Length", "0")
            self.end_headers()

        def log_message(self, *_: object) -> None:
            pass

    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Inside)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield server.server_address[1], hits
    server.shutdown()
    server.server_close()


@pytest.mark.parametrize("url", INNER)
def test_an_inner_address_in_any_notation_is_refused_and_never_reached(canary, url):
    port, hits = canary
    url = url.format(port=port)
    with pytest.raises(outbound.Refused):
        outbound.check_url(url)
    with (
        outbound.client(timeout=2) as client,
        pytest.raises((outbound.Refused, httpx.HTTPError, httpx.InvalidURL)),
    ):
        client.post(url, content=b"{}")
    assert hits == []


@pytest.mark.parametrize(
    "url", ["https://example.com/hook", "http://8.8.8.8:8080/a?b=c", "https://[2606:4700::1111]/"]
)
def test_a_public_address_is_accepted(url):
    outbound.check_url(url)


def names(monkeypatch, *answers):
    """A name server whose answers follow one another; literals are read as ever."""
    real, given = socket.getaddrinfo, iter(answers)

    def resolve(host, port, *rest, flags=0, **options):
        if host != "rebinding.example":
            return real(host, port, *rest, flags=flags, **options)
        if flags & socket.AI_NUMERICHOST:
            raise socket.gaierror("no literal")
        return [(socket.AF_INET, socket.SOCK_STREAM, 6, "", (one, port)) for one in next(given)]

    monkeypatch.setattr(socket, "getaddrinfo", resolve)


def test_a_name_with_an_inner_address_among_others_is_refused(canary, monkeypatch):
    port, hits = canary
    names(monkeypatch, ["93.184.216.34", "127.0.0.1"])
    with outbound.client(timeout=2) as client, pytest.raises(outbound.Refused):
        client.post(f"http://rebinding.example:{port}/")
    assert hits == []


def test_a_name_that_turns_inward_after_it_was_looked_at_is_not_asked_again(canary, monkeypatch):
    """The connection goes to the address that was checked, whatever the name says by then."""
    port, hits = canary
    names(monkeypatch, ["127.0.0.2"], ["127.0.0.1"])
    allowed = [ipaddress.ip_network("127.0.0.2/32")]
    with outbound.client(timeout=2, allowed=allowed) as client:
        with pytest.raises(httpx.ConnectError):
            client.post(f"http://rebinding.example:{port}/")
        with pytest.raises(outbound.Refused):
            client.post(f"http://rebinding.example:{port}/")
    assert hits == []


def test_an_inner_network_that_the_company_allows_is_reached_under_its_own_name(canary, monkeypatch):
    port, hits = canary
    names(monkeypatch, ["127.0.0.1"])
    allowed = [ipaddress.ip_network("127.0.0.0/8")]
    with outbound.client(timeout=2, allowed=allowed) as client:
        assert client.post(f"http://rebinding.example:{port}/", content=b"{}").status_code == 200
    assert hits == [f"rebinding.example:{port}"]
