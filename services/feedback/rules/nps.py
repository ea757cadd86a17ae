"""The Net Promoter Score: how many would recommend us, less how many would not."""

from dataclasses import dataclass
from math import sqrt

SCALE = range(11)
PROMOTER, PASSIVE, DETRACTOR, UNKNOWN = "promoter", "passive", "detractor", "unknown"

NORMAL_95 = 1.959963984540054


def group(score: int) -> str:
    """9–10 promoter, 7–8 passive, 0–6 detractor (Reichheld, "The One Number You Need to Grow", HBR 12/2003)."""
    if score not in SCALE:
        raise ValueError(f"{score} is not on the scale of 0 to 10")
    if score >= 9:
        return PROMOTER
    return PASSIVE if score >= 7 else DETRACTOR


@dataclass(frozen=True)
class Results:
    """What a survey's answers amount to; the score and its interval are null where nobody has answered.

    ``nps`` = 100 × (promoters − detractors) / answers, −100 … 100, one decimal.
    """

    promoters: int
    passives: int
    detractors: int

    @property
    def answers(self) -> int:
        return self.promoters + self.passives + self.detractors

    @property
    def nps(self) -> float | None:
        if not self.answers:
            return None
        return round(100 * (self.promoters - self.detractors) / self.answers, 1)

    @property
    def interval_95(self) -> tuple[float, float] | None:
        """The adjusted Wald interval: three answers are added to what was counted, ¾ a promoter, 1½ a passive and ¾ a
        detractor (Rocks, "Interval Estimation for the 'Net Promoter Score'", The American Statistician 70 (2016)
        365–372, where it covers best of six methods). Cut at ±100, and widened to reach the score itself, which
        the three added answers would otherwise leave outside when a handful of people all agree.
        """
        if self.nps is None:
            return None
        n = self.answers + 3
        p, d = (self.promoters + 0.75) / n, (self.detractors + 0.75) / n
        half = NORMAL_95 * sqrt((p + d - (p - d) ** 2) / n)
        low, high = 100 * (p - d - half), 100 * (p - d + half)
        return round(max(-100.0, min(low, self.nps)), 1), round(min(100.0, max(high, self.nps)), 1)


def response_rate(answers: int, invitations: int) -> float | None:
    """The share of those asked who answered, 0 … 1, four decimals; null where nobody was asked."""
    return round(answers / invitations, 4) if invitations else None
