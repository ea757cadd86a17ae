"""What makes a service: the parts that its processes, its command line and the whole suite are built from."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from uuid import UUID

from sqlalchemy import MetaData
from sqlalchemy.orm import Session

from shared.audit.verification import Covered
from shared.auth.callers import Reach
from shared.auth.keys import Credential
from shared.erasures import Forgotten
from shared.jobs.runner import JobFunction
from shared.jobs.schedule import Scheduled, Step
from shared.messaging.consumer import Consumer
from shared.settings import Settings


@dataclass(frozen=True)
class Service:
    """One deployable.

    ``api`` names the module of its API, with ``ROUTERS`` (without the ``/{service}`` prefix). It is imported by the process
    that answers requests alone: the others start in half the time. ``reaches`` tells whether a customer is among those
    whom a member of staff is there for; without it such tokens are turned away. ``jobs`` are long work by kind, ``steps``
    what ``work`` does over and over, ``schedule`` what runs at set times. ``audited_rows`` are rows that entries of the
    audit log stand for (see shared/audit/verification). ``state`` and ``invariants`` are what ``verify`` asks the database:
    SQL that gives one text column of rows by natural key, and SQL that gives one boolean. ``forget`` forgets customers once
    more after a restore, where no reaction to ``customer_erased`` does (shared/erasures).
    """

    name: str
    metadata: MetaData
    migrations: Path
    api: str
    settings: type[Settings] = Settings
    reaches: Callable[[Session, UUID, Reach], bool] | None = None
    active_keys: Callable[[Session], Sequence[Credential]] | None = None
    consumers: Sequence[Consumer] = ()
    jobs: Mapping[str, JobFunction] = field(default_factory=dict)
    steps: Sequence[Step] = ()
    schedule: Sequence[Scheduled] = ()
    audited_rows: Covered = field(default_factory=dict)
    state: Mapping[str, str] = field(default_factory=dict)
    invariants: Mapping[str, str] = field(default_factory=dict)
    hashes: Mapping[str, Sequence[str]] = field(default_factory=dict)
    forget: Callable[[Session, Sequence[Forgotten]], None] | None = None
    commands: Mapping[str, Callable[..., int]] = field(default_factory=dict)
