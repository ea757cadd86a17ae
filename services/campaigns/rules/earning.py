"""How many points a purchase is worth."""

from collections.abc import Mapping
from decimal import Decimal

ONE = 100  # percent: 1×


def points_for(net_minor: int, minor_per_unit: int, points_per_unit: int, percent: int) -> int:
    """Points for what is left of a purchase, in minor units of the accounting currency: whole units × the programme's
    rate × the tier's percent, rounded down. Nothing is earned below zero."""
    return max(net_minor, 0) // minor_per_unit * points_per_unit * percent // ONE


def due(
    total_minor: int | None,
    net_left_minor: int | None,
    minor_per_unit: int,
    points_per_unit: int,
    percent: int,
) -> int:
    """Points that a purchase should have brought by now, all returns taken off. A purchase that has only been heard of
    by its return brings none yet.

    Booking the difference to this after every fact is the same as reversing earned(total) − earned(net left) −
    already reversed, whatever came first.
    """
    if total_minor is None:
        return 0
    left = total_minor if net_left_minor is None else min(total_minor, net_left_minor)
    return points_for(left, minor_per_unit, points_per_unit, percent)


def percent_of(tier: str | None, multipliers: Mapping[str, int]) -> int:
    """The tier's multiplier in percent; 1× before the first tier and for one the programme does not know."""
    return ONE if tier is None else multipliers.get(tier, ONE)


def is_upgrade(previous_tier: str | None, tier: str, multipliers: Mapping[str, int]) -> bool:
    """``multipliers`` lists the tiers from the lowest; no tier yet, and an unknown one, count as the lowest."""
    rank = {name: number for number, name in enumerate(multipliers)}
    return rank.get(tier, 0) > rank.get(previous_tier or "", 0)


def accounting_exponent(
    amount_minor: int, accounting_minor: int, exponent: int, exchange_rate: str | None
) -> int:
    """Digits of the accounting currency's minor unit, told from one amount in both currencies.

    ``exponent`` is that of the amount's own currency. Without an exchange rate both are the same currency; with one,
    the power of ten between the two amounts is the difference of the exponents (rounding moves the ratio by less than
    a factor of 3). Needed where no accounting currency is configured, because events carry none.
    """
    if exchange_rate is None or not amount_minor or not accounting_minor:
        return exponent
    ratio = Decimal(accounting_minor) / (Decimal(amount_minor) * Decimal(exchange_rate))
    return max(exponent + int(ratio.log10().quantize(Decimal(1))), 0)
