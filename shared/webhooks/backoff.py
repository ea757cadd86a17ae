"""When a call that failed is made again."""

import random
from datetime import timedelta

# About 24 hours in all; then the delivery has failed and waits for somebody to ask for it again.
GIVE_UP_AFTER = timedelta(hours=24)
_PAUSES = tuple(
    timedelta(seconds=seconds)
    for seconds in (5, 30, 120, 600, 1_800, 3_600, 7_200, 14_400, 14_400, 14_400, 14_400, 14_400)
)
_LONGEST_ASKED = timedelta(hours=1)


def pause_after(attempts: int, asked: timedelta | None = None) -> timedelta:
    """How long to wait after the ``attempts``-th failure; never shorter than the receiver ``asked`` for (Retry-After, up
    to an hour). Up to a fifth longer by chance, so that many that failed together do not come back together."""
    pause = _PAUSES[min(attempts, len(_PAUSES)) - 1]
    pause += pause * random.uniform(0, 0.2)  # noqa: S311 - spreads load, hides nothing
    return max(pause, min(asked, _LONGEST_ASKED)) if asked else pause
