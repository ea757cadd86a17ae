"""How much one credential may ask for in a second, over all processes of a service together.

The database counts: each process takes a share of the second's allowance in advance and hands it out by itself, so that a
request costs nothing and a twentieth of the limit one statement. Nothing beyond the limit is ever let in; what a process
took and did not use is lost with the second, which is the price.
"""

import logging
import math
import threading
import time
from dataclasses import dataclass, field

from sqlalchemy import text
from sqlalchemy.exc import SQLAlchemyError
from starlette.concurrency import run_in_threadpool

from shared.auth.callers import Caller
from shared.database import Sessions
from shared.errors import TooManyRequests

_SHARES = 20
_REMEMBERED = 10_000
# The database's own clock says which second it is, so that processes whose clocks differ agree.
_TAKE = text(
    """
    with now as (select extract(epoch from clock_timestamp()) as at), taken as (
        insert into shared.rate as r (credential_id, second, taken)
        select :credential, floor(at), :share from now
        on conflict (credential_id) do update set
            second = greatest(r.second, excluded.second),
            taken = case when r.second < excluded.second then excluded.taken else r.taken + excluded.taken end
        where r.second < excluded.second or r.taken + excluded.taken <= :limit
        returning 1
    )
    select exists (select from taken) as granted, 1 - (at - floor(at)) as left from now
    """
)
log = logging.getLogger(__name__)


@dataclass(slots=True)
class _Allowance:
    """What this process may still hand out until ``until`` (time.monotonic())."""

    left: int = 0
    until: float = 0.0
    refilling: threading.Lock = field(default_factory=threading.Lock)


class RateLimit:
    """``limit`` requests a second for each credential; 0 = as many as it likes. The environment's own keys – operators,
    the services among themselves – are never limited."""

    def __init__(self, sessions: Sessions, limit: int) -> None:
        self._sessions = sessions
        self._limit = limit
        self._share = max(1, limit // _SHARES)
        self._allowances: dict[str, _Allowance] = {}

    async def take(self, caller: Caller) -> None:
        """One request of this caller. Raises TooManyRequests ``rate_limited``. Where the database cannot be asked, the
        request is let in: it will be told so itself."""
        if not self._limit or caller.credential_id.startswith("environment:"):
            return
        allowance = self._allowances.get(caller.credential_id)
        if allowance is None:
            if len(self._allowances) >= _REMEMBERED:
                self._allowances.clear()
            allowance = self._allowances[caller.credential_id] = _Allowance()
        if not self._hand_out(allowance):
            await run_in_threadpool(self._refill, allowance, caller.credential_id)

    def _hand_out(self, allowance: _Allowance) -> bool:
        if time.monotonic() >= allowance.until:
            return False
        if allowance.left == 0:
            return False
        if allowance.left < 0:
            raise TooManyRequests(
                "rate_limited",
                f"more than {self._limit} requests in a second",
                headers={"Retry-After": str(math.ceil(allowance.until - time.monotonic()))},
            )
        allowance.left -= 1
        return True

    def _refill(self, allowance: _Allowance, credential_id: str) -> None:
        with allowance.refilling:
            if self._hand_out(allowance):
                return
            try:
                granted, left = self._ask(credential_id)
            except SQLAlchemyError as error:
                log.warning("rate limits wait for the database", extra={"error": type(error).__name__})
                granted, left = True, 1.0
            # Less than nothing: the second is used up, and nobody is asked again before it is over.
            allowance.left = self._share if granted else -1
            allowance.until = time.monotonic() + left
            self._hand_out(allowance)

    def _ask(self, credential_id: str) -> tuple[bool, float]:
        with self._sessions.begin() as session:
            row = session.execute(
                _TAKE, {"credential": credential_id, "share": self._share, "limit": self._limit}
            ).one()
        return row.granted, float(row.left)
