"""The sample on which the literature publishes its results: a tenth of the people who first bought at CDNOW in the first
quarter of 1997, observed for 39 weeks until 30 September and for 39 more.

data/cdnow.csv counts customers by x, span and age in days, the value in US cents of the repeat occasions of the first 39 weeks and
the occasions of the 39 weeks after; made from the purchases that Fader and Hardie publish (brucehardie.com, datasets),
as the MIT-licensed package lifetimes 0.11.3 carries them (CDNOW_sample.txt). Numbers of shop visits, nobody's name.
"""

from dataclasses import dataclass
from pathlib import Path

import numpy as np

from services.scoring.rules.bgnbd import BgNbd, Ints

WEEKS_39 = 39 * 7
FITTED = BgNbd(0.2426, 4.4136, 0.7929, 2.4259, -9582.4, -9763.7, True)


@dataclass(frozen=True)
class Cdnow:
    """One entry for each of the 2,357 customers."""

    x: Ints
    span: Ints
    age: Ints
    repeat_cents: Ints
    after: Ints


def cdnow() -> Cdnow:
    rows = np.loadtxt(
        Path(__file__).parent / "data" / "cdnow.csv", np.int64, delimiter=",", skiprows=1, unpack=True
    )
    return Cdnow(*np.repeat(rows[:-1], rows[-1], axis=1))
