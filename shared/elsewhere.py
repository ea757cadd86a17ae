"""Pure work in a process of its own, beside the one that waits for a database: what follows from bytes alone needs neither
its connection nor its interpreter lock.

``python -m shared.elsewhere`` is that process. It reads pickles – the work, then its items – from its standard input and
writes what becomes of them to its standard output, at most one result ahead of whoever reads; it ends with either pipe.
"""

import contextlib
import gc
import os
import pickle
import signal
import subprocess
import sys
import threading
from collections.abc import Callable, Generator, Iterable, Iterator
from typing import IO, Any, TypeVar

Item = TypeVar("Item")
Result = TypeVar("Result")

_ITEM, _END, _ERROR = range(3)


class WorkLost(RuntimeError):  # noqa: N818 - what happened
    """The process that did the work died."""


def elsewhere(work: Callable[[Iterator[Item]], Iterable[Result]], items: Iterable[Item]) -> Generator[Result]:
    """What ``work(items)`` gives, made in another process: while the caller uses one result, the next is in the making.

    ``work`` (a function of a module, or a ``functools.partial`` of one), items and results are pickled. Items are taken
    in a thread of their own, as the process wants them. What taking or working raises is raised here. Close it
    (``contextlib.closing``) where the loop may be left early.
    """
    process = subprocess.Popen(
        [sys.executable, "-m", __name__],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        env=os.environ | {"PYTHONPATH": os.pathsep.join(filter(None, sys.path))},
    )
    assert process.stdin is not None
    assert process.stdout is not None
    faults: list[BaseException] = []
    feeder = threading.Thread(
        target=_feed, args=(process.stdin, work, items, faults), name="elsewhere", daemon=True
    )
    feeder.start()
    try:
        while True:
            try:
                kind, value = pickle.load(process.stdout)  # noqa: S301 - our own process
            except (EOFError, pickle.UnpicklingError):  # silent, or cut off in the middle of a result
                feeder.join()
                raise faults[0] if faults else WorkLost(f"it ended with {process.wait()}") from None
            if kind == _END:
                return
            if kind == _ERROR:
                raise value
            yield value
    finally:
        process.kill()
        process.wait()
        feeder.join()
        process.stdout.close()


def _feed(pipe: IO[bytes], work: Any, items: Iterable[Any], faults: list[BaseException]) -> None:
    try:
        pickle.dump(work, pipe, pickle.HIGHEST_PROTOCOL)
        for item in items:
            pickle.dump((_ITEM, item), pipe, pickle.HIGHEST_PROTOCOL)
            pipe.flush()
        pickle.dump((_END, None), pipe)
        pipe.flush()
    except BrokenPipeError:
        pass  # nobody wants more, or the process died: its silence says so
    except BaseException as fault:
        faults.append(fault)
    finally:
        if isinstance(items, Generator):
            items.close()
        with contextlib.suppress(BrokenPipeError):
            pipe.close()


def _items(pipe: IO[bytes]) -> Iterator[Any]:
    while True:
        kind, item = pickle.load(pipe)  # noqa: S301 - our own process
        if kind == _END:
            return
        yield item


def main() -> None:
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # a Ctrl-C is for the one who waits for us
    taken, given = sys.stdin.buffer, sys.stdout.buffer
    sys.stdout = sys.stderr
    try:
        work = pickle.load(taken)  # noqa: S301 - our own process
        # Pure work leaves no cycles behind: looking for some took half of an import's time.
        gc.freeze()
        gc.set_threshold(50_000, 20, 20)
        try:
            for result in work(_items(taken)):
                pickle.dump((_ITEM, result), given, pickle.HIGHEST_PROTOCOL)
                given.flush()
            told: tuple[int, Any] = (_END, None)
        except (EOFError, BrokenPipeError):
            raise
        except Exception as error:
            told = (_ERROR, error)
        pickle.dump(told, given, pickle.HIGHEST_PROTOCOL)
        given.flush()
    except (EOFError, BrokenPipeError):
        os._exit(1)  # whoever wanted it is gone


if __name__ == "__main__":
    main()
