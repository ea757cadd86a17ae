"""Nobody is asked too often."""

from collections.abc import Iterable, Iterator
from datetime import datetime, timedelta


def admitted(last: datetime | None, moments: Iterable[datetime], gap: timedelta) -> Iterator[bool]:
    """For each moment, in order, whether it may invite: none before it within ``gap``, counting ``last`` and those
    admitted on the way. A moment that lies before the last one invites nobody."""
    for moment in moments:
        may = last is None or moment - last >= gap
        if may:
            last = moment
        yield may
