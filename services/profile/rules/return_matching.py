"""Which purchase a return belongs to that names none.

The rule: the most recent purchase that was recorded for the same customer, in the same currency, not after the return, and
of which every returned line can still come back – the same sku at the same unit price, as many pieces as were returned.
A return is matched whole or not at all. Earlier returns are served first.
"""

from collections.abc import Hashable, Iterable, Mapping, Sequence
from datetime import datetime
from decimal import Decimal
from typing import NamedTuple
from uuid import UUID

from services.profile.rules.facts import ReturnedLine


class OpenLine(NamedTuple):
    """A purchase's line, of which ``left`` pieces can still come back."""

    line: int
    sku: str
    unit_price: Decimal
    left: int


class OpenPurchase(NamedTuple):
    purchase_id: UUID
    customer_id: UUID
    currency: str
    occurred_at: datetime
    lines: list[OpenLine]


class LooseLine(NamedTuple):
    """``quantity`` pieces that came back; ``unit_price`` None fits any."""

    sku: str
    quantity: int
    unit_price: Decimal | None = None


class LooseReturn(NamedTuple):
    """A return that names no purchase; ``key`` tells returns apart and puts equals in order."""

    key: tuple[str, str]
    customer_id: UUID
    currency: str
    occurred_at: datetime
    lines: Sequence[LooseLine]


class Match(NamedTuple):
    purchase_id: UUID
    lines: list[ReturnedLine]


def fit(lines: Iterable[LooseLine], bought: Iterable[OpenLine]) -> list[ReturnedLine] | None:
    """How ``lines`` come back of what was bought, first lines first; None if they do not fit."""
    left = {line.line: line.left for line in bought}
    ordered = sorted(bought)
    taken: dict[int, int] = {}
    # Who names a price can be served by fewer lines than who does not.
    for sku, quantity, price in sorted(lines, key=lambda line: line.unit_price is None):
        for line in ordered:
            if line.sku == sku and price in (None, line.unit_price) and left[line.line] > 0 and quantity > 0:
                pieces = min(quantity, left[line.line])
                left[line.line] -= pieces
                taken[line.line] = taken.get(line.line, 0) + pieces
                quantity -= pieces
        if quantity > 0:
            return None
    return [ReturnedLine(number, taken[number]) for number in sorted(taken)]


def choose(loose: Iterable[LooseReturn], purchases: Iterable[OpenPurchase]) -> dict[Hashable, Match]:
    """The match of each return that has one, by its key, by the rule above."""
    latest: dict[tuple[UUID, str], list[OpenPurchase]] = {}
    for purchase in sorted(purchases, key=lambda one: (one.occurred_at, one.purchase_id), reverse=True):
        latest.setdefault((purchase.customer_id, purchase.currency), []).append(purchase)
    open_lines = {one.purchase_id: list(one.lines) for of in latest.values() for one in of}
    found: dict[Hashable, Match] = {}
    for one in sorted(loose, key=lambda one: (one.occurred_at, one.key)):
        for purchase in latest.get((one.customer_id, one.currency), ()):
            if purchase.occurred_at > one.occurred_at:
                continue
            lines = fit(one.lines, open_lines[purchase.purchase_id])
            if lines is not None:
                found[one.key] = Match(purchase.purchase_id, lines)
                open_lines[purchase.purchase_id] = taken_from(open_lines[purchase.purchase_id], lines)
                break
    return found


def taken_from(lines: Iterable[OpenLine], returned: Iterable[ReturnedLine]) -> list[OpenLine]:
    """What is left after a return."""
    back: Mapping[int, int] = {line.line: line.quantity for line in returned}
    return [line._replace(left=line.left - back.get(line.line, 0)) for line in lines]
