"""Preparing the next chunk of a job while the one before is in the database."""

import queue
import threading
from collections.abc import Generator, Iterable
from typing import Any, TypeVar

Item = TypeVar("Item")


def one_ahead(items: Iterable[Item]) -> Generator[Item]:
    """The same items; the next one is made in a thread of its own while the caller works on this one.

    For items that take work to make (parsing, pricing) and a caller that waits for a database: both get on at once. At
    most one item lies ready, so memory stays that of two. Close it (``contextlib.closing``) where the loop may be left
    early: the thread then ends with the item it is at. What making an item raises is raised here.
    """
    ready: queue.Queue[tuple[Item | None, BaseException | None, bool]] = queue.Queue(maxsize=1)
    over = threading.Event()

    def put(entry: Any) -> None:
        while not over.is_set():
            try:
                ready.put(entry, timeout=0.1)
                return
            except queue.Full:
                continue

    def make() -> None:
        try:
            for item in items:
                put((item, None, False))
                if over.is_set():
                    return
            put((None, None, True))
        except BaseException as error:
            put((None, error, True))

    thread = threading.Thread(target=make, name="one-ahead", daemon=True)
    thread.start()
    try:
        while True:
            item, error, ended = ready.get()
            if error is not None:
                raise error
            if ended:
                return
            yield item  # type: ignore[misc]
    finally:
        over.set()
        thread.join()
