"""What looks odd in a file that was read: pure judgements on counts."""

import math
from collections.abc import Iterable, Mapping

# A shape that less than this share of the distinct codes have is not what products of this file look like.
USUAL_SHARE = 0.02
# Below so many distinct codes shares say nothing; then a code without any digit is unusual.
ENOUGH_CODES = 100


def unusual_shapes(codes_by_shape: Mapping[str, int]) -> set[str]:
    """The shapes of codes (digits as 9, letters as A, runs as one: 85123A → 9A) that do not look like products.

    In the real file 97 % of the codes are 9 or 9A; POST, BANK CHARGES, C2, gift_0001_20 and DCGS0003 stand out.
    """
    total = sum(codes_by_shape.values())
    if total < ENOUGH_CODES:
        return {shape for shape in codes_by_shape if "9" not in shape}
    return {shape for shape, codes in codes_by_shape.items() if codes < USUAL_SHARE * total}


def largest_usual_quantity(lower_quartile: float, upper_quartile: float) -> int:
    """Tukey's outer fence (Q3 + 3 × IQR; Exploratory Data Analysis, 1977) on the logarithm of the pieces per line,
    because quantities are skewed; at least ten times the upper quartile, where most lines have the same quantity."""
    low, high = math.log(max(lower_quartile, 1)), math.log(max(upper_quartile, 1))
    return math.ceil(max(math.exp(high + 3 * (high - low)), 10 * max(upper_quartile, 1)))


def summary(report: Mapping[str, Mapping[str, int]], *, dry_run: bool) -> str:
    """One sentence: what has changed."""
    kinds = ("purchases", "returns")
    new = {kind: report[kind]["recorded"] for kind in kinds}
    known = sum(report[kind]["unchanged"] for kind in kinds)
    verb = "would be recorded" if dry_run else "recorded"
    if not any(new.values()):
        nothing = "Nothing would change" if dry_run else "Nothing changed"
        return (
            f"{nothing}: {known} orders were recorded before." if known else f"{nothing}: no order to record."
        )
    told = f"{new['purchases']} purchases and {new['returns']} returns {verb}"
    return f"{told}, {known} orders were recorded before." if known else f"{told}."


def in_order(counts: Iterable[tuple[str, int]], limit: int = 100) -> dict[str, int]:
    """The ``limit`` largest counts by name, largest first."""
    return dict(sorted(counts, key=lambda item: (-item[1], item[0]))[:limit])
