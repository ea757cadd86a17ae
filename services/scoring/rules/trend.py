"""Whether customers' value rises or declines: the last window against the one before, beyond what chance explains."""

import numpy as np
import numpy.typing as npt

Ints = npt.NDArray[np.int64]
Floats = npt.NDArray[np.float64]

# One-sided 95 %: of customers whose rate has not changed one in ten is called rising or declining.
SIGNIFICANT = 1.645


def deviations(recent: Ints, before: Ints, square_sum: Floats) -> Floats:
    """By how many standard deviations of its noise the spend of two equally long windows differs; 0 where nothing was spent.

    Spend is a compound Poisson sum: the variance of a window is estimated by the sum of the squares of its purchases
    (Cox 1962, Renewal Theory, sect. 8.3), so that one large purchase is no trend. ``square_sum`` is over both windows.
    """
    noise = np.sqrt(np.where(square_sum > 0, square_sum, 1.0))
    return np.where(square_sum > 0, (recent - before) / noise, 0.0)


def trends(deviation: Floats) -> Ints:
    """Positions in codes.TRENDS."""
    return 1 + (deviation > SIGNIFICANT).astype(np.int64) - (deviation < -SIGNIFICANT)
