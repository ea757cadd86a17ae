"""What acquiring customers cost against what they brought in."""

from collections.abc import Mapping
from datetime import date
from fractions import Fraction
from math import floor


def paid_back_in(cost_minor: int, net_minor: Mapping[date, int]) -> date | None:
    """The first month by which the customers' net revenue by month, cumulated, has reached the cost; None as long as it has
    not, and where nothing was spent."""
    if cost_minor <= 0:
        return None
    cumulated = 0
    for month in sorted(net_minor):
        cumulated += net_minor[month]
        if cumulated >= cost_minor:
            return month
    return None


def each(amount_minor: int | None, count: int) -> int | None:
    """An amount per customer, a half rounded up; None without any."""
    return (
        None if amount_minor is None or not count else floor(Fraction(amount_minor, count) + Fraction(1, 2))
    )


def ratio(part: int | None, whole: int | None) -> float | None:
    """None where either is not known, and for a whole that is not above zero."""
    return None if part is None or whole is None or whole <= 0 else round(part / whole, 4)
