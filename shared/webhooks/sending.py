"""Make the calls that are due: several at once, each settled by itself, no receiver in another's way."""

import email.utils
import logging
import threading
import time
from collections import Counter
from collections.abc import Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from uuid import UUID

import httpx
from prometheus_client import Counter as Metric
from sqlalchemy.exc import DBAPIError
from sqlalchemy.exc import TimeoutError as PoolTimeout

from shared import outbound
from shared.jobs.schedule import Context
from shared.webhooks import queue, signing

CALLS_AT_ONCE = 16
# To connect, and for each step of the answer; the whole is bounded by reading little of it.
TIMEOUT = 10.0
IDLE = 1.0
BUSY = 0.05
_READ_AT_MOST = 64 * 1024

_CALLS = Metric("regulars_webhook_calls", "Calls of webhooks by what became of them", ["outcome"])
log = logging.getLogger(__name__)


def run(context: Context, stop: threading.Event) -> None:
    """Until ``stop``; outlives outages of the database. Calls that are being made are finished."""
    sender = _Sender(context)
    try:
        while not stop.is_set():
            try:
                stop.wait(BUSY if sender.start_due() else IDLE)
            except (DBAPIError, PoolTimeout) as error:
                log.warning("webhooks wait for the database", extra={"error": type(error).__name__})
                stop.wait(IDLE * 5)
    finally:
        sender.close()


class _Sender:
    def __init__(self, context: Context) -> None:
        self._context = context
        self._pool = ThreadPoolExecutor(CALLS_AT_ONCE, thread_name_prefix="webhook")
        self._calls: dict[Future[None], UUID] = {}
        self._clients: dict[tuple[UUID, str], httpx.Client] = {}

    def start_due(self) -> bool:
        """Begin what is due as far as there is room; whether anything is under way."""
        for future in [future for future in self._calls if future.done()]:
            del self._calls[future]
            if (error := future.exception()) is not None:
                # Not settled: it is claimed again when its lease is over.
                log.warning("a webhook's call was not settled", extra={"error": type(error).__name__})
        room = CALLS_AT_ONCE - len(self._calls)
        if room:
            with self._context.sessions.begin() as session:
                calls = queue.claim(session, room, Counter(self._calls.values()))
            for call in calls:
                self._calls[self._pool.submit(self._make, call, self._client(call))] = call.webhook_id
        return bool(self._calls)

    def close(self) -> None:
        self._pool.shutdown(wait=True)
        for client in self._clients.values():
            client.close()

    def _client(self, call: queue.Call) -> httpx.Client:
        wanted = (call.webhook_id, call.url)
        if wanted not in self._clients:
            # One for each receiver, and a changed address leaves no connection behind that others might use.
            if len(self._clients) >= 4 * CALLS_AT_ONCE and not self._calls:
                for client in self._clients.values():
                    client.close()
                self._clients.clear()
            self._clients[wanted] = outbound.client(
                timeout=TIMEOUT, allowed=self._context.settings.outbound_networks
            )
        return self._clients[wanted]

    def _make(self, call: queue.Call, client: httpx.Client) -> None:
        began = time.monotonic()
        status, error, asked = _post(client, call)
        with self._context.sessions.begin() as session:
            if error is None:
                queue.settle_delivered(session, call, status or 0)
                outcome = "delivered"
            else:
                outcome = queue.settle_failed(session, call, status, error, asked)
                if status == httpx.codes.GONE:
                    queue.stop(session, call.webhook_id, "gone")
        _CALLS.labels("delivered" if error is None else "failed" if outcome == "failed" else "retried").inc()
        if error is not None:
            log.info(
                "a webhook's call failed",
                extra={
                    "webhook_id": str(call.webhook_id),
                    "error": error,
                    "attempt": call.attempts,
                    "milliseconds": round((time.monotonic() - began) * 1000),
                },
            )


def _post(client: httpx.Client, call: queue.Call) -> tuple[int | None, str | None, timedelta | None]:
    """Status, what went wrong (None = arrived), and how long the receiver wants to be left alone."""
    headers = {
        "Content-Type": "application/cloudevents+json",
        **signing.headers(str(call.event_id), call.sent_at, call.body, call.secrets),
    }
    try:
        with client.stream("POST", call.url, content=call.body, headers=headers) as answer:
            read = 0
            for part in answer.iter_raw():
                read += len(part)
                if read > _READ_AT_MOST:
                    break
            if answer.is_success:
                return answer.status_code, None, None
            return answer.status_code, f"http_{answer.status_code}", _retry_after(answer.headers)
    except outbound.Refused:
        return None, "url_refused", None
    except httpx.TimeoutException:
        return None, "timeout", None
    except httpx.HTTPError:
        return None, "connection_failed", None
    except httpx.InvalidURL:
        return None, "url_refused", None


def _retry_after(headers: Mapping[str, str]) -> timedelta | None:
    asked = headers.get("retry-after", "")
    if asked.isascii() and asked.isdigit():
        return timedelta(seconds=min(int(asked), 86_400))
    try:
        moment = email.utils.parsedate_to_datetime(asked)
    except ValueError:
        return None
    return moment - datetime.now(UTC) if moment.tzinfo else None
