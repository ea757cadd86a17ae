"""What ``work`` does by itself: steps, over and over, and scheduled work at set times."""

from collections.abc import Callable
from dataclasses import dataclass
from datetime import timedelta

from sqlalchemy.engine import Engine

from shared.database import Sessions
from shared.settings import Settings


@dataclass(frozen=True)
class Context:
    """What a step or a scheduled run works with; ``sessions`` and ``engine`` have no statement timeout."""

    settings: Settings
    sessions: Sessions
    engine: Engine


@dataclass(frozen=True)
class Step:
    """Work in small portions, e.g. deliveries: ``run`` returns how many it did and is called again at once while that
    is more than 0, else after ``every``. Several workers may run the same step at once."""

    name: str
    run: Callable[[Context], int]
    every: timedelta = timedelta(seconds=1)


@dataclass(frozen=True)
class Scheduled:
    """Work at set times: ``cron`` in the deployment's time zone (five fields). Never two runs at once, whoever starts
    them; a time that passed while nothing ran is made up for once."""

    name: str
    cron: str
    run: Callable[[Context], None]
