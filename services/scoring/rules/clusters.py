"""Groups of customers who buy alike: found by k-means, kept recognisable from one run to the next, described in words and by
a rule.

Fitting and describing need scikit-learn and scipy and are the job's; assigning a customer needs numpy only. Nothing
depends on the order of the customers or on chance: rows are sorted before a sample is drawn with a fixed seed.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from services.scoring.rules.features import (
    FEATURES,
    POSITION,
    Booleans,
    Integers,
    Matrix,
    Scaling,
    Vector,
    buyers,
    column,
    learn_scaling,
    scaling,
)

# One or two features for each side of a customer; four windows of the same revenue would count it four times. In two fits
# on the public retail file a month apart 89 % of the customers stay together with these, 79 % with all features (k = 3).
CLUSTERED = (
    "recency_days",
    "tenure_days",
    "occasions",
    "mean_gap_days",
    "gap_variation",
    "net_revenue_365",
    "average_order_value",
    "returns_rate",
    "discount_share",
    "categories",
    "weekend_share",
    "usual_hour",
    "channels",
)
CLIPPED = 0.01  # at either end of each feature
SIZES = range(3, 9)
CUSTOMERS_NEEDED = 200

# A million customers are fitted on a sample, and silhouettes (distances between all pairs) measured on a smaller one.
SAMPLE, SILHOUETTE_SAMPLE = 50_000, 4_000
STARTS = 4
SEED = 20111209
CHUNK = 10_000  # rows whose distances are in memory at once

# The number of clusters changes only for a silhouette better by this much: people should find their clusters again.
SILHOUETTE_GAIN = 0.02
# Root mean square over the features that vary, in standard deviations: further apart, a cluster is not the one it was.
# On the public retail file clusters move by up to 0.2 in a month, and the nearest two of one run are 0.7 apart.
SAME_CLUSTER = 0.5

TOLD, LEADING = 3, 0.5  # at most so many features are told, each of at least so many standard deviations
RULE_DEPTH = 3
DIGITS = 3  # of a threshold that is not a whole number

# Per feature what is said of more and of less of it than usual, each in English and in Chinese.
PHRASES: Mapping[str, tuple[tuple[str, str], tuple[str, str]]] = {
    "recency_days": (("has not bought for long", "很久没有购买"), ("bought recently", "最近购买过")),
    "tenure_days": (("customer for long", "老客户"), ("new customer", "新客户")),
    "occasions": (("buys often", "购买频繁"), ("buys rarely", "很少购买")),
    "mean_gap_days": (("long between purchases", "购买间隔长"), ("soon buys again", "购买间隔短")),
    "gap_variation": (("buys irregularly", "购买时间不规律"), ("buys regularly", "购买时间规律")),
    "net_revenue_365": (("spends much", "消费金额高"), ("spends little", "消费金额低")),
    "average_order_value": (("large orders", "单笔金额高"), ("small orders", "单笔金额低")),
    "returns_rate": (("returns much", "退货多"), ("returns little", "退货少")),
    "discount_share": (("buys on discount", "偏好折扣"), ("buys at full price", "少用折扣")),
    "categories": (("buys many kinds", "购买品类多"), ("buys few kinds", "购买品类少")),
    "weekend_share": (("buys at weekends", "周末购买"), ("buys on weekdays", "工作日购买")),
    "usual_hour": (("buys late in the day", "购买时段偏晚"), ("buys early in the day", "购买时段偏早")),
    "channels": (("uses many channels", "使用多个渠道"), ("uses one channel", "使用单一渠道")),
}
AVERAGE = {"en": "close to the average customer", "zh": "接近平均客户"}


@dataclass(frozen=True)
class Model:
    """``centroids`` has a row per cluster in the standardised features of ``scaling``; ``labels`` (from 1) are what the
    clusters are known by from run to run; ``next_label`` was never used. ``silhouette`` is the mean of the sample, from -1
    to 1 (Rousseeuw, "Silhouettes", J. Comput. Appl. Math. 20, 1987)."""

    scaling: Scaling
    centroids: Matrix
    labels: tuple[int, ...]
    next_label: int
    silhouette: float

    def as_data(self) -> dict[str, Any]:
        """For a JSON column; ``model`` reads it."""
        return {
            "scaling": self.scaling.as_data(),
            "centroids": self.centroids.tolist(),
            "labels": list(self.labels),
            "next_label": self.next_label,
            "silhouette": self.silhouette,
        }


def model(data: Mapping[str, Any]) -> Model:
    """As it was stored."""
    return Model(
        scaling(data["scaling"]),
        np.array(data["centroids"], dtype=np.float64),
        tuple(data["labels"]),
        data["next_label"],
        data["silhouette"],
    )


def insufficient(matrix: Matrix) -> list[str]:
    """Why no clusters can be found among these customers; empty if they can.

    ``too_few_customers``: fewer than 200 with a purchase that counts; ``no_spread``: fewer than two features vary once the
    outermost customers are clipped, or there are fewer different customers than clusters might be.
    """
    return _reasons(_sample(matrix))


def fit(matrix: Matrix, previous: Model | None = None, sizes: Sequence[int] = SIZES) -> Model:
    """Find the clusters of these customers; as many of ``sizes`` as give the best silhouette.

    Where there was a ``previous`` model, its clusters are moved to where today's customers are, and kept unless another
    number of clusters is better by SILHOUETTE_GAIN. A cluster keeps the label of the previous one it is the same as.
    Raises ValueError with the reasons for a base that is insufficient.
    """
    sample = _sample(matrix)
    if reasons := _reasons(sample):
        raise ValueError(", ".join(reasons))
    scale = learn_scaling(sample, CLUSTERED, CLIPPED)
    points = scale.standardise(sample)
    found = [_k_means(points, size) for size in sizes]
    silhouette, centroids = max(found, key=lambda each: each[0])
    if previous is None:
        return Model(scale, centroids, tuple(range(1, len(centroids) + 1)), len(centroids) + 1, silhouette)
    before = scale.standardise(_spread_out(previous))
    if len(before) in sizes:
        kept = _k_means(points, len(before), before)
        if kept[0] + SILHOUETTE_GAIN >= silhouette:
            silhouette, centroids = kept
    labels: list[int] = []
    next_label = previous.next_label
    for same in match(before, centroids, int((scale.deviation > 0).sum())):
        if same is None:
            labels.append(next_label)
            next_label += 1
        else:
            labels.append(previous.labels[same])
    return Model(scale, centroids, tuple(labels), next_label, silhouette)


def match(previous: Matrix, centroids: Matrix, varying: int) -> list[int | None]:
    """For every cluster the position of the previous one that it is, or None if it is new.

    Both are centroids in the same standardised features, ``varying`` of which vary. Clusters are paired so that the sum of
    their distances is the smallest (Kuhn, "The Hungarian method for the assignment problem", 1955), where all distances
    beyond SAME_CLUSTER are alike, and no such pair is the same cluster.
    """
    from scipy.optimize import (
        linear_sum_assignment,
    )

    apart = np.sqrt(_squared_distances(centroids, previous) / varying)
    pairs = dict(zip(*linear_sum_assignment(np.minimum(apart, SAME_CLUSTER)), strict=True))
    return [
        int(pairs[new]) if new in pairs and apart[new, pairs[new]] < SAME_CLUSTER else None
        for new in range(len(centroids))
    ]


def assign(fitted: Model, matrix: Matrix) -> Integers:
    """The label of the nearest cluster per row, 0 for one without a purchase that counts. In chunks, so that the memory does
    not grow with the number of customers, and the same for one customer as for a million."""
    labels = np.zeros(len(matrix), dtype=np.int64)
    known = np.array(fitted.labels)
    for start in range(0, len(matrix), CHUNK):
        rows = matrix[start : start + CHUNK]
        nearest = _squared_distances(fitted.scaling.standardise(rows), fitted.centroids).argmin(axis=1)
        labels[start : start + CHUNK] = np.where(buyers(rows), known[nearest], 0)
    return labels


@dataclass(frozen=True)
class Condition:
    """``feature`` at most (``<=``) or more than (``>``) ``threshold``, in the feature's own unit."""

    feature: str
    operator: str
    threshold: float

    def holds(self, matrix: Matrix) -> Booleans:
        values = column(matrix, self.feature)
        return values <= self.threshold if self.operator == "<=" else values > self.threshold

    def __str__(self) -> str:
        return f"{self.feature} {self.operator} {self.threshold:.12g}"


