"""Finds the operation, asks who is calling, and lets in whoever may use it – before any of the body is read."""

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any
from urllib.parse import quote, unquote

from starlette.routing import BaseRoute
from starlette.types import ASGIApp, Receive, Scope, Send

from shared.auth.gate import Gate
from shared.errors import Invalid, NotFound, Refusal
from shared.http.exchange import KEY, Exchange
from shared.http.rate_limits import RateLimit
from shared.http.reach import Reaches
from shared.http.routing import Access, Route

_LONGEST_REMEMBERED = 32


class MethodNotAllowed(Refusal):
    """The path is served, but not with this method (405)."""

    status = 405


@dataclass(frozen=True, slots=True)
class Operation:
    """One method of one path, ready to be called."""

    method: str
    template: str
    pattern: re.Pattern[str]
    access: Access
    route: BaseRoute
    endpoint: Any
    app: ASGIApp


@dataclass(frozen=True, slots=True)
class Template:
    """A path with named parameters, and the operations served under it by method."""

    path: str
    pattern: re.Pattern[str]
    operations: dict[str, Operation]

    @property
    def any_length(self) -> bool:
        return ".*" in self.pattern.pattern

    @property
    def noun(self) -> str:
        return _noun(self.path)

    @property
    def rank(self) -> tuple[bool, ...]:
        """Sorts what is said literally before what is named: ``/items/latest`` before ``/items/{item_id}``."""
        return (self.any_length, *(segment.startswith("{") for segment in self.path.split("/")))


def _noun(path: str) -> str:
    """The third step: ``purchases`` of ``/profile/v1/purchases/{source}/{external_id}``."""
    steps = path.split("/", 4)
    return steps[3] if len(steps) > 3 else ""


class Operations:
    """Every operation by its path, so that finding one does not try them all.

    Paths are matched as they were sent: a ``%2F`` inside a segment stays part of that segment.
    """

    def __init__(self, routes: Iterable[BaseRoute]) -> None:
        self.all: list[Operation] = []
        templates: dict[str, Template] = {}
        for route in routes:
            if not isinstance(route, Route):
                raise TypeError(f"{route}: build operations with shared.http.routing.Router")
            path, pattern = route.path_format, route.path_regex
            template = templates.setdefault(path, Template(path, pattern, {}))
            for method in sorted(route.methods or ()):
                operation = Operation(method, path, pattern, route.access, route, route.endpoint, route.app)
                self.all.append(operation)
                template.operations.setdefault(method, operation)
        self._templates = sorted(templates.values(), key=lambda template: template.rank)
        self._nouns = {template.noun for template in self._templates}
        self._remembered: dict[tuple[int, str], list[Template]] = {}

    def find(self, path: str) -> tuple[Template, dict[str, str]] | None:
        """The template under which ``path`` is served, and the path parameters as they were sent."""
        length = path.count("/")
        noun = _noun(path)
        candidates = self._remembered.get((length, noun))
        if candidates is None:
            candidates = [
                template
                for template in self._templates
                if template.any_length
                or (template.path.count("/") == length and (template.noun == noun or "{" in template.noun))
            ]
            if length < _LONGEST_REMEMBERED and noun in self._nouns:
                self._remembered[length, noun] = candidates
        for template in candidates:
            if match := template.pattern.match(path):
                return template, match.groupdict()
        return None


class Admission:
    """The door: 401 for strangers, then 404 and 405, then 429, then 403, then the operation."""

    def __init__(
        self, app: ASGIApp, operations: Operations, gate: Gate, rates: RateLimit, reaches: Reaches
    ) -> None:
        self._app = app
        self._operations = operations
        self._gate = gate
        self._rates = rates
        self._reaches = reaches

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        exchange: Exchange = scope[KEY]
        found = self._operations.find(_sent_path(scope))
        operations = found[0].operations if found else {}
        operation = operations.get(scope["method"])
        # Who asks with another method than those served learns no more than who asks with one of them.
        if not (
            operation.access.public
            if operation
            else any(other.access.public for other in operations.values())
        ):
            exchange.caller = await self._gate.admit(_authorization(scope))
        if found is None or operation is None:
            exchange.template = found[0].path if found else None
            raise _nowhere(scope["method"], operations)
        parameters = found[1]
        exchange.template = operation.template
        exchange.handler = operation.app
        scope["path_params"] = _decoded(parameters)
        if exchange.caller is not None:
            await self._rates.take(exchange.caller)
            operation.access.check(exchange.caller, scope["path_params"])
            await self._reaches.check(exchange.caller, operation.access, scope["path_params"])
        if "%00" in scope["query_string"].decode("latin-1"):
            raise Invalid("nul_character", "the query holds the character U+0000")
        scope["endpoint"] = operation.endpoint
        scope["route"] = operation.route
        await self._app(scope, receive, send)


async def call_operation(scope: Scope, receive: Receive, send: Send) -> None:
    """What stands where the framework's router was: the operation was found before."""
    await scope[KEY].handler(scope, receive, send)


def _nowhere(method: str, served: Iterable[str]) -> Refusal:
    allowed = ", ".join(sorted(served))
    if not allowed:
        return NotFound("unknown_path", "nothing is served under this path")
    return MethodNotAllowed(
        "method_not_allowed", f"{method} is not possible here, only {allowed}", headers={"Allow": allowed}
    )


def _sent_path(scope: Scope) -> str:
    raw = scope.get("raw_path")
    if raw is None:
        return quote(scope["path"])
    return str(raw.partition(b"?")[0].decode("latin-1"))


def _decoded(parameters: Mapping[str, str]) -> dict[str, str]:
    decoded = {}
    for name, value in parameters.items():
        if "%" in value:
            try:
                value = unquote(value, errors="strict")
            except UnicodeDecodeError:
                raise NotFound("unknown_path", "the path is not UTF-8") from None
            if "\0" in value:
                raise Invalid("nul_character", "the path holds the character U+0000")
        decoded[name] = value
    return decoded


def _authorization(scope: Scope) -> str | None:
    for name, value in scope["headers"]:
        if name == b"authorization":
            return str(value.decode("latin-1"))
    return None
