"""/livez: the process answers. /readyz: it can do its work (database reached, migrations applied; not Kafka)."""

import time

from sqlalchemy.exc import SQLAlchemyError

from shared import migrate
from shared.database import Sessions
from shared.errors import Unavailable
from shared.service import Service

_GOOD_FOR = 1.0


class Readiness:
    """Whether this process can answer requests; a good answer stands for a second."""

    def __init__(self, service: Service, sessions: Sessions) -> None:
        self._sessions = sessions
        self._wanted = [(chain, chain.head()) for chain in migrate.chains(service.name, service.migrations)]
        self._good_until = float("-inf")

    def check(self) -> None:
        """Raises Unavailable: ``database_unavailable`` or ``migrations_pending``."""
        if time.monotonic() < self._good_until:
            return
        try:
            with self._sessions() as session:
                connection = session.connection()
                applied = all(migrate.current(connection, chain) == head for chain, head in self._wanted)
        except SQLAlchemyError as error:
            raise Unavailable(
                "database_unavailable", "the database does not answer", headers={"Retry-After": "2"}
            ) from error
        if not applied:
            raise Unavailable(
                "migrations_pending", "the database is not at this version", headers={"Retry-After": "5"}
            )
        self._good_until = time.monotonic() + _GOOD_FOR
