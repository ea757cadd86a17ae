"""Where a group of customers buys clearly less than the others do: what could still be sold to them."""

from collections.abc import Sequence
from dataclasses import dataclass
from math import sqrt
from statistics import NormalDist

# A group of fewer says nothing, nor does one of which fewer buyers would be expected (Cochran 1954: 5 in each cell).
FEWEST_CUSTOMERS = 30
FEWEST_EXPECTED = 5
# In a million customers every difference is significant: it also has to matter.
LARGEST_RATIO = 0.8
SIGNIFICANCE = 0.05


@dataclass(frozen=True)
class Uptake:
    """``buyers`` of ``customers`` in a group bought something, and ``other_buyers`` of the ``others``."""

    customers: int
    buyers: int
    others: int
    other_buyers: int

    @property
    def share(self) -> float:
        return self.buyers / self.customers

    @property
    def other_share(self) -> float:
        return self.other_buyers / self.others

    @property
    def missing(self) -> float:
        """Buyers whom the group would have beside its own if it bought as the others do."""
        return self.other_share * self.customers - self.buyers

    @property
    def countable(self) -> bool:
        pooled = (self.buyers + self.other_buyers) / (self.customers + self.others) if self.others else 0.0
        return self.customers >= FEWEST_CUSTOMERS and pooled * self.customers >= FEWEST_EXPECTED

    @property
    def z(self) -> float:
        """The two-proportion statistic with pooled variance (Fleiss 1981, Statistical Methods for Rates and Proportions,
        ch. 2): by how many standard errors the group's share differs from the others'."""
        pooled = (self.buyers + self.other_buyers) / (self.customers + self.others)
        error = sqrt(pooled * (1 - pooled) * (1 / self.customers + 1 / self.others))
        return (self.share - self.other_share) / error if error else 0.0


def white_space(uptakes: Sequence[Uptake]) -> list[bool]:
    """Which of them are: countable, at most LARGEST_RATIO of the others' share, and below it with a chance of SIGNIFICANCE
    that any of all those compared is so by luck (Bonferroni's correction, one-sided)."""
    compared = sum(each.countable for each in uptakes)
    limit = NormalDist().inv_cdf(SIGNIFICANCE / compared) if compared else 0.0
    return [
        each.countable and each.share <= LARGEST_RATIO * each.other_share and each.z <= limit
        for each in uptakes
    ]
