"""What runs: one service's api, relay, react and work, each until it is told to stop."""

import asyncio
import gc
import logging
import signal
import socket
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from sqlalchemy.engine import Engine

from shared import key_rotation
from shared.database import Sessions, open_engine, open_sessions
from shared.jobs import runner, scheduler
from shared.jobs.schedule import Context
from shared.messaging import outbox, react
from shared.messaging.bus import Bus
from shared.messaging.relay import Relay
from shared.sealing import Keyring
from shared.service import Service
from shared.settings import Settings
from shared.webhooks import sending

if TYPE_CHECKING:
    import uvicorn

# From the signal to the end: what is being answered or committed is finished, and no longer than an orchestrator waits.
GRACE = 8.0
# Seconds between taking no new connection and cutting off those that are silent.
LAST_WORD = 0.5

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class OpenService:
    """A service with its database open, as one process uses it."""

    service: Service
    settings: Settings
    engine: Engine
    sessions: Sessions


@contextmanager
def open_service(
    service: Service, settings: Settings, role: str, *, pool_size: int | None = None, patient: bool = False
) -> Iterator[OpenService]:
    """Open the database for one process; ``role`` is what ``pg_stat_activity`` shows beside the service's name.

    ``patient`` is for work that nobody waits for: no statement timeout, and a busy pool is waited for.
    """
    patience = {"statement_timeout": "0", "lock_timeout": "30s", "pool_timeout": 60.0} if patient else {}
    engine = open_engine(
        settings.database_url,
        pool_size=pool_size or settings.pool_size,
        name=f"{service.name} {role}",
        **patience,  # type: ignore[arg-type]
    )
    sessions = open_sessions(engine, settings=settings, keyring=Keyring(settings.sealing_keys))
    outbox.install(sessions)
    try:
        yield OpenService(service, settings, engine, sessions)
    finally:
        engine.dispose()


def stop_on_signals(stop: threading.Event) -> None:
    """SIGTERM and Ctrl-C ask for an orderly end."""

    def ask(number: int, frame: Any) -> None:
        stop.set()

    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, ask)


def spare_the_collector() -> None:
    """What is loaded by now stays loaded, and neither requests nor batches of events or rows leave cycles behind: the
    collector need not walk all of it every few hundred objects. (It took a fifth of an import's CPU: 22 s against
    17 s for the 541,909 rows of the real file.)"""
    gc.collect()
    gc.freeze()
    gc.set_threshold(50_000, 20, 20)
    gc.enable()


def serve(app: Any, settings: Settings, *, stop: threading.Event | None = None, bound: Any = None) -> None:
    """Answer requests until SIGTERM or ``stop``: then take no new connection, finish what is being answered, leave."""
    server = http_server(app, settings)
    spare_the_collector()
    if stop is not None:
        threading.Thread(target=_end_server, args=(server, stop), name="end", daemon=True).start()
    # uvicorn raises the signal once more when it is done; by then it has been obeyed.
    stop_on_signals(stop or threading.Event())
    server.run(sockets=[bound] if bound is not None else None)


def _end_server(server: "uvicorn.Server", stop: threading.Event) -> None:
    stop.wait()
    server.should_exit = True


def http_server(app: Any, settings: Settings) -> "uvicorn.Server":
    import uvicorn

    class Server(uvicorn.Server):
        async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
            """The server would cut off connections that have not asked anything yet; whoever was let in at the last
            moment is given the time to."""
            for server in self.servers:
                server.close()
            await asyncio.sleep(LAST_WORD)
            await super().shutdown(sockets)

    return Server(
        uvicorn.Config(
            app,
            host=settings.host,
            port=settings.port,
            loop="uvloop",
            http="httptools",
            ws="none",
            lifespan="on",
            log_config=None,
            access_log=False,
            server_header=False,
            date_header=True,
            proxy_headers=False,
            backlog=1024,
            # Requests are limited by shared/http/overload.py, with a proper answer; this bounds idle connections.
            limit_concurrency=4_096,
            h11_max_incomplete_event_size=64 * 1024,
            timeout_keep_alive=30,
            timeout_graceful_shutdown=int(GRACE),
        )
    )


def start_metrics(port: int, host: str = "0.0.0.0") -> Callable[[], None]:  # noqa: S104 - scraped from other pods
    """Metrics for Prometheus on a port of their own (0 = none); returns what stops them."""
    if not port:
        return lambda: None
    from prometheus_client import start_http_server

    server, thread = start_http_server(port, addr=host)

    def end() -> None:
        server.shutdown()
        server.server_close()
        thread.join(2)

    return end


def run_threads(
    loops: Sequence[tuple[str, Callable[[threading.Event], None]]], stop: threading.Event
) -> None:
    """Run every loop in a thread until ``stop``. A loop that ends with an error ends the process: whoever supervises it
    starts it again, and a half-dead process is never mistaken for a living one."""
    failures: list[BaseException] = []
    spare_the_collector()

    def guarded(name: str, loop: Callable[[threading.Event], None]) -> None:
        try:
            loop(stop)
        except BaseException as error:
            log.exception("%s ended", name)
            failures.append(error)
        finally:
            stop.set()

    threads = [
        threading.Thread(target=guarded, args=(name, loop), name=name, daemon=True) for name, loop in loops
    ]
    for thread in threads:
        thread.start()
    stop.wait()
    deadline = time.monotonic() + GRACE
    for thread in threads:
        thread.join(max(0.0, deadline - time.monotonic()))
    if failures:
        raise SystemExit(1)


def relay_loops(opened: OpenService, bus: Bus) -> list[tuple[str, Callable[[threading.Event], None]]]:
    return [(f"{opened.service.name} relay", Relay(opened.engine, bus).run)]


def react_loops(opened: OpenService, bus: Bus) -> list[tuple[str, Callable[[threading.Event], None]]]:
    def follow(consumer: Any) -> Callable[[threading.Event], None]:
        return lambda stop: react.run(opened.sessions, bus, consumer, stop)

    return [
        (f"{opened.service.name} {consumer.name}", follow(consumer)) for consumer in opened.service.consumers
    ]


def work_loops(opened: OpenService) -> list[tuple[str, Callable[[threading.Event], None]]]:
    """Jobs, steps and, unless others start it, the schedule of one service. ``opened`` has no statement timeout."""
    service, context = opened.service, Context(opened.settings, opened.sessions, opened.engine)
    schedule = service.schedule if opened.settings.run_schedule else ()
    loops: list[tuple[str, Callable[[threading.Event], None]]] = [
        (
            f"{service.name} housekeeping",
            lambda stop: scheduler.run(context, service.steps, schedule, stop),
        )
    ]
    loops.append((f"{service.name} webhooks", lambda stop: sending.run(context, stop)))
    jobs = {key_rotation.KIND: key_rotation.rotate_keys, **service.jobs}
    loops.append((f"{service.name} jobs", lambda stop: runner.run(jobs, context, stop)))
    return loops