@dataclass(frozen=True)
class Rule:
    """Conditions that nearly tell a cluster: ``precision`` is the share of the customers who meet them all that are in it,
    ``coverage`` the share of the cluster that meets them."""

    conditions: tuple[Condition, ...]
    precision: float
    coverage: float

    def holds(self, matrix: Matrix) -> Booleans:
        met = buyers(matrix)
        for condition in self.conditions:
            met &= condition.holds(matrix)
        return met

    def __str__(self) -> str:
        return " and ".join(str(each) for each in self.conditions)


@dataclass(frozen=True)
class Description:
    """One cluster. ``leading`` are the features in which its centre differs most from the population, in standard
    deviations; ``words`` says them in ``en`` and ``zh``; ``rule`` is None where no rule tells the cluster from the rest."""

    label: int
    customers: int
    leading: tuple[tuple[str, float], ...]
    words: Mapping[str, str]
    rule: Rule | None


def describe(fitted: Model, matrix: Matrix, labels: Integers) -> list[Description]:
    """Every cluster of ``assign``, in the order of the model."""
    sample = _sample(matrix)
    inside = assign(fitted, sample)
    return [
        Description(
            label,
            int((labels == label).sum()),
            (leading := _leading(fitted.scaling.names, centroid)),
            _words(leading),
            _rule(sample, inside == label, matrix, labels == label),
        )
        for label, centroid in zip(fitted.labels, fitted.centroids, strict=True)
    ]


