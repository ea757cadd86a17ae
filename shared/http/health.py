"""/livez: the process answers. /readyz: it can do its work (database reached, migrations applied; not Kafka)."""

import time
from collections.abc import Sequence
from pathlib import Path

from alembic.script import ScriptDirectory
from sqlalchemy import text
from sqlalchemy.exc import SQLAlchemyError

from shared.database import Sessions
from shared.errors import Unavailable

SHARED_MIGRATIONS = Path(__file__).parent.parent / "migrations"
_GOOD_FOR = 1.0


class Readiness:
    """Whether this process can answer requests; a good answer stands for a second."""

    def __init__(self, sessions: Sessions, migrations: Path) -> None:
        self._sessions = sessions
        self._wanted = {
            "shared.alembic_version": _heads(SHARED_MIGRATIONS),
            "public.alembic_version": _heads(migrations),
        }
        self._good_until = float("-inf")

    def check(self) -> None:
        """Raises Unavailable: ``database_unavailable`` or ``migrations_pending``."""
        if time.monotonic() < self._good_until:
            return
        for table, wanted in self._wanted.items():
            if set(self._applied(table)) != set(wanted):
                raise Unavailable(
                    "migrations_pending", "the database is not at this version", headers={"Retry-After": "5"}
                )
        self._good_until = time.monotonic() + _GOOD_FOR

    def _applied(self, table: str) -> Sequence[str]:
        try:
            with self._sessions() as session:
                exists = session.scalar(text("select to_regclass(:table)"), {"table": table})
                return session.scalars(text(f"select version_num from {table}")).all() if exists else ()
        except SQLAlchemyError as error:
            raise Unavailable(
                "database_unavailable", "the database does not answer", headers={"Retry-After": "2"}
            ) from error


def _heads(migrations: Path) -> tuple[str, ...]:
    return tuple(ScriptDirectory(str(migrations)).get_heads())
