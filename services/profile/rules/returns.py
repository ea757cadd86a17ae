"""What a return reverses: exact in the end, whatever the parts."""

from collections.abc import Mapping, Sequence
from typing import NamedTuple

from services.profile.rules.facts import ReturnedLine


class BoughtLine(NamedTuple):
    """A purchase's line as it stands: what was bought and how much of it has come back already."""

    line: int
    sku: str
    quantity: int
    amount_minor: int
    accounting_amount_minor: int
    returned_quantity: int


class ReversedLine(NamedTuple):
    """What one line of a return takes back, in both currencies."""

    line: int
    sku: str
    quantity: int
    amount_minor: int
    accounting_amount_minor: int


class Unreturnable(ValueError):  # noqa: N818 - an answer, not an error of ours
    """The return does not fit the purchase: ``code`` says why, ``position`` (from 0) where."""

    def __init__(self, code: str, position: int, message: str) -> None:
        super().__init__(message)
        self.code = code
        self.position = position


def reverse(bought: Mapping[int, BoughtLine], returned: Sequence[ReturnedLine]) -> list[ReversedLine]:
    """The reversals of one return. Raises Unreturnable for a line that was not bought, or not that often."""
    reversals = []
    for position, (number, quantity) in enumerate(returned):
        line = bought.get(number)
        if line is None:
            raise Unreturnable("line_unknown", position, f"the purchase has no line {number}")
        left = line.quantity - line.returned_quantity
        if quantity > left:
            raise Unreturnable(
                "return_exceeds_purchase",
                position,
                f"{left} of line {number} can still come back, not {quantity}",
            )
        reversals.append(
            ReversedLine(
                number,
                line.sku,
                quantity,
                share(line.amount_minor, line.quantity, line.returned_quantity, quantity),
                share(line.accounting_amount_minor, line.quantity, line.returned_quantity, quantity),
            )
        )
    return reversals


def share(amount: int, bought: int, returned_before: int, quantity: int) -> int:
    """The part of ``amount`` (≥ 0) that ``quantity`` of ``bought`` pieces take back after ``returned_before`` of them.

    Cumulative: the reversal is the difference of two rounded running totals, so that the parts add up to ``amount``
    exactly when everything has come back, in whatever steps.
    """
    return _upto(amount, bought, returned_before + quantity) - _upto(amount, bought, returned_before)


def _upto(amount: int, bought: int, returned: int) -> int:
    """``amount × returned / bought``, a half rounded up, in integers."""
    return (2 * amount * returned + bought) // (2 * bought)
