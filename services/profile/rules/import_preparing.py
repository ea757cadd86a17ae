"""The second half of a purchases import, up to the database: staged orders, put together and reckoned. Pure, so that it
can be done elsewhere while the orders before are recorded."""

from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from copy import deepcopy
from dataclasses import dataclass, field
from typing import Any, NamedTuple

from services.profile.rules import mapping_findings, mapping_orders
from services.profile.rules.facts import PurchaseFacts, UnmatchedReturnFacts
from services.profile.rules.mapping_orders import StagedRow, ToMinor
from services.profile.rules.mapping_pieces import unpacked
from services.profile.rules.mapping_rows import PURCHASE, RETURN, Refused
from services.profile.rules.reckoning import Accounting, Reckoned, reckon

_NOUNS = {PURCHASE: "purchases", RETURN: "returns"}

OrderKey = tuple[int, str]


class StagedOrder(NamedTuple):
    """All pieces of one order; ``too_long`` if it has more rows than an order may have, and then only its first
    pieces."""

    kind: int
    number: str
    row_count: int
    pieces: Sequence[bytes]
    too_long: bool = False


class Order(NamedTuple):
    """What is left of an order on its way to the database: its key and where its rows stand in the file."""

    kind: int
    number: str
    row_count: int
    lines: Sequence[int]


@dataclass
class Window:
    """What became of some orders. ``last`` is the key of the last one, None if there was none left."""

    last: OrderKey | None = None
    orders: Counter[tuple[str, str]] = field(default_factory=Counter)
    rows: Counter[str] = field(default_factory=Counter)
    rejected: Counter[str] = field(default_factory=Counter)
    errors: list[tuple[int, str | None, str, str]] = field(default_factory=list)
    customers_created: int = 0

    def refuse(self, order: Order, field_name: str | None, code: str, message: str) -> None:
        self.orders[_NOUNS[order.kind], "rejected"] += 1
        self.rows["rejected"] += order.row_count
        self.rejected[code] += order.row_count
        self.errors.extend((line, field_name, code, message) for line in order.lines)

    def settle(self, order: Order, state: str) -> None:
        self.orders[_NOUNS[order.kind], state] += 1
        self.rows[state] += order.row_count


class Preparing(NamedTuple):
    """What orders are made of: the ``source`` they are from, the ``accounting`` currency if there is one already, and the
    ``findings`` of the orders before."""

    source: str
    accounting: Accounting | None
    to_minor: ToMinor
    exponents: Mapping[str, int]
    findings: mapping_findings.State


@dataclass
class Prepared:
    """Orders ready to be recorded; ``window`` holds what was refused already, ``findings`` those of the file up to here.

    What is bought is reckoned where the accounting currency is known and nothing is out of the ordinary."""

    window: Window
    findings: mapping_findings.State
    bought: Sequence[tuple[Order, PurchaseFacts | Reckoned]]
    returned: Sequence[tuple[Order, UnmatchedReturnFacts]]


def prepare(preparing: Preparing, windows: Iterable[Sequence[StagedOrder]]) -> Iterator[Prepared]:
    """Each window of orders, one after the other; an empty one is the last."""
    findings = deepcopy(preparing.findings)
    for staged in windows:
        window = Window()
        bought: list[tuple[Order, PurchaseFacts | Reckoned]] = []
        returned: list[tuple[Order, UnmatchedReturnFacts]] = []
        for one in staged:
            rows = [row for piece in one.pieces for row in unpacked(one.kind, one.number, piece)]
            order = Order(one.kind, one.number, one.row_count, [row.line for row in rows])
            mapping_findings.note(findings, one.kind, rows)
            if one.kind == PURCHASE:
                if (
                    facts := _facts(preparing, window, one, order, rows, mapping_orders.purchase)
                ) is not None:
                    bought.append((order, _reckoned(preparing.accounting, facts)))
            elif one.kind == RETURN:
                made = _facts(preparing, window, one, order, rows, mapping_orders.unmatched_return)
                if made is not None:
                    returned.append((order, made))
        if staged:
            window.last = (staged[-1].kind, staged[-1].number)
        yield Prepared(window, deepcopy(findings), bought, returned)


def _facts(
    preparing: Preparing,
    window: Window,
    staged: StagedOrder,
    order: Order,
    rows: Sequence[StagedRow],
    make: Callable[..., Any],
) -> Any:
    """What the rows of an order say; None where they cannot be one order, which is refused."""
    try:
        if staged.too_long:
            raise Refused(
                "order", "too_many_lines", f"an order has at most {mapping_orders.MOST_LINES} lines"
            )
        if rows[0].currency not in preparing.exponents:
            raise Refused("currency", "currency_unknown", "not a currency of ISO 4217")
        return make(preparing.source, rows, preparing.to_minor)
    except Refused as refused:
        window.refuse(order, refused.field, refused.code, refused.message)
        return None


def _reckoned(accounting: Accounting | None, facts: PurchaseFacts) -> PurchaseFacts | Reckoned:
    return (None if accounting is None else reckon(facts, accounting)) or facts
