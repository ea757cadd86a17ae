"""Workers that die: after one chunk, or inside of one."""

from collections.abc import Callable
from contextlib import suppress
from typing import Any

import pytest

from shared.jobs.runner import RunningJob

Work = Callable[[RunningJob], None]


class Killed(BaseException):
    pass


def one_chunk(job: Any, work: Work) -> None:
    """Let the job do one chunk and no more."""
    whole, chunks = job.chunk, iter([job.chunk])

    def chunk() -> Any:
        try:
            return next(chunks)()
        except StopIteration:
            raise Killed from None

    job.chunk = chunk
    with suppress(Killed):
        work(job)
    job.chunk = whole


def die_inside_a_chunk(job: Any, work: Work) -> None:
    """The work of a chunk is done and not committed."""
    whole = job.chunk

    class Dying:
        def __enter__(self) -> Any:
            self.chunk = whole()
            return self.chunk.__enter__()

        def __exit__(self, *error: object) -> None:
            with suppress(Killed):
                self.chunk.__exit__(Killed, Killed(), None)
            raise Killed

    job.chunk = Dying
    with pytest.raises(Killed):
        work(job)
    job.chunk = whole
