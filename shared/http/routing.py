"""Routes that say who may use them.

``router = Router(prefix="/v1/rewards", tags=["rewards"])``, then ``@router.get("/{reward_id}", scopes=["rewards:read"])``.
Every operation names its scopes or is public. With ``owner="customer_id"`` a customer's own token may use it for the
path parameter of that name. A member of staff who reaches some customers only may use operations about one of them
(``{customer_id}`` in the path), those that ask for no more than the caller reaches (``reach="filtered"``), and those about
no customer at all (``reach="anyone"``). ``streaming=True``: the route reads the body itself, of any length; ``longest``: its body has
at most so many bytes.

A plain ``def`` route runs in one thread from its first statement to the commit: the reply is made, then the
transaction is committed, then the reply leaves. (Left to the framework, each of these steps changes threads.)
"""

import copy
import functools
import inspect
from collections.abc import Callable, Coroutine, Sequence
from dataclasses import dataclass
from typing import Annotated, Any, Literal, Self, TypeVar, get_args, get_origin

import anyio
from fastapi import APIRouter, Request, Response
from fastapi.datastructures import Default, DefaultPlaceholder
from fastapi.exceptions import ResponseValidationError
from fastapi.params import Depends
from fastapi.params import Form as FormParameter
from fastapi.routing import APIRoute
from starlette.concurrency import run_in_threadpool
from starlette.requests import Request as StarletteRequest
from starlette.routing import BaseRoute, compile_path

from shared.auth.callers import Caller
from shared.errors import Forbidden
from shared.http import dependencies
from shared.http.bodies import LONGEST, BoundedRequest, refuse_nul
from shared.http.exchange import Exchange, exchange_of
from shared.http.idempotency import Replayed

Reached = Literal["filtered", "anyone"]
Endpoint = TypeVar("Endpoint", bound=Callable[..., Any])
_ACCESS = "__access__"
_REQUEST, _REPLY = "request__", "reply__"


@dataclass(frozen=True)
class Access:
    """Who may use an operation."""

    scopes: tuple[str, ...] = ()
    owner: str | None = None
    public: bool = False
    streaming: bool = False
    longest: int = LONGEST
    reach: Reached | None = None

    def check(self, caller: Caller, path_parameters: dict[str, Any]) -> None:
        """Raises Forbidden: a scope is missing (``insufficient_scope``) or it is someone else's (``not_yours``)."""
        for scope in self.scopes:
            if not caller.may(scope):
                raise Forbidden("insufficient_scope", f"this needs the scope {scope}")
        if caller.customer_id is not None and (
            self.owner is None or path_parameters.get(self.owner, "").lower() != str(caller.customer_id)
        ):
            raise Forbidden("not_yours", "a customer's token reaches that customer's own resources only")


def needs(
    *scopes: str,
    owner: str | None = None,
    public: bool = False,
    streaming: bool = False,
    longest: int = LONGEST,
    reach: Reached | None = None,
) -> Callable[[Endpoint], Endpoint]:
    """Say who may use an endpoint, below the router's decorator; the same as its keywords."""

    def mark(endpoint: Endpoint) -> Endpoint:
        setattr(endpoint, _ACCESS, Access(tuple(scopes), owner, public, streaming, longest, reach))
        return endpoint

    return mark


