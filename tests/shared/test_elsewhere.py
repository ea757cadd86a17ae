"""Work in a process of its own: the same results in the same order, the same errors, and nothing left behind."""

import os
import signal
import threading
import time
from collections.abc import Iterator
from contextlib import closing
from functools import partial
from pathlib import Path

import pytest

from shared.elsewhere import WorkLost, elsewhere


def doubled(offset: int, numbers: Iterator[int]) -> Iterator[tuple[int, int]]:
    for number in numbers:
        yield 2 * number + offset, os.getpid()


def refusing(numbers: Iterator[int]) -> Iterator[int]:
    for number in numbers:
        if number == 3:
            raise ValueError("three")
        yield number


def large(numbers: Iterator[int]) -> Iterator[bytes]:
    for number in numbers:
        yield bytes([number]) * 300_000


def children() -> set[int]:
    return {
        int(child)
        for task in Path("/proc/self/task").iterdir()
        for child in (task / "children").read_text().split()
    }


def test_results_come_in_order_from_one_other_process() -> None:
    told = list(elsewhere(partial(doubled, 1), range(1_000)))
    assert [number for number, _ in told] == [2 * number + 1 for number in range(1_000)]
    processes = {process for _, process in told}
    assert len(processes) == 1
    assert os.getpid() not in processes
    assert not processes & children()


def test_results_larger_than_a_pipe_holds_pass_in_both_directions() -> None:
    told = list(elsewhere(large, range(10)))
    assert [(len(content), content[0]) for content in told] == [(300_000, number) for number in range(10)]


def test_what_the_work_raises_is_raised_after_what_came_before() -> None:
    results = elsewhere(refusing, range(10))
    assert [next(results) for _ in range(3)] == [0, 1, 2]
    with pytest.raises(ValueError, match="three"):
        next(results)


def test_what_taking_an_item_raises_is_raised_and_is_not_the_end() -> None:
    def broken() -> Iterator[int]:
        yield 1
        raise OSError("the database is away")

    with pytest.raises(OSError, match="away"):
        list(elsewhere(refusing, broken()))


def test_a_process_that_dies_is_no_end_either() -> None:
    results = elsewhere(partial(doubled, 0), range(1_000_000))
    _, process = next(results)
    os.kill(process, signal.SIGKILL)
    with pytest.raises(WorkLost):
        list(results)


def its_process_and_much(numbers: Iterator[int]) -> Iterator[int | bytes]:
    yield os.getpid()
    yield bytes(3_000_000)


def test_a_process_that_dies_in_the_middle_of_a_result_has_given_none() -> None:
    results = elsewhere(its_process_and_much, iter(()))
    process = next(results)
    assert isinstance(process, int)
    time.sleep(0.5)  # by now the pipe is full of the beginning
    os.kill(process, signal.SIGKILL)
    with pytest.raises(WorkLost):
        next(results)


def test_left_early_neither_the_process_nor_the_thread_stays() -> None:
    closed = threading.Event()

    def endless() -> Iterator[int]:
        try:
            yield from range(10**9)
        finally:
            closed.set()

    with closing(elsewhere(partial(doubled, 0), endless())) as results:
        _, process = next(results)
    assert closed.is_set()
    assert process not in children()
    assert all(thread.name != "elsewhere" for thread in threading.enumerate())


def test_it_ends_when_whoever_wanted_it_is_killed(tmp_path: Path) -> None:
    told = tmp_path / "process"
    parent = os.fork()
    if not parent:
        results = elsewhere(partial(doubled, 0), range(10**9))
        told.write_text(str(next(results)[1]))
        time.sleep(60)
        os._exit(0)
    end = time.monotonic() + 20
    while not (told.exists() and told.read_text()) and time.monotonic() < end:
        time.sleep(0.01)
    os.kill(parent, signal.SIGKILL)
    os.waitpid(parent, 0)
    process = int(told.read_text())
    while Path(f"/proc/{process}").exists() and time.monotonic() < end:
        if "State:\tZ" in Path(f"/proc/{process}/status").read_text():
            break
        time.sleep(0.01)
    else:
        assert not Path(f"/proc/{process}").exists()
