"""Recording the staged orders of an import, a window of them at a time."""

from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any
from uuid import UUID

from sqlalchemy import text
from sqlalchemy.orm import Session

from services.profile.domain import customers, new_customers, purchases, returns, staging
from services.profile.domain.new_customers import NewCustomer
from services.profile.domain.staging import Order
from services.profile.rules import mapping_findings, mapping_orders
from services.profile.rules.mapping_rows import PURCHASE, RETURN, Refused
from shared import money
from shared.errors import Refusal

FIRST = (-1, "")
_NOUNS = {PURCHASE: "purchases", RETURN: "returns"}


@dataclass
class Window:
    """What became of some orders. ``last`` is the key of the last one, None if there was none left."""

    last: tuple[int, str] | None = None
    orders: Counter[tuple[str, str]] = field(default_factory=Counter)
    rows: Counter[str] = field(default_factory=Counter)
    rejected: Counter[str] = field(default_factory=Counter)
    errors: list[tuple[int, str | None, str, str]] = field(default_factory=list)
    customers_created: int = 0

    def refuse(self, order: Order, field_name: str | None, code: str, message: str) -> None:
        self.orders[_NOUNS[order.kind], "rejected"] += 1
        self.rows["rejected"] += order.row_count
        self.rejected[code] += order.row_count
        self.errors.extend((row.line, field_name, code, message) for row in order.rows)

    def settle(self, order: Order, state: str) -> None:
        self.orders[_NOUNS[order.kind], state] += 1
        self.rows[state] += order.row_count


@dataclass
class Prepared:
    """Orders with what they say, ready to be recorded; ``window`` holds what was refused already."""

    window: Window
    orders: Sequence[Order]
    bought: Sequence[tuple[Order, Any]]
    returned: Sequence[tuple[Order, Any]]

    def note(self, findings: mapping_findings.State) -> None:
        """Add what these orders show to the findings of the file."""
        for order in self.orders:
            mapping_findings.note(findings, order.kind, order.rows)


def prepare(session: Session, job_id: UUID, source: str, after: tuple[int, str], rows: int) -> Prepared:
    """The orders after ``after``, about ``rows`` rows of them. Reads nothing but what is staged, so that it can go on
    while others are recorded."""
    window = Window()
    orders = staging.orders(session, job_id, after, rows)
    if orders:
        window.last = (orders[-1].kind, orders[-1].number)
    bought = _facts(window, orders, PURCHASE, source, mapping_orders.purchase)
    returned = _facts(window, orders, RETURN, source, mapping_orders.unmatched_return)
    return Prepared(window, orders, bought, returned)


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
    refs = (facts.customer for _, facts in (*bought, *returned) if facts.customer is not None)
    customers.resolve_and_lock(session, refs)
    window.customers_created = _ensure_customers(
        session, job_id, source, [facts.customer for _, facts in (*bought, *returned)], now
    )
    if bought:
        outcomes: Sequence[Any] = purchases.record_many(session, [facts for _, facts in bought], now)
        _settle(window, (order for order, _ in bought), outcomes)
    if returned:
        told = [facts for _, facts in returned]
        outcomes = returns.record_unmatched_many(session, told, now, match=match_returns)
        _settle(window, (order for order, _ in returned), outcomes)
        window.orders["returns", "unmatched"] += sum(outcome.recorded is False for outcome in outcomes)
    return window


def _facts(
    window: Window, orders: Iterable[Order], kind: int, source: str, make: Callable[..., Any]
) -> list[tuple[Order, Any]]:
    """The orders of one kind with what they say; what cannot be one order is refused."""
    made = []
    for order in orders:
        if order.kind != kind:
            continue
        try:
            if order.too_long:
                raise Refused(
                    "order", "too_many_lines", f"an order has at most {mapping_orders.MOST_LINES} lines"
                )
            made.append((order, make(source, order.rows, money.to_minor)))
        except Refused as refused:
            window.refuse(order, refused.field, refused.code, refused.message)
        except money.UnknownCurrency:
            window.refuse(order, "currency", "currency_unknown", "not a currency of ISO 4217")
    return made


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