class Route(APIRoute):
    """An operation: its access, its strict body, its one thread."""

    access: Access

    def __init__(
        self,
        path: str,
        endpoint: Callable[..., Any],
        *,
        response_model: Any = Default(None),
        operation_id: str | None = None,
        summary: str | None = None,
        description: str | None = None,
        **options: Any,
    ) -> None:
        access = getattr(endpoint, _ACCESS, None)
        if not isinstance(access, Access) or bool(access.scopes) == access.public:
            raise TypeError(f"{endpoint.__qualname__} must either name its scopes or be public")
        self.access = access
        first, _, rest = inspect.cleandoc(endpoint.__doc__ or endpoint.__name__).partition("\n")
        if isinstance(response_model, DefaultPlaceholder):
            annotation = inspect.signature(endpoint, eval_str=True).return_annotation
            is_reply = annotation is inspect.Signature.empty or (
                isinstance(annotation, type) and issubclass(annotation, Response)
            )
            response_model = None if is_reply else annotation
        in_one_thread = not (
            inspect.iscoroutinefunction(endpoint)
            or inspect.isgeneratorfunction(endpoint)
            or inspect.isasyncgenfunction(endpoint)
        )
        super().__init__(
            path,
            self._in_one_thread(endpoint) if in_one_thread else endpoint,
            response_model=response_model,
            operation_id=operation_id or endpoint.__name__,
            summary=summary or first.rstrip("."),
            description=description or rest.strip(),
            **options,
        )

    def under(self, prefix: str) -> Self:
        """The same operation below ``prefix``."""
        route = copy.copy(self)
        route.path = prefix + self.path
        route.path_regex, route.path_format, route.param_convertors = compile_path(route.path)
        return route

    def get_route_handler(self) -> Callable[[StarletteRequest], Coroutine[Any, Any, Response]]:
        handle = super().get_route_handler()
        takes_body = self.body_field is not None and not self.access.streaming
        takes_json = takes_body and not isinstance(self.body_field.field_info, FormParameter)  # type: ignore[union-attr]

        async def handle_bounded(received: StarletteRequest) -> Response:
            request = received
            if not self.access.streaming:
                request = BoundedRequest(received.scope, received.receive, received._send)
                request.longest = self.access.longest
                if takes_body and await request.arrive() and takes_json:
                    request.require_json()
                    await request.json()
            exchange = exchange_of(received)
            try:
                response = await handle(request)
            except BaseException:
                if exchange.session is not None:
                    await _close(exchange, commit=False)
                raise
            if exchange.session is not None:
                await _close(exchange, commit=True)
            return response

        return handle_bounded

    def _in_one_thread(self, endpoint: Callable[..., Any]) -> Callable[..., Response]:
        signature = inspect.signature(endpoint, eval_str=True)
        times = [name for name, parameter in signature.parameters.items() if _is_now(parameter.annotation)]
        # FastAPI fills one parameter of each kind; where the endpoint has its own, that one is shared.
        own = {
            kind: name
            for name, parameter in signature.parameters.items()
            for kind in (Request, Response)
            if parameter.annotation is kind
        }

        def run(**values: Any) -> Response:
            request = values[own[Request]] if Request in own else values.pop(_REQUEST)
            reply = values[own[Response]] if Response in own else values.pop(_REPLY)
            exchange = exchange_of(request)
            try:
                if exchange.may_hold_nul:
                    refuse_nul(values.values())
                if times:
                    assert exchange.session is not None
                    time = dependencies.time_of(exchange.session)
                    values.update((name, time) for name in times)
                try:
                    response = self._reply(endpoint(**values), reply)
                except Replayed as replayed:
                    response = replayed.reply
                else:
                    if exchange.keep is not None:
                        exchange.keep(response)
            except BaseException:
                dependencies.close(exchange, commit=False)
                raise
            dependencies.close(exchange, commit=True)
            return response

        functools.update_wrapper(run, endpoint)
        run.__dict__.pop("__wrapped__")
        extra = [
            inspect.Parameter(name, inspect.Parameter.KEYWORD_ONLY, annotation=kind)
            for name, kind in ((_REQUEST, Request), (_REPLY, Response))
            if kind not in own
        ]
        run.__signature__ = signature.replace(  # type: ignore[attr-defined]
            parameters=[*signature.parameters.values(), *extra], return_annotation=inspect.Signature.empty
        )
        run.__annotations__ = {}
        return run

    def _reply(self, result: Any, reply: Response) -> Response:
        """The response of what a route gave; ``reply`` has the status and headers that it set on the side."""
        status = reply.status_code or self.status_code or 200
        if isinstance(result, Response):
            response = result
        elif self.response_field is None:
            response = Response(status_code=status) if result is None else self._unmodelled(result, status)
        else:
            value, errors = self.response_field.validate(result, {}, loc=("response",))
            if errors:
                raise ResponseValidationError(errors=errors, body=None)
            content = self.response_field.serialize_json(
                value,
                include=self.response_model_include,
                exclude=self.response_model_exclude,
                by_alias=self.response_model_by_alias,
                exclude_unset=self.response_model_exclude_unset,
                exclude_defaults=self.response_model_exclude_defaults,
                exclude_none=self.response_model_exclude_none,
            )
            response = Response(content, status, media_type="application/json")
        response.headers.raw.extend(reply.headers.raw)
        return response

    def _unmodelled(self, result: Any, status: int) -> Response:
        kind = self.response_class
        build = kind.value if isinstance(kind, DefaultPlaceholder) else kind
        made: Response = build(result, status)
        return made


class Router(APIRouter):
    """An APIRouter whose operations say who may use them."""

    def __init__(self, **options: Any) -> None:
        super().__init__(route_class=Route, **options)

    def under(self, prefix: str) -> list[BaseRoute]:
        """Its operations below ``prefix``. (``include_router`` would build the models of each a second time.)"""
        return [route.under(prefix) if isinstance(route, Route) else route for route in self.routes]

    def get(self, path: str, **options: Any) -> Callable[[Endpoint], Endpoint]:
        return self._operation("GET", path, **options)

    def put(self, path: str, **options: Any) -> Callable[[Endpoint], Endpoint]:
        return self._operation("PUT", path, **options)

    def post(self, path: str, **options: Any) -> Callable[[Endpoint], Endpoint]:
        return self._operation("POST", path, **options)

    def patch(self, path: str, **options: Any) -> Callable[[Endpoint], Endpoint]:
        return self._operation("PATCH", path, **options)

    def delete(self, path: str, **options: Any) -> Callable[[Endpoint], Endpoint]:
        return self._operation("DELETE", path, **options)

    def _operation(
        self,
        method: str,
        path: str,
        *,
        scopes: Sequence[str] = (),
        owner: str | None = None,
        public: bool = False,
        streaming: bool = False,
        longest: int = LONGEST,
        reach: Reached | None = None,
        **options: Any,
    ) -> Callable[[Endpoint], Endpoint]:
        def register(endpoint: Endpoint) -> Endpoint:
            if scopes or public:
                needs(*scopes, owner=owner, public=public, streaming=streaming, longest=longest, reach=reach)(
                    endpoint
                )
            self.add_api_route(path, endpoint, methods=[method], **options)
            return endpoint

        return register


async def _close(exchange: Exchange, *, commit: bool) -> None:
    """What an ``async def`` route, or a request refused before its route began, left open."""
    if exchange.session is not None and exchange.session.in_transaction():
        with anyio.CancelScope(shield=True):
            await run_in_threadpool(dependencies.close, exchange, commit=commit)
    else:
        dependencies.close(exchange, commit=commit)


def _is_now(annotation: Any) -> bool:
    return get_origin(annotation) is Annotated and any(
        isinstance(extra, Depends) and extra.dependency is dependencies.now
        for extra in get_args(annotation)[1:]
    )
