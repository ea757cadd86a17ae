"""A client of a running suite's HTTP API, for the demo."""

import sys
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any, TypeVar

import httpx

from shared.embedded.postgres import CannotStart

Item = TypeVar("Item")
AT_ONCE = 4


class SuiteClient:
    """Calls ``/{service}/v1/…`` with the admin key. Raises CannotStart with the problem's code where a call fails."""

    def __init__(self, address: str, key: str) -> None:
        self._http = httpx.Client(
            base_url=address,
            headers={"Authorization": f"Bearer {key}"},
            timeout=httpx.Timeout(60, connect=5),
            trust_env=False,
        )

    def close(self) -> None:
        self._http.close()

    def is_up(self) -> bool:
        try:
            return self._http.get("/readyz").status_code == 200
        except httpx.HTTPError:
            return False

    def get(self, path: str, **query: Any) -> Any:
        return self._read(self._http.get(path, params=query))

    def put(self, path: str, body: Any) -> Any:
        return self._read(self._http.put(path, json=body))

    def post(self, path: str, body: Any = None, *, once: str | None = None) -> Any:
        headers = {"Idempotency-Key": once} if once else {}
        return self._read(self._http.post(path, json=body, headers=headers))

    def answer(self, url: str, form: dict[str, str]) -> bool:
        """Send a hosted page's form; whether it was taken."""
        return self._http.post(url, data=form, headers={"Authorization": ""}).status_code == 200

    def upload(self, path: str, blocks: Iterable[bytes], media: str, *, gzipped: bool, **query: Any) -> Any:
        headers = {"Content-Type": media} | ({"Content-Encoding": "gzip"} if gzipped else {})
        return self._read(self._http.post(path, params=query, content=blocks, headers=headers))

    def items(self, path: str, **query: Any) -> Iterator[Any]:
        """Every item of a list, page by page."""
        cursor: str | None = None
        while True:
            page = self.get(path, limit=200, **query, **({"cursor": cursor} if cursor else {}))
            yield from page["items"]
            if (cursor := page["next_cursor"]) is None:
                return

    def each(self, items: Sequence[Item], call: Callable[[Item], Any], doing: str) -> list[Any]:
        """``call`` for every item, a few at once, with a progress bar; the results in order."""
        bar = Bar(doing)
        results = []
        with ThreadPoolExecutor(AT_ONCE) as threads:
            for done, result in enumerate(threads.map(call, items), 1):
                results.append(result)
                bar.show(done, len(items))
        bar.end()
        return results

    def follow(self, service: str, job_id: str, doing: str) -> Any:
        """Wait for a job, with a progress bar; the job as it ended. Raises CannotStart unless it succeeded."""
        bar = Bar(doing)
        while True:
            job = self.get(f"/{service}/v1/jobs/{job_id}")
            progress = job["progress"]
            bar.show(progress["processed"] + progress["failed"], progress["total"])
            if job["state"] not in ("queued", "running"):
                bar.end()
                break
            time.sleep(0.3)
        if job["state"] != "succeeded":
            raise CannotStart(f"{doing}: the job {job['state']}: {job['error']}")
        return job

    def _read(self, reply: httpx.Response) -> Any:
        if reply.is_success:
            return reply.json() if reply.content else None
        raise CannotStart(
            f"{reply.request.method} {reply.request.url.path} → {reply.status_code}: {reply.text}"
        )


class Bar:
    """A progress bar on a terminal; elsewhere one line when it is done."""

    WIDTH = 30

    def __init__(self, doing: str) -> None:
        self._doing = doing
        self._began = time.monotonic()
        self._last = ""
        self._is_terminal = sys.stdout.isatty()

    def show(self, done: int, total: int | None) -> None:
        if total:
            full = min(self.WIDTH, self.WIDTH * done // total)
            self._last = f"[{'█' * full}{'░' * (self.WIDTH - full)}] {done:,} of {total:,}"
        else:
            self._last = f"{done:,}"
        if self._is_terminal:
            print(f"\r{self._doing} {self._last}", end="\033[K", flush=True)

    def end(self) -> None:
        ending = f"{self._doing} {self._last} in {time.monotonic() - self._began:.1f} s"
        print(f"\r{ending}\033[K" if self._is_terminal else ending, flush=True)
