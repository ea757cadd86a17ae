"""Finds the operation, asks who is calling, and lets in whoever may use it – before any of the body is read."""

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any
from urllib.parse import quote, unquote

from fastapi.routing import iter_route_contexts
from starlette.routing import BaseRoute
from starlette.types import ASGIApp, Receive, Scope, Send

from shared.auth.gate import Gate
from shared.errors import Invalid, NotFound, Refusal
from shared.http.exchange import KEY, Exchange
from shared.http.routing import Access, Route

_PUBLIC = Access(public=True)


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


class Operations:
    """Every operation by method and number of path segments, so that finding one does not try them all.

    Paths are matched as they were sent: a ``%2F`` inside a segment stays part of that segment.
    """

    def __init__(self, routes: Iterable[BaseRoute], public_paths: Iterable[str]) -> None:
        open_to_all = frozenset(public_paths)
        self.all: list[Operation] = []
        for context in iter_route_contexts(list(routes)):
            route, template = context.original_route, context.path_format or ""
            if isinstance(route, Route):
                access = route.access
            elif template in open_to_all:
                access = _PUBLIC
            else:
                raise TypeError(f"{template}: build operations with shared.http.routing.Router")
            for method in sorted(context.methods or ()):
                self.all.append(
                    Operation(
                        method, template, context.path_regex, access, route, context.endpoint, context.app
                    )
                )
        self._table: dict[tuple[str, int], list[Operation]] = {}
        self._any_length = [operation for operation in self.all if ":path" in _declared(operation.route)]

    def find(self, method: str, path: str) -> tuple[Operation, dict[str, str]] | None:
        """The operation that answers ``method`` on ``path``, and its path parameters as they were sent."""
        wanted = (method, path.count("/"))
        candidates = self._table.get(wanted)
        if candidates is None:
            candidates = [operation for operation in self._of_length(wanted[1]) if operation.method == method]
            if candidates:  # nobody makes this table grow by sending odd methods and paths
                self._table[wanted] = candidates
        for operation in candidates:
            if match := operation.pattern.match(path):
                return operation, match.groupdict()
        return None

    def others(self, path: str) -> list[Operation]:
        """The operations under this path, whatever their method."""
        return [operation for operation in self._of_length(path.count("/")) if operation.pattern.match(path)]

    def _of_length(self, segments: int) -> list[Operation]:
        return [
            operation
            for operation in self.all
            if operation.template.count("/") == segments or operation in self._any_length
        ]


class Admission:
    """The door: 401 for strangers, then 404 and 405, then 403, then the operation."""

    def __init__(self, app: ASGIApp, operations: Operations, gate: Gate) -> None:
        self._app = app
        self._operations = operations
        self._gate = gate

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        exchange: Exchange = scope[KEY]
        path, method = _sent_path(scope), scope["method"]
        chosen = self._operations.find(method, path)
        others = self._operations.others(path) if chosen is None else ()
        if not (chosen[0].access.public if chosen else any(other.access.public for other in others)):
            exchange.caller = await self._gate.admit(_authorization(scope))
        if chosen is None:
            if others:
                exchange.template = others[0].template
            raise _nowhere(method, others)
        operation, parameters = chosen
        exchange.template = operation.template
        exchange.handler = operation.app
        scope["path_params"] = _decoded(parameters)
        if exchange.caller is not None:
            operation.access.check(exchange.caller, scope["path_params"])
        if "%00" in scope["query_string"].decode("latin-1"):
            raise Invalid("nul_character", "the query holds the character U+0000")
        scope["endpoint"] = operation.endpoint
        scope["route"] = operation.route
        await self._app(scope, receive, send)


async def call_operation(scope: Scope, receive: Receive, send: Send) -> None:
    """What stands where the framework's router was: the operation was found before."""
    await scope[KEY].handler(scope, receive, send)


def _nowhere(method: str, others: Iterable[Operation]) -> Refusal:
    allowed = ", ".join(sorted({operation.method for operation in others}))
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


def _declared(route: BaseRoute) -> str:
    return str(getattr(route, "path", ""))
