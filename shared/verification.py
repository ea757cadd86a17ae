"""What a service's database says about itself, comparable between deployments that were given the same facts."""

import hashlib
from dataclasses import dataclass
from typing import Any

from sqlalchemy import CursorResult, text
from sqlalchemy.engine import Connection, Engine

from shared.messaging import react
from shared.messaging.bus import Bus
from shared.service import Service


@dataclass(frozen=True)
class Verification:
    """One service's part of what ``verify`` prints."""

    state_hash: str
    outbox_pending: int
    parked: int
    dead_letters: int
    behind: int
    invariants: dict[str, bool]
    hashes: dict[str, str]

    @property
    def is_settled(self) -> bool:
        return self.outbox_pending == 0 and self.behind == 0

    def printed(self) -> dict[str, Any]:
        return {
            "state_hash": self.state_hash,
            "outbox_pending": self.outbox_pending,
            "parked": self.parked,
            "dead_letters": self.dead_letters,
            "behind": self.behind,
            "invariants": self.invariants,
            **self.hashes,
        }


def verify(service: Service, engine: Engine, bus: Bus) -> Verification:
    """Ask one service, in one snapshot of its database. Raises where the database cannot be reached."""
    behind = react.behind(bus, service.consumers)
    with engine.connect() as connection:
        connection = connection.execution_options(isolation_level="REPEATABLE READ")
        with connection.begin():
            connection.execute(text("set transaction read only"))
            parts = {name: _fingerprint(connection, query) for name, query in sorted(service.state.items())}
            pending, parked, dead = connection.execute(
                text(
                    """
                    select (select count(*) from shared.outbox_pending),
                           (select count(*) from shared.parked_event where discarded_at is null),
                           (select count(*) from shared.parked_event
                            where dead_at is not null and discarded_at is null)
                    """
                )
            ).one()
            invariants = {
                name: _ask(connection, query).scalar() is True for name, query in service.invariants.items()
            }
    return Verification(
        state_hash=_digest(parts, parts),
        outbox_pending=pending,
        parked=parked,
        dead_letters=dead,
        behind=behind,
        invariants=invariants,
        hashes={name: _digest(parts, names) for name, names in service.hashes.items()},
    )


def outstanding(service: Service, engine: Engine, bus: Bus) -> int:
    """Events announced or published and not yet applied by all: the service's own that wait for the bus, and others'
    that wait for its consumers. 0 on every service means settled; cheaper than ``verify``."""
    behind = react.behind(bus, service.consumers)
    with engine.connect() as connection:
        return behind + (connection.scalar(text("select count(*) from shared.outbox_pending")) or 0)


def hash_of(service: Service, engine: Engine, name: str) -> str:
    """One named hash alone, e.g. ``metrics_hash`` of a database that is being rebuilt."""
    with engine.connect() as connection:
        wanted = service.hashes[name]
        return _digest({part: _fingerprint(connection, service.state[part]) for part in wanted}, wanted)


def _fingerprint(connection: Connection, query: str) -> str:
    """Count and two sums of 64-bit hashes over the rows of one text column: the same in whatever order they come."""
    row = _ask(
        connection,
        f"""
        select count(*), coalesce(sum(hashtextextended(coalesce(part, ''), 0)::numeric), 0),
               coalesce(sum(hashtextextended(coalesce(part, ''), 7140226713)::numeric), 0)
        from ({query}) as state (part)
        """,
    ).one()
    return ":".join(str(value) for value in row)


def _ask(connection: Connection, query: str) -> CursorResult[Any]:
    """SQL as a service wrote it, colons and percent signs included."""
    return connection.exec_driver_sql(query.replace("%", "%%"), ())


def _digest(parts: dict[str, str], names: Any) -> str:
    whole = "\n".join(f"{name}={parts[name]}" for name in sorted(names))
    return hashlib.sha256(whole.encode()).hexdigest()
