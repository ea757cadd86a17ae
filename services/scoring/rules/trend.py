"""Whether a customer's value rises or declines: the last window against the one before, beyond what chance explains."""

from math import sqrt
from typing import Literal

Trend = Literal["rising", "steady", "declining"]

# One-sided 95 %: of customers whose rate has not changed one in ten is called rising or declining.
SIGNIFICANT = 1.645


def deviation(recent: int, before: int, square_sum: float) -> float:
    """By how many standard deviations of its noise the spend of two equally long windows differs.

    Spend is a compound Poisson sum: the variance of a window is estimated by the sum of the squares of its purchases
    (Cox 1962, Renewal Theory, sect. 8.3), so that one large purchase is no trend. ``square_sum`` is over both windows.
    """
    return 0.0 if square_sum == 0 else (recent - before) / sqrt(square_sum)


def trend(z: float) -> Trend:
    """``z`` is that deviation."""
    return "rising" if z > SIGNIFICANT else "declining" if z < -SIGNIFICANT else "steady"
