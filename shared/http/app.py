"""The HTTP application of a service: what stands around its routes.

From the outside in: CORS → request id, trace, metrics, log → errors → overload → admission (who is calling, may they) → limits of
the body → the route. All of it is plain ASGI.
"""

from collections.abc import Sequence
from importlib import import_module
from typing import Any

import anyio.to_thread
from fastapi import FastAPI
from fastapi.middleware.asyncexitstack import AsyncExitStackMiddleware
from fastapi.openapi.docs import get_swagger_ui_html
from fastapi.responses import HTMLResponse
from pydantic import BaseModel
from starlette.middleware.cors import CORSMiddleware
from starlette.types import ASGIApp, Receive, Scope, Send

from shared import __version__
from shared.auth.gate import CredentialGate
from shared.auth.keys import KeyRing, open_keys
from shared.auth.tokens import Tokens
from shared.database import Sessions
from shared.http import openapi
from shared.http.admission import Admission, Operations, call_operation
from shared.http.health import Readiness
from shared.http.observation import Observation
from shared.http.overload import Overload
from shared.http.rate_limits import RateLimit
from shared.http.reach import Reaches
from shared.http.refusals import Refusals
from shared.http.routing import Router
from shared.service import Service
from shared.settings import Settings

_EXPOSED = ("ETag", "Location", "Retry-After", "X-Request-Id", "Idempotent-Replayed", "Deprecation", "Sunset")
_ACCEPTED = ("Authorization", "Content-Type", "Idempotency-Key", "If-Match", "X-Request-Id", "traceparent")


class Health(BaseModel):
    status: str


class Application(FastAPI):
    """FastAPI for dependencies, validation and OpenAPI; finding routes and rendering errors is done outside of it."""

    operations: Operations

    def build_middleware_stack(self) -> ASGIApp:
        async def inner(scope: Scope, receive: Receive, send: Send) -> None:
            if scope["type"] == "http":
                await call_operation(scope, receive, send)
            else:
                await self.router(scope, receive, send)

        return AsyncExitStackMiddleware(inner)

    def openapi(self) -> dict[str, Any]:
        if self.openapi_schema is None:
            self.openapi_schema = openapi.document(self, self.operations.all)
        return self.openapi_schema


class ServiceApp:
    """The ASGI application of one service, serving under ``/{service}`` (and health also without it).

    ``inner`` is the FastAPI application, for its OpenAPI document and its state (sessions, settings).
    """

    def __init__(self, inner: Application, outer: ASGIApp, keys: KeyRing, threads: int) -> None:
        self.inner = inner
        self.keys = keys
        self._outer = outer
        self._threads = threads
        self._started = False

    def openapi(self) -> dict[str, Any]:
        return self.inner.openapi()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if not self._started:
            self._start()
        if scope["type"] == "lifespan":
            await self._live(receive, send)
        else:
            await self._outer(scope, receive, send)

    def _start(self) -> None:
        """At the start of the server, or at the first request where several applications share one."""
        self._started = True
        # As many requests are worked on at once as there are connections; the others wait their turn.
        anyio.to_thread.current_default_thread_limiter().total_tokens = self._threads
        self.keys.start()

    async def _live(self, receive: Receive, send: Send) -> None:
        while True:
            message = await receive()
            if message["type"] == "lifespan.shutdown":
                await anyio.to_thread.run_sync(self.keys.stop)
            await send({"type": f"{message['type']}.complete"})
            if message["type"] == "lifespan.shutdown":
                return


def new_app(
    service: Service, settings: Settings, sessions: Sessions, keys: KeyRing | None = None
) -> ServiceApp:
    """The application of ``service``; it starts ``keys`` with the server, and stops them with it."""
    keys = keys or open_keys(service, settings, sessions)
    prefix = f"/{service.name}"
    inner = Application(
        title=f"Regulars {service.name}",
        version=__version__,
        openapi_url=None,
        redirect_slashes=False,
        separate_input_output_schemas=False,
    )
    inner.state.sessions = sessions
    inner.state.settings = settings
    readiness = Readiness(service, sessions)
    own: Sequence[Router] = import_module(service.api).ROUTERS
    inner.routes.extend(_health(readiness).under(""))
    for router in (_health(readiness, listed=True), _documents(inner, prefix), *own, *_everywhere(service)):
        inner.routes.extend(router.under(prefix))
    inner.operations = Operations(inner.routes)

    app: ASGIApp = Admission(
        inner,
        inner.operations,
        CredentialGate(keys, Tokens(settings)),
        RateLimit(sessions, settings.rate_limit),
        Reaches(sessions, service.reaches),
    )
    app = Observation(Refusals(Overload(app, settings.threads)), service.name)
    if settings.cors_origins:
        app = CORSMiddleware(
            app,
            allow_origins=settings.cors_origins,
            allow_methods=["GET", "PUT", "POST", "PATCH", "DELETE"],
            allow_headers=_ACCEPTED,
            expose_headers=_EXPOSED,
            max_age=3600,
        )
    return ServiceApp(inner, app, keys, settings.threads)


def _everywhere(service: Service) -> tuple[Router, ...]:
    """What every service answers for the tables of shared/."""
    from shared.audit.api import audit_router
    from shared.jobs.api import router as jobs
    from shared.key_rotation.api import router as sealing_keys
    from shared.messaging.parked_api import router as parked
    from shared.webhooks.api import router as webhooks

    return (jobs, parked, webhooks, sealing_keys, audit_router(service.audited_rows))


def _health(readiness: Readiness, *, listed: bool = False) -> Router:
    router = Router(tags=["health"], include_in_schema=listed)

    @router.get("/livez", public=True)
    async def get_liveness() -> Health:
        """Whether the process answers. Depends on nothing else."""
        return Health(status="alive")

    @router.get("/readyz", public=True)
    def get_readiness() -> Health:
        """Whether requests can be served: the database is reached and its migrations are applied."""
        readiness.check()
        return Health(status="ready")

    return router


def _documents(app: Application, prefix: str) -> Router:
    router = Router(include_in_schema=False)

    @router.get("/openapi.json", public=True)
    async def get_openapi_document() -> dict[str, Any]:
        """This document."""
        return app.openapi()

    @router.get("/docs", public=True, response_class=HTMLResponse)
    async def get_docs() -> HTMLResponse:
        """The document, to read and to try."""
        return get_swagger_ui_html(
            openapi_url=f"{prefix}/openapi.json",
            title=app.title,
            swagger_ui_parameters={"persistAuthorization": True, "displayRequestDuration": True},
        )

    return router
