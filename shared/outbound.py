"""Calls to addresses that somebody else chose: webhooks, files fetched from a URL.

Whoever may name an address could name one inside: the metadata of a cloud, a database, this suite. So a name is resolved
here, every address behind it must be a public one, and the connection is made to the very address that was looked at – a
name that answers differently a moment later (DNS rebinding) gains nothing. Redirects are not followed, proxies of the
environment are not asked. What a company wants to reach inside it allows by network (``REGULARS_OUTBOUND_NETWORKS``).
"""

import ipaddress
import re
import socket
from collections.abc import Sequence
from typing import Any
from urllib.parse import urlsplit

import httpx

Address = ipaddress.IPv4Address | ipaddress.IPv6Address
Network = ipaddress.IPv4Network | ipaddress.IPv6Network

LONGEST_URL = 2_000
_INNER_NAMES = re.compile(
    r"(^|\.)(localhost|local|localdomain|internal|intranet|home|lan)\.?$", re.IGNORECASE
)
# Behind these IPv6 networks stands an IPv4 address, in its last four bytes.
_NAT64 = (ipaddress.IPv6Network("64:ff9b::/96"), ipaddress.IPv6Network("64:ff9b:1::/48"))
_COMPATIBLE = ipaddress.IPv6Network("::/96")


class Refused(Exception):  # noqa: N818 - a property of the address
    """This address may not be called; the message says why, and nothing about what stands behind it."""


def check_url(url: str, *, allowed: Sequence[Network] = ()) -> None:
    """Refuse what can be told without asking a name server. Raises Refused."""
    try:
        parts = urlsplit(url)
        host, port = parts.hostname, parts.port
    except ValueError:
        raise Refused("this is not a URL") from None
    if len(url) > LONGEST_URL or any(ord(sign) <= 32 or ord(sign) == 127 for sign in url):
        raise Refused("this is not a URL")
    if parts.scheme not in ("https", "http") or not host:
        raise Refused("only https:// and http:// addresses with a host are called")
    if parts.username is not None or parts.password is not None:
        raise Refused("an address holds no user name")
    if parts.fragment:
        raise Refused("an address holds no fragment")
    if port == 0:
        raise Refused("port 0 cannot be called")
    literal = _literal(host)
    if literal is not None:
        _check(literal, allowed)
    elif not allowed and (_INNER_NAMES.search(host) or "." not in host):
        raise Refused("names of the inner network are not called")


def resolve(host: str, port: int, *, allowed: Sequence[Network] = ()) -> str:
    """The address to connect to. Raises Refused when any address behind the name is not to be called, OSError when the
    name is unknown."""
    found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
    addresses = [ipaddress.ip_address(str(place[0]).partition("%")[0]) for *_, place in found]
    for address in addresses:
        _check(address, allowed)
    return str(addresses[0])


def client(*, timeout: float, allowed: Sequence[Network] = ()) -> httpx.Client:
    """A client for one receiver: connections are kept by address, so that two receivers must not share one."""
    return httpx.Client(
        transport=_Pinned(allowed),
        timeout=timeout,
        follow_redirects=False,
        trust_env=False,
        headers={"User-Agent": "Regulars"},
    )


class _Pinned(httpx.BaseTransport):
    """Connects to the address that was looked at; the certificate is checked against the name."""

    def __init__(self, allowed: Sequence[Network]) -> None:
        self._allowed = allowed
        self._inner = httpx.HTTPTransport(trust_env=False, limits=httpx.Limits(max_keepalive_connections=8))

    def handle_request(self, request: httpx.Request) -> httpx.Response:
        check_url(str(request.url), allowed=self._allowed)
        host, port = request.url.host, request.url.port or (443 if request.url.scheme == "https" else 80)
        try:
            address = resolve(host, port, allowed=self._allowed)
        except OSError as error:
            raise httpx.ConnectError("the name is unknown", request=request) from error
        extensions: dict[str, Any] = {**request.extensions, "sni_hostname": host}
        pinned = httpx.Request(
            request.method,
            request.url.copy_with(host=address),
            headers=request.headers,
            stream=request.stream,
            extensions=extensions,
        )
        return self._inner.handle_request(pinned)

    def close(self) -> None:
        self._inner.close()


def _literal(host: str) -> Address | None:
    """The address that a host is in any notation a resolver takes (``127.1``, ``0x7f000001``, ``2130706433``)."""
    try:
        found = socket.getaddrinfo(host, None, type=socket.SOCK_STREAM, flags=socket.AI_NUMERICHOST)
    except (OSError, UnicodeError):
        return None
    return ipaddress.ip_address(str(found[0][4][0]).partition("%")[0])


def _check(address: Address, allowed: Sequence[Network]) -> None:
    candidates = {address, _behind(address)}
    if any(one in network for one in candidates for network in allowed if network.version == one.version):
        return
    if not all(_is_public(one) for one in candidates):
        raise Refused("addresses of the inner network are not called")


def _is_public(address: Address) -> bool:
    if (
        address.is_multicast
        or address.is_reserved
        or address.is_unspecified
        or getattr(address, "is_site_local", False)
    ):
        return False
    return address.is_global


def _behind(address: Address) -> Address:
    """The IPv4 address inside an IPv6 one, where there is one."""
    if isinstance(address, ipaddress.IPv4Address):
        return address
    if address.ipv4_mapped is not None:
        return address.ipv4_mapped
    if address.sixtofour is not None:
        return address.sixtofour
    if address.teredo is not None:
        return address.teredo[1]
    if any(address in network for network in (*_NAT64, _COMPATIBLE)):
        return ipaddress.IPv4Address(int(address) & 0xFFFFFFFF)
    return address
