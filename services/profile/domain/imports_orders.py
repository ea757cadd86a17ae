"""Recording the staged orders of an import, a window of them at a time."""

from collections.abc import Iterable, Sequence
from datetime import datetime
from typing import Any
from uuid import UUID

from sqlalchemy import text
from sqlalchemy.orm import Session

from services.profile.domain import customers, new_customers, purchases, returns, staging
from services.profile.domain.new_customers import NewCustomer
from services.profile.rules.import_preparing import Order, Prepared, Window
from services.profile.rules.reckoning import Reckoned
from shared.errors import Refusal

FIRST = (-1, "")


def record(
    session: Session, job_id: UUID, source: str, prepared: Prepared, *, match_returns: bool = False
) -> Window:
    """Record orders: customers made, purchases and returns recorded and announced, each in a constant number of
    statements. With ``match_returns`` the purchases of returns are looked for."""
    window, bought, returned = prepared.window, prepared.bought, prepared.returned
    if not bought and not returned:
        return window
    now: datetime = session.execute(text("select now()")).scalar_one()
    # Of purchases and returns together, before anything is written: nobody else locks in another order.
    refs = [(told.facts if isinstance(told, Reckoned) else told).customer for _, told in (*bought, *returned)]
    customers.resolve_and_lock(session, (ref for ref in refs if ref is not None))
    window.customers_created = _ensure_customers(session, job_id, source, refs, now)
    if bought:
        outcomes: Sequence[Any] = purchases.record_many(session, [told for _, told in bought], now)
        _settle(window, (order for order, _ in bought), outcomes)
    if returned:
        outcomes = returns.record_unmatched_many(
            session, [facts for _, facts in returned], now, match=match_returns
        )
        _settle(window, (order for order, _ in returned), outcomes)
        window.orders["returns", "unmatched"] += sum(outcome.recorded is False for outcome in outcomes)
    return window


def _ensure_customers(session: Session, job_id: UUID, source: str, refs: Iterable[Any], now: datetime) -> int:
    """Make the customers that are new, with what the whole file says of them; returns how many."""
    names = {ref.external_id for ref in refs if ref is not None}
    if not names:
        return 0
    wanted = [
        NewCustomer(source, name, min(told.first_at, now), told.country)
        for name, told in sorted(staging.customers(session, job_id, names).items())
    ]
    ensured = new_customers.ensure_many(session, wanted, now)
    return sum(one.created for one in ensured.values())


def _settle(window: Window, orders: Iterable[Order], outcomes: Iterable[Any]) -> None:
    for order, outcome in zip(orders, outcomes, strict=True):
        if outcome.problem is not None:
            problem: Refusal = outcome.problem
            window.refuse(order, _field(problem), problem.code, problem.message)
        else:
            window.settle(order, outcome.state)


def _field(problem: Refusal) -> str | None:
    """Which field of a row a refused order's problem is about."""
    for fault in problem.faults:
        last = fault.pointer.rsplit("/", 1)[-1]
        if last in ("occurred_at", "currency", "exchange_rate", "customer"):
            return last
    return None
