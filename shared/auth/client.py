"""Calls to the other services: own key, short timeouts, the trace handed on, problems as exceptions."""

import ssl
from collections.abc import Mapping
from functools import cache
from typing import Any, Literal, Self

import httpx

from shared import tracing
from shared.errors import Refusal, Unavailable
from shared.settings import Settings

Target = Literal["profile", "scoring", "campaigns", "feedback"]


class CallRefused(Exception):  # noqa: N818 - it is an answer
    """The other service answered, and said no; ``status`` and ``code`` are those of its problem document."""

    def __init__(self, target: str, status: int, code: str, detail: str) -> None:
        super().__init__(f"{target} answered {status} {code}: {detail}")
        self.target, self.status, self.code, self.detail = target, status, code, detail


class ServiceClient:
    """HTTP to one other service of the suite.

    Paths start below the service: ``ServiceClient(settings, "profile").post("/v1/contact-points/lookup", {...})``.
    Gives the decoded JSON. Raises CallRefused for a 4xx, Unavailable (``profile_unavailable``) when there is no
    answer or a 5xx. Safe to use from several threads.
    """

    def __init__(
        self,
        settings: Settings,
        target: Target,
        *,
        timeout: float = 5.0,
        transport: httpx.BaseTransport | None = None,
    ) -> None:
        self._target = target
        self._client = httpx.Client(
            base_url=f"{getattr(settings, f'{target}_url').rstrip('/')}/{target}",
            headers={
                "Authorization": f"Bearer {settings.service_key}",
                "User-Agent": f"regulars-{settings.service}",
            },
            timeout=httpx.Timeout(timeout, connect=1.0),
            verify=_trust(),
            transport=transport,
        )

    def get(self, path: str, params: Mapping[str, Any] | None = None) -> Any:
        return self._ask("GET", path, params=params)

    def post(self, path: str, json: Any = None, *, idempotency_key: str | None = None) -> Any:
        headers = {"Idempotency-Key": idempotency_key} if idempotency_key else {}
        return self._ask("POST", path, json=json, headers=headers)

    def put(self, path: str, json: Any = None) -> Any:
        return self._ask("PUT", path, json=json)

    def close(self) -> None:
        self._client.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _ask(
        self, method: str, path: str, *, headers: Mapping[str, str] | None = None, **content: Any
    ) -> Any:
        sent = dict(headers or {})
        if traceparent := tracing.current_traceparent():
            sent["traceparent"] = traceparent
        if request_id := tracing.current_request_id():
            sent["X-Request-Id"] = request_id
        try:
            reply = self._client.request(method, path, headers=sent, **content)
        except httpx.HTTPError as error:
            raise self._away(type(error).__name__) from error
        if reply.status_code >= 500 or reply.status_code == 429:
            raise self._away(str(reply.status_code))
        if reply.status_code >= 400:
            problem = _json(reply)
            raise CallRefused(
                self._target, reply.status_code, str(problem.get("code", "")), str(problem.get("detail", ""))
            )
        return reply.json() if reply.content else None

    def _away(self, reason: str) -> Refusal:
        return Unavailable(
            f"{self._target}_unavailable",
            f"{self._target} does not answer ({reason})",
            headers={"Retry-After": "5"},
        )


@cache
def _trust() -> ssl.SSLContext:
    """Whom all clients of this process trust; reading the certificates takes 50 ms and a megabyte each time."""
    return httpx.create_ssl_context()


def _json(reply: httpx.Response) -> Mapping[str, Any]:
    try:
        decoded = reply.json()
    except ValueError:
        return {}
    return decoded if isinstance(decoded, dict) else {}
