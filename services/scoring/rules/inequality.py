"""How unevenly something is spread."""


def gini(count: int, total: int, ranked_sum: int) -> float | None:
    """The Gini coefficient of ``count`` amounts above zero: 0 = all equal, near 1 = one has everything; None of none.

    ``ranked_sum`` is the sum of rank × amount, the smallest having rank 1:
    G = 2 Σ i·y_i / (n Σ y) − (n + 1) / n (Sen 1973, On Economic Inequality, p. 31).
    """
    if not count or not total:
        return None
    return 2 * ranked_sum / (count * total) - (count + 1) / count
