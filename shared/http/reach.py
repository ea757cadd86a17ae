"""Members of staff who are there for some customers only: their portfolio, their team's, their store's."""

from collections.abc import Callable, Mapping
from typing import Any
from uuid import UUID

from sqlalchemy.orm import Session
from starlette.concurrency import run_in_threadpool

from shared.auth.callers import Caller, Reach
from shared.database import Sessions
from shared.errors import Forbidden
from shared.http.routing import Access

_CUSTOMER = "customer_id"


class Reaches:
    """Asked before an operation is carried out. Whatever neither names a customer in its path, nor keeps to the caller's
    reach by itself, nor is about no customer at all, is beyond it – and so is a customer nobody knows."""

    def __init__(self, sessions: Sessions, reaches: Callable[[Session, UUID, Reach], bool] | None) -> None:
        self._sessions = sessions
        self._reaches = reaches

    async def check(self, caller: Caller, access: Access, path_parameters: Mapping[str, Any]) -> None:
        """Raises Forbidden ``beyond_reach``."""
        if caller.reach is None or access.reach is not None:
            return
        if self._reaches is not None and (named := path_parameters.get(_CUSTOMER)) is not None:
            try:
                customer_id = UUID(named)
            except ValueError:
                return  # nobody's id: the operation says so
            if await run_in_threadpool(self._ask, customer_id, caller.reach):
                return
        raise beyond_reach()

    def _ask(self, customer_id: UUID, reach: Reach) -> bool:
        assert self._reaches is not None
        with self._sessions() as session:
            return self._reaches(session, customer_id, reach)


def beyond_reach() -> Forbidden:
    return Forbidden("beyond_reach", "this token reaches the customers of its holder only")
