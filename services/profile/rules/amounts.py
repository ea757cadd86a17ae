"""What lines are worth, in minor units of their currency and of the accounting currency."""

from collections.abc import Sequence
from decimal import ROUND_HALF_UP, Context, Decimal
from functools import lru_cache
from typing import NamedTuple

from services.profile.rules.facts import LineFacts

# Every amount stays an integer that JSON readers hold exactly (2^53), with room for sums of many.
LARGEST_MINOR = 10**15

_EXACT = Context(prec=60, rounding=ROUND_HALF_UP)
_ONE = Decimal(1)


class Unpriceable(ValueError):  # noqa: N818 - an answer, not an error of ours
    """The lines cannot be priced: ``code`` says why, ``line`` (from 1) where."""

    def __init__(self, code: str, line: int, message: str) -> None:
        super().__init__(message)
        self.code = code
        self.line = line


class Amounts(NamedTuple):
    """Minor units per line and in all, in the purchase's currency and in the accounting currency."""

    lines: Sequence[int]
    accounting_lines: Sequence[int]
    total: int
    accounting_total: int


def price(
    lines: Sequence[LineFacts], exponent: int, rate: Decimal | None = None, accounting_exponent: int = 0
) -> Amounts:
    """Each line: unit price × quantity in minor units, a half away from zero, minus the discount.

    ``exponent`` is the digits of the currency's minor unit. With a ``rate`` (accounting units per unit of the
    currency) each line is converted and rounded once, and the accounting total is the sum of these; without one the
    purchase is in the accounting currency. Raises Unpriceable.
    """
    amounts = []
    for number, line in enumerate(lines, 1):
        gross = _gross(line.unit_price, line.quantity, exponent)
        if line.discount_minor > gross:
            raise Unpriceable(
                "discount_exceeds_amount", number, "the discount is more than the line's amount"
            )
        if gross > LARGEST_MINOR:
            raise Unpriceable("amount_too_large", number, f"amounts go up to {LARGEST_MINOR} minor units")
        amounts.append(gross - line.discount_minor)
    total = sum(amounts)
    if total > LARGEST_MINOR:
        raise Unpriceable("amount_too_large", len(amounts), f"amounts go up to {LARGEST_MINOR} minor units")
    if rate is None:
        return Amounts(amounts, amounts, total, total)

    shifted = rate.scaleb(accounting_exponent - exponent, _EXACT)
    converted = [_round(_EXACT.multiply(shifted, amount)) for amount in amounts]
    if sum(converted) > LARGEST_MINOR:
        raise Unpriceable("amount_too_large", len(amounts), f"amounts go up to {LARGEST_MINOR} minor units")
    return Amounts(amounts, converted, total, sum(converted))


# Few prices are asked often: a file of half a million lines has some thousand.
@lru_cache(maxsize=50_000)
def _gross(unit_price: Decimal, quantity: int, exponent: int) -> int:
    return _round(_EXACT.multiply(unit_price, quantity).scaleb(exponent, _EXACT))


def _round(value: Decimal) -> int:
    return int(value.quantize(_ONE, context=_EXACT))
