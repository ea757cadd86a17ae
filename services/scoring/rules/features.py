"""What a customer looks like as of a day, in numbers: the columns that clusters and the forecast of spend share, and how
they are brought to one scale."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import date
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

Integers = npt.NDArray[np.int64]
Booleans = npt.NDArray[np.bool_]
Moments = npt.NDArray[np.datetime64]
Vector = npt.NDArray[np.float64]
# One row per customer, one column per feature, in the order of FEATURES; NaN where the feature is not known.
Matrix = npt.NDArray[np.float64]


class Feature(NamedTuple):
    """``skewed``: few customers have very much of it, so its logarithm is standardised. ``whole``: days and counts."""

    name: str
    skewed: bool = False
    whole: bool = False


FEATURES = (
    Feature("recency_days", skewed=True, whole=True),  # since the day of the last purchase
    Feature("tenure_days", whole=True),  # since the day of the first
    Feature("occasions", skewed=True, whole=True),  # days with a purchase
    Feature("mean_gap_days", skewed=True),  # between occasions; needs two of them
    Feature("gap_variation"),  # standard deviation of the gaps over their mean; needs three occasions
    Feature("net_revenue", skewed=True),
    Feature("net_revenue_30", skewed=True),
    Feature("net_revenue_90", skewed=True),
    Feature("net_revenue_365", skewed=True),
    Feature("usual_revenue_90", skewed=True),  # net revenue per 90 days of tenure
    Feature("purchases_30", skewed=True, whole=True),
    Feature("purchases_90", skewed=True, whole=True),
    Feature("purchases_365", skewed=True, whole=True),
    Feature("average_order_value", skewed=True),
    Feature("returns_rate"),  # taken back / bought, by amount
    Feature("discount_share"),  # discounts / amount before discounts
    Feature("categories", skewed=True, whole=True),
    Feature("weekend_share"),  # of purchases
    Feature("usual_hour"),  # from 4 to 28: one at night is late, not early
    Feature("channels", whole=True),
)
POSITION = {feature.name: position for position, feature in enumerate(FEATURES)}
WINDOWS = (30, 90, 365)  # days

# Someone who came a few days ago has no rate yet: extrapolated from the days since, the real file's error triples.
RATE_DAYS = 90
DAY_BEGINS = 4  # o'clock, when fewest people buy


class Purchases(NamedTuple):
    """One element per purchase: the position of its customer, when (local time of the deployment), its amount after
    discounts, the discounts, a code of its channel. Codes are small numbers, positions in a list."""

    customer: Integers
    at: Moments
    amount_minor: Integers
    discount_minor: Integers
    channel: Integers


class Returns(NamedTuple):
    """One element per return or cancellation; ``purchase`` is the position of the purchase it names, or -1."""

    customer: Integers
    at: Moments
    amount_minor: Integers
    purchase: Integers


class Lines(NamedTuple):
    """One element per line bought: a code of its category (of its product where there are no categories)."""

    customer: Integers
    at: Moments
    category: Integers


def features(
    customers: int,
    as_of: date,
    purchases: Purchases,
    returns: Returns,
    lines: Lines,
    minor_per_unit: int = 100,
) -> Matrix:
    """The features of customers 0 … ``customers`` - 1 as of the beginning of a day: what happened later is not known.

    Days are calendar days of the deployment, amounts whole units of the accounting currency. A purchase counts if it is
    worth more than nothing net of the returns that name it. Customers do not depend on each other, so a million of them
    can be measured in chunks. The net spend of a period to come is ``net_revenue_…`` as of its end.
    """
    now = np.datetime64(as_of)
    returns = Returns(*_where(returns, returns.at < now))
    named = returns.purchase >= 0
    left_minor = purchases.amount_minor.copy()
    np.subtract.at(left_minor, returns.purchase[named], returns.amount_minor[named])
    known = purchases.at < now
    counts = known & (left_minor > 0)
    counted = Purchases(*_where(purchases, counts))._replace(amount_minor=left_minor[counts])
    lines = Lines(*_where(lines, lines.at < now))
    columns = _rhythm(customers, as_of, counted)
    columns |= _money(customers, as_of, Purchases(*_where(purchases, known)), returns, minor_per_unit)
    columns |= _habits(customers, as_of, counted, lines, minor_per_unit)
    columns["usual_revenue_90"] = (
        columns["net_revenue"] / np.maximum(columns["tenure_days"], RATE_DAYS) * RATE_DAYS
    )
    return np.column_stack([columns[feature.name] for feature in FEATURES])


def column(matrix: Matrix, name: str) -> Vector:
    """One feature of every customer."""
    return matrix[:, POSITION[name]]


def buyers(matrix: Matrix) -> Booleans:
    """Who has a purchase that counts. The others are neither in a cluster nor forecast."""
    return ~np.isnan(column(matrix, "recency_days"))


def _rhythm(customers: int, as_of: date, counted: Purchases) -> dict[str, Vector]:
    customer, age = _distinct(counted.customer, _days_before(as_of, counted.at))
    occasions = _count(customers, customer)
    buys = occasions > 0
    # Sorted by customer and then by age, so the first of each is the latest.
    everyone = np.arange(customers)
    first, last = np.searchsorted(customer, everyone), np.searchsorted(customer, everyone, side="right") - 1
    recency, tenure = np.full(customers, np.nan), np.full(customers, np.nan)
    recency[buys], tenure[buys] = age[first[buys]], age[last[buys]]
    same = customer[1:] == customer[:-1]
    squares = _total(customers, customer[1:][same], np.diff(age)[same] ** 2)
    gaps = occasions - 1
    mean_gap = _ratio(tenure - recency, gaps)
    variance = np.maximum(_ratio(squares, gaps) - mean_gap**2, 0)
    return {
        "recency_days": recency,
        "tenure_days": tenure,
        "occasions": occasions,
        "mean_gap_days": mean_gap,
        "gap_variation": np.where(gaps > 1, _ratio(np.sqrt(variance), mean_gap), np.nan),
    }


def _money(
    customers: int, as_of: date, purchases: Purchases, returns: Returns, minor_per_unit: int
) -> dict[str, Vector]:
    def net_revenue(days: float) -> Vector:
        bought, back = bought_age <= days, back_age <= days
        return (
            _total(customers, purchases.customer[bought], purchases.amount_minor[bought])
            - _total(customers, returns.customer[back], returns.amount_minor[back])
        ) / minor_per_unit

    bought_age, back_age = _days_before(as_of, purchases.at), _days_before(as_of, returns.at)
    gross = _total(customers, purchases.customer, purchases.amount_minor)
    discounts = _total(customers, purchases.customer, purchases.discount_minor)
    return {
        "net_revenue": net_revenue(np.inf),
        **{f"net_revenue_{days}": net_revenue(days) for days in WINDOWS},
        "returns_rate": _ratio(_total(customers, returns.customer, returns.amount_minor), gross),
        "discount_share": _ratio(discounts, gross + discounts),
    }


def _habits(
    customers: int, as_of: date, counted: Purchases, lines: Lines, minor_per_unit: int
) -> dict[str, Vector]:
    age = _days_before(as_of, counted.at)
    purchases = _count(customers, counted.customer)
    day = counted.at.astype("M8[D]")
    hour = (counted.at - day) / np.timedelta64(1, "h")
    weekend = (day.astype(np.int64) + 3) % 7 >= 5  # day 0, 1970-01-01, was a Thursday
    amount_minor = _total(customers, counted.customer, counted.amount_minor)
    hours = _total(customers, counted.customer, (hour - DAY_BEGINS) % 24)
    return {
        **{f"purchases_{days}": _count(customers, counted.customer[age <= days]) for days in WINDOWS},
        "average_order_value": _ratio(amount_minor, purchases) / minor_per_unit,
        "categories": _count(customers, _distinct(lines.customer, lines.category)[0]),
        "weekend_share": _ratio(_total(customers, counted.customer, weekend), purchases),
        "usual_hour": _ratio(hours, purchases) + DAY_BEGINS,
        "channels": _count(customers, _distinct(counted.customer, counted.channel)[0]),
    }


def _where(facts: tuple[npt.NDArray[Any], ...], chosen: Booleans) -> tuple[npt.NDArray[Any], ...]:
    return tuple(each[chosen] for each in facts)


def _days_before(as_of: date, at: Moments) -> Integers:
    """Calendar days from the day of each moment to ``as_of``: yesterday is 1."""
    return (np.datetime64(as_of) - at.astype("M8[D]")).astype(np.int64)


def _count(customers: int, customer: Integers) -> Vector:
    return np.bincount(customer, minlength=customers).astype(np.float64)


def _total(customers: int, customer: Integers, amounts: npt.NDArray[Any]) -> Vector:
    sums = np.bincount(customer, weights=amounts.astype(np.float64), minlength=customers)
    return sums.astype(np.float64)  # of no element at all numpy gives integers


def _ratio(part: Vector, whole: Vector) -> Vector:
    """NaN where the whole is nothing."""
    ratio: Vector = np.divide(part, whole, out=np.full(len(whole), np.nan), where=whole > 0)
    return ratio


def _distinct(customer: Integers, value: Integers) -> tuple[Integers, Integers]:
    """The distinct pairs, sorted by customer and then by value."""
    if not customer.size:
        return customer, value
    low = int(value.min())
    width = int(value.max()) - low + 1
    pairs = np.unique(customer * width + (value - low))
    return pairs // width, pairs % width + low


@dataclass(frozen=True)
class Scaling:
    """How some features are standardised, learnt from a population and applicable to one customer later.

    A value is clipped to [low, high]; a skewed one becomes ± log(1 + |value| / typical), where ``typical`` is the median of
    those who have any, so that neither the currency nor its minor unit matters; then ``mean`` is taken away and divided by
    ``deviation``. What is not known is taken for the population's mean (0), and so is a feature that does not vary.
    Every array has one element per name.
    """

    names: tuple[str, ...]
    low: Vector
    high: Vector
    typical: Vector
    mean: Vector
    deviation: Vector

    def standardise(self, matrix: Matrix) -> Matrix:
        """Shape (customers, names) from the matrix of all features: mean 0 and variance 1 in the population."""
        values = np.clip(matrix[:, self._positions()], self.low, self.high)
        varies = self.deviation > 0
        scale = np.where(varies, self.deviation, 1)
        scaled = (self._logarithm(values) - self.mean) / scale
        return np.where(varies & ~np.isnan(scaled), scaled, 0)

    def original(self, standardised: Matrix) -> Matrix:
        """The other way round: shape (…, names), in the units of the features."""
        values = standardised * self.deviation + self.mean
        skewed = self._skewed()
        amounts = np.sign(values) * np.expm1(np.where(skewed, np.abs(values), 0)) * self.typical
        return np.where(skewed, amounts, values)

    def as_data(self) -> dict[str, Any]:
        """For a JSON column; ``scaling`` reads it."""
        return {
            "names": list(self.names),
            **{key: getattr(self, key).tolist() for key in ("low", "high", "typical", "mean", "deviation")},
        }

    def _positions(self) -> list[int]:
        return [POSITION[name] for name in self.names]

    def _skewed(self) -> Booleans:
        return np.array([FEATURES[position].skewed for position in self._positions()])

    def _logarithm(self, values: Matrix) -> Matrix:
        return np.where(self._skewed(), np.sign(values) * np.log1p(np.abs(values) / self.typical), values)


def scaling(data: Mapping[str, Any]) -> Scaling:
    """As it was stored. Raises KeyError for a feature that is not known (any more)."""
    names = tuple(data["names"])
    unknown = [name for name in names if name not in POSITION]
    if unknown:
        raise KeyError(unknown[0])
    return Scaling(
        names,
        *(np.array(data[key], dtype=np.float64) for key in ("low", "high", "typical", "mean", "deviation")),
    )


def learn_scaling(matrix: Matrix, names: Sequence[str], clipped: float) -> Scaling:
    """From the rows of a population, of which the share ``clipped`` is cut off at either end of every feature.

    The order of the rows does not matter, to the last bit: sums are those of sorted columns. A feature that nobody has or
    that does not vary after clipping gets the deviation 0.
    """
    parameters = []
    for name in names:
        values = np.sort(column(matrix, name))
        values = values[~np.isnan(values)]
        if not values.size:
            values = np.zeros(1)
        low, high = np.quantile(values, [clipped, 1 - clipped])
        having = np.abs(values[values != 0])
        typical = float(np.median(having)) if having.size else 1.0
        values = np.clip(values, low, high)
        if FEATURES[POSITION[name]].skewed:
            values = np.sign(values) * np.log1p(np.abs(values) / typical)
        varies = values[0] < values[-1]
        parameters.append((low, high, typical, values.mean(), values.std() if varies else 0.0))
    return Scaling(tuple(names), *np.array(parameters, dtype=np.float64).T)