def _leading(names: Sequence[str], centroid: Vector) -> tuple[tuple[str, float], ...]:
    largest = np.argsort(-np.abs(centroid), kind="stable")[:TOLD]
    return tuple((names[each], float(centroid[each])) for each in largest if abs(centroid[each]) >= LEADING)


def _words(leading: Sequence[tuple[str, float]]) -> Mapping[str, str]:
    if not leading:
        return AVERAGE
    phrases = [PHRASES[name][0 if difference > 0 else 1] for name, difference in leading]
    return {"en": ", ".join(en for en, _ in phrases), "zh": "，".join(zh for _, zh in phrases)}


def _rule(sample: Matrix, inside: Booleans, matrix: Matrix, members: Booleans) -> Rule | None:
    """The node of a shallow tree that tells the cluster from the rest best (the harmonic mean of precision and coverage; of
    equal ones the shorter)."""
    from sklearn.tree import (
        DecisionTreeClassifier,
    )

    # Only what is known of everybody: a rule should not have to say what it means of the others.
    names = [name for name in CLUSTERED if not np.isnan(column(sample, name)).any()]
    tree = DecisionTreeClassifier(
        max_depth=RULE_DEPTH,
        min_samples_leaf=max(5, len(sample) // 200),
        class_weight="balanced",
        random_state=SEED,
    )
    tree.fit(sample[:, [POSITION[name] for name in names]], inside)
    rules = [_measured(path, matrix, members) for path in _paths(tree.tree_, names)[1:]]
    return max(rules, key=lambda rule: _harmonic(rule.precision, rule.coverage), default=None)


def _paths(tree: Any, names: Sequence[str]) -> list[tuple[Condition, ...]]:
    """From the root, which asks for nothing, to every node; each feature at most once in each direction: the last is the
    narrowest."""

    def below(node: int, path: dict[tuple[str, str], float]) -> list[tuple[Condition, ...]]:
        here = tuple(Condition(*key, threshold) for key, threshold in path.items())
        if tree.children_left[node] == tree.children_right[node]:
            return [here]
        name = names[tree.feature[node]]
        threshold = _readable(name, float(tree.threshold[node]))
        return [
            here,
            *below(tree.children_left[node], path | {(name, "<="): threshold}),
            *below(tree.children_right[node], path | {(name, ">"): threshold}),
        ]

    return below(0, {})


def _readable(name: str, threshold: float) -> float:
    """Few digits; between two whole numbers the lower says the same."""
    return float(np.floor(threshold)) if FEATURES[POSITION[name]].whole else float(f"{threshold:.{DIGITS}g}")


def _measured(conditions: tuple[Condition, ...], matrix: Matrix, members: Booleans) -> Rule:
    met = Rule(conditions, 0, 0).holds(matrix)
    both = int((met & members).sum())
    return Rule(conditions, both / max(int(met.sum()), 1), both / max(int(members.sum()), 1))


def _harmonic(precision: float, coverage: float) -> float:
    return 2 * precision * coverage / (precision + coverage) if precision + coverage else 0.0


def _sample(matrix: Matrix) -> Matrix:
    """At most SAMPLE of the buyers, sorted, whatever order they came in."""
    # By the first feature first; those who bought nothing come last, not having a recency.
    order = np.lexsort([column(matrix, name) for name in reversed(CLUSTERED)])[: int(buyers(matrix).sum())]
    if len(order) > SAMPLE:
        order = order[np.sort(np.random.default_rng(SEED).choice(len(order), SAMPLE, replace=False))]
    return matrix[order]


def _reasons(sample: Matrix) -> list[str]:
    if len(sample) < CUSTOMERS_NEEDED:
        return ["too_few_customers"]
    scale = learn_scaling(sample, CLUSTERED, CLIPPED)
    different = len(np.unique(scale.standardise(sample), axis=0))
    return ["no_spread"] if (scale.deviation > 0).sum() < 2 or different <= max(SIZES) else []


def _spread_out(previous: Model) -> Matrix:
    """The centroids of a model as rows of the matrix of all features, so that another scaling can standardise them."""
    matrix = np.full((len(previous.centroids), len(FEATURES)), np.nan)
    matrix[:, [POSITION[name] for name in previous.scaling.names]] = previous.scaling.original(
        previous.centroids
    )
    return matrix


def _k_means(points: Matrix, size: int, start: Matrix | None = None) -> tuple[float, Matrix]:
    """Silhouette and centroids, from ``start`` or the best of a few seeded starts (Lloyd 1982; Arthur and Vassilvitskii,
    "k-means++", 2007)."""
    from sklearn import (
        config_context,
    )
    from sklearn.cluster import (
        KMeans,
    )
    from sklearn.metrics import (
        silhouette_score,
    )
    from threadpoolctl import (
        threadpool_limits,
    )

    few = np.random.default_rng(SEED).permutation(len(points))[:SILHOUETTE_SAMPLE]
    # One thread: several add up in an order of their own each time. Little memory for the distances of the silhouette.
    with threadpool_limits(1), config_context(working_memory=64):
        means = KMeans(
            size,
            init="k-means++" if start is None else start,
            n_init=STARTS if start is None else 1,
            random_state=SEED,
        ).fit(points)
        several = len(np.unique(means.labels_[few])) > 1
        silhouette = silhouette_score(points[few], means.labels_[few]) if several else -1.0
    return float(silhouette), np.array(means.cluster_centers_)


def _squared_distances(points: Matrix, centroids: Matrix) -> Matrix:
    """Shape (points, centroids)."""
    distances: Matrix = ((points[:, None, :] - centroids[None, :, :]) ** 2).sum(axis=2)
    return distances
