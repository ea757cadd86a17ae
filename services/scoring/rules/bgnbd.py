"""BG/NBD: how often a customer buys and whether there will be anything more.

Fader, Hardie & Lee, "'Counting Your Customers' the Easy Way: An Alternative to the Pareto/NBD Model", Marketing Science
24(2), 2005, 275–284. While alive a customer buys at random with a rate of their own, rates are Gamma(r, alpha) over the
customers; after a purchase one drops out with a probability of their own, these are Beta(a, b).

All purchases of a customer on one calendar day are one occasion. A customer is three whole numbers: ``x``, the occasions
after the first; ``span`` (the paper's t_x), days from the first occasion to the last; ``age`` (T), days from the first
occasion to the end of the observation; 0 ≤ x ≤ span ≤ age, and span is 0 where x is. Parameters are per week, as in the
literature: a week is seven days. Arrays are of one shape, or broadcast to one.

Only ``fit`` needs scipy; everything else is numpy, for the processes that evaluate one customer at a time.
"""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

Ints = npt.NDArray[np.int64]
Floats = npt.NDArray[np.float64]

DAYS_PER_WEEK = 7
DAYS_PER_YEAR = 365
# Purchases to come are discounted by periods of at most four weeks.
PERIOD_DAYS = 28
# Nodes of the quadrature over the probability of dropping out. Over a horizon of a year the error is below 1e-7 of the
# value with alpha of CDNOW's four weeks, and 3e-5 with half a week for a customer of today.
NODES = 24
# Each of x, span and age is below 2^21 days, which is 5,700 years: three of them fit into one signed 64-bit key.
_BITS = 21

# Logarithms of parameters stay within these. At the edge stands a limit of the family: everybody buys at one rate (r and
# alpha), drops out with one probability (a and b) or never does (a / b).
_EDGE = 9.0
_NO_DROPOUT = -30.0
# Where the search for a and b begins: dropouts as most shops have them.
_START_A, _START_B = 0.7, 2.5
# Triples of a sample with which the search of a large base begins.
_SAMPLE = 20_000
# Two more parameters must gain this much log likelihood: the 95 % quantile of half a chi square with two degrees of freedom.
_EVIDENCE = 3.0


@dataclass(frozen=True)
class Statistics:
    """What the likelihood needs to know: each triple that occurs, once, and how many customers it has."""

    x: Ints
    span: Ints
    age: Ints
    customers: Ints


@dataclass(frozen=True)
class BgNbd:
    """``alpha`` is in weeks, the other three have no unit. Not to be used where not ``converged``.

    ``log_likelihood`` is that of all customers of the fit, ``log_likelihood_without_dropout`` the best that can be had if
    nobody ever drops out (the negative binomial model, Ehrenberg 1959).
    """

    r: float
    alpha: float
    a: float
    b: float
    log_likelihood: float
    log_likelihood_without_dropout: float
    converged: bool

    @property
    def dropout_seen(self) -> bool:
        """Whether the data say that customers drop out at all. Otherwise different rates of buying explain every
        silence as well: expectations hold, P(alive) is near 1 for everybody and says nothing about churn."""
        return self.log_likelihood - self.log_likelihood_without_dropout > _EVIDENCE


def group(x: Ints, span: Ints, age: Ints) -> Statistics:
    """The statistics of customers given one by one. Raises ValueError for one who cannot be (see above)."""
    if np.any((x < 0) | (span < x) | (age < span) | (age >> _BITS != 0) | ((x == 0) & (span > 0))):
        raise ValueError("0 <= x <= span <= age, and without a repeat occasion the span is 0")
    keys, customers = np.unique((x << 2 * _BITS) | (span << _BITS) | age, return_counts=True)
    below = (1 << _BITS) - 1
    return Statistics(keys >> 2 * _BITS, (keys >> _BITS) & below, keys & below, customers.astype(np.int64))


def fit(statistics: Statistics) -> BgNbd:
    """Maximum likelihood (equation 6 of the paper) by L-BFGS-B with the analytic gradient, on the logarithms of the
    parameters, where another unit of time is but a shift: first r and alpha as if nobody dropped out, then all four from
    there. Raises ValueError without a customer who bought again."""
    if not np.any(statistics.x > 0):
        raise ValueError("nobody has bought again")
    from services.scoring.rules.likelihood import maximise

    customers = int(statistics.customers.sum())
    occasions = (statistics.x * statistics.customers).sum() / customers
    weeks = (statistics.age * statistics.customers).sum() / customers / DAYS_PER_WEEK
    free, pinned = (-_EDGE, _EDGE), (_NO_DROPOUT, _NO_DROPOUT)
    staying = maximise(
        _objective(_without_span(statistics)),
        np.array([0.0, min(np.log(weeks / occasions), _EDGE), _NO_DROPOUT, 0.0]),
        (free, free, pinned, (0.0, 0.0)),
    )
    start = np.array([*staying.at[:2], np.log(_START_A), np.log(_START_B)])
    if statistics.x.size > 2 * _SAMPLE:
        start = maximise(_objective(_sample(statistics)), start, [free] * 4).at
    found = maximise(_objective(statistics), start, [free] * 4)
    r, alpha, a, b = (float(each) for each in np.exp(found.at))
    return BgNbd(
        r=r,
        alpha=alpha,
        a=a,
        b=b,
        log_likelihood=found.value * customers,
        log_likelihood_without_dropout=staying.value * customers,
        converged=found.converged,
    )


def _sample(statistics: Statistics) -> Statistics:
    """About ``_SAMPLE`` of the triples, evenly from all ages: they bring a large base near its maximum."""
    step = statistics.x.size // _SAMPLE
    return Statistics(
        statistics.x[::step], statistics.span[::step], statistics.age[::step], statistics.customers[::step]
    )


def _without_span(statistics: Statistics) -> Statistics:
    """Fewer triples, for the model in which the span does not matter."""
    keys, place = np.unique((statistics.x << _BITS) | statistics.age, return_inverse=True)
    x, age = keys >> _BITS, keys & ((1 << _BITS) - 1)
    return Statistics(x, age, age, np.bincount(place, statistics.customers).astype(np.int64))


def _objective(statistics: Statistics) -> Callable[[Floats], tuple[float, Floats]]:
    """The mean log likelihood and its gradient, as a function of log (r, alpha, a, b).

    A customer's likelihood is that of still being alive times (1 + odds of having dropped out with the last occasion). The
    first factor is summed over distinct x and over days, of which there are few; only the odds are a sum over triples.
    """
    from services.scoring.rules.likelihood import digamma, gammaln

    customers, total = statistics.customers.astype(np.float64), float(statistics.customers.sum())
    distinct, place = np.unique(statistics.x, return_inverse=True)
    xs, xs_customers = distinct.astype(np.float64), np.bincount(place, customers)
    weeks = np.arange(statistics.age.max() + 1) / DAYS_PER_WEEK
    by_age = np.bincount(statistics.age, customers, weeks.size)
    occasions_by_age = np.bincount(statistics.age, customers * statistics.x, weeks.size)
    again = statistics.x > 0
    x, n, place = statistics.x[again].astype(np.float64), customers[again], place[again]
    span, age = statistics.span[again], statistics.age[again]

    def objective(logs: Floats) -> tuple[float, Floats]:
        r, alpha, a, b = np.exp(logs)
        day_log, day_share = np.log(alpha + weeks), 1 / (alpha + weeks)
        of_x = (
            (gammaln(r + xs) - gammaln(r) + r * logs[1])
            + (gammaln(a + b) - gammaln(b))
            + (gammaln(b + xs) - gammaln(a + b + xs))
        )
        common = digamma(a + b) - digamma(a + b + xs)
        of_r = xs_customers @ (digamma(r + xs) - digamma(r) + logs[1]) - by_age @ day_log
        of_alpha = total * r / alpha - (r * by_age + occasions_by_age) @ day_share
        of_a = xs_customers @ common
        of_b = xs_customers @ (common + digamma(b + xs) - digamma(b))

        b_now = b + np.maximum(xs, 1) - 1
        passed = day_log[age] - day_log[span]
        log_odds = (r + x) * passed
        log_odds += (logs[2] - np.log(b_now))[place]
        odds = np.exp(np.minimum(log_odds, 700))
        log_either = np.maximum(np.log1p(odds), log_odds)
        gone = n * odds / (1 + odds)
        of_r += _dot(gone, passed)
        of_alpha += _dot((r + x) * gone, day_share[age] - day_share[span])
        of_a += gone.sum() / a
        of_b -= _dot(gone, (1 / b_now)[place])

        value = xs_customers @ of_x - (r * by_age + occasions_by_age) @ day_log
        value += _dot(n, log_either)
        gradient = np.array([of_r * r, of_alpha * alpha, of_a * a, of_b * b])
        return float(value / total), gradient / total

    return objective


def _dot(one: Floats, other: Floats) -> float:
    """Not ``@``, which starts a thread per core for arrays as long as these: they wait for each other where a core is busy
    with something else, and a fit takes four times as long."""
    return float(np.einsum("i,i->", one, other))


def alive(model: BgNbd, x: Ints, span: Ints, age: Ints) -> Floats:
    """P(alive): the probability, 0 … 1, that there may be another occasion. It falls with every silent day.

    For x > 0 by Fader, Hardie & Lee, "Computing P(Alive) Using the BG/NBD Model" (2008). Of one who bought once BG/NBD
    says 1 by construction, since nobody drops out after a first purchase, and so half of most bases would be alive for
    ever. Here the first purchase is a chance to drop out as every later one is, with the fitted Beta(a, b): the odds of
    having done so are a / b × ((alpha + T) / alpha)^r. (Batislam, Denizel & Filiztekin, "Empirical validation and
    comparison of models for customer base analysis", IJRM 24(3), 2007, make the same assumption in the likelihood too.)
    """
    probability: Floats = 1 / (1 + np.exp(np.minimum(_log_odds_gone(model, x, span, age), 700)))
    return probability


def _log_odds_gone(model: BgNbd, x: Ints, span: Ints, age: Ints) -> Floats:
    passed = np.log(model.alpha + age / DAYS_PER_WEEK) - np.log(model.alpha + span / DAYS_PER_WEEK)
    odds: Floats = _log_odds_at_once(model, x) + (model.r + x) * passed
    return odds


def _log_odds_at_once(model: BgNbd, x: Ints) -> Floats:
    """Of having dropped out with the last occasion, on its very day."""
    odds: Floats = np.log(model.a) - np.log(model.b + np.maximum(x, 1) - 1)
    return odds


def silent_until(model: BgNbd, x: Ints, span: Ints, level: float | Floats) -> Floats:
    """The age in days, not whole, at which P(alive) of one who stays silent has fallen to ``level`` (0 … 1, neither):
    ``alive`` solved for the age. ``span`` where it is that low on the day of the last occasion; beyond all dates
    where it takes that long."""
    odds = np.log1p(-np.asarray(level)) - np.log(level)
    factor = np.exp(np.clip((odds - _log_odds_at_once(model, x)) / (model.r + x), 0, 600))
    weeks = model.alpha + span / DAYS_PER_WEEK
    days: Floats = span + weeks * (factor - 1) * DAYS_PER_WEEK
    return days


def expected(model: BgNbd, x: Ints, span: Ints, age: Ints, days: int) -> Floats:
    """How many occasions to expect in the ``days`` after the end of the observation (equation 10 of the paper).

    Of one who bought once with the P(alive) that stands above: fewer than the paper says.
    """
    occasions: Floats = alive(model, x, span, age) * expected_if_alive(model, x, age, [days])[..., 0]
    return occasions


def discounted(model: BgNbd, x: Ints, span: Ints, age: Ints, days: int, annual_discount: float) -> Floats:
    """The same, each occasion worth the less the later it comes: (1 + annual_discount)^-(days / 365).

    The horizon is cut into equal periods of at most four weeks; what comes in one is discounted from its middle.
    """
    periods = -(-days // PERIOD_DAYS)
    ends = np.arange(1, periods + 1) * (days / periods)
    factors = (1 + annual_discount) ** -((ends - days / periods / 2) / DAYS_PER_YEAR)
    gained = np.diff(expected_if_alive(model, x, age, ends), axis=-1, prepend=0)
    occasions: Floats = alive(model, x, span, age) * np.einsum("...i,i->...", gained, factors)
    return occasions


def expected_if_alive(model: BgNbd, x: Ints, age: Ints, days: npt.ArrayLike) -> Floats:
    """How many occasions to expect within each of ``days`` (a last axis more) of one who is alive at the end of the
    observation; it does not depend on the span.

    Such a customer has a rate of Gamma(r + x, alpha + T) and drops out after a purchase with probability p of
    Beta(a, b + x), so for a given p expects (1 - (1 + p t / (alpha + T))^-(r + x)) / p. The paper integrates over p into
    a hypergeometric function divided by a - 1, which is lost where a is near 1; the Gauss–Jacobi quadrature here has no
    such hole.
    """
    x, age = np.broadcast_arrays(x, age)
    distinct, place = np.unique(x.astype(np.float64), return_inverse=True)
    nodes, weights = _beta_quadrature(model.a, model.b + distinct)
    # A customer's x and age decide; many share them.
    pairs, pair = np.unique((place.reshape(x.shape) << _BITS) | age, return_inverse=True)
    of_x, weeks = pairs >> _BITS, model.alpha + (pairs & ((1 << _BITS) - 1)) / DAYS_PER_WEEK
    p, shape = nodes[of_x], -(model.r + distinct[of_x])[:, None]
    result = np.empty((pairs.size, np.size(days)))
    for column, horizon in enumerate(np.atleast_1d(np.asarray(days)) / DAYS_PER_WEEK):
        bought = -np.expm1(shape * np.log1p(p * (horizon / weeks)[:, None])) / p
        result[:, column] = np.einsum("ij,ij->i", weights[of_x], bought)
    occasions: Floats = result[pair.reshape(x.shape)]
    return occasions


def interval(model: BgNbd, x: Ints, span: Ints, age: Ints, days: int, level: float) -> tuple[Ints, Ints]:
    """The number of occasions in the ``days`` after the end of the observation: its quantiles at (1 ∓ level) / 2.

    With 1 - P(alive) there is none, else about as many as a negative binomial of ``expected_if_alive`` and of size r + x
    gives, which is what a Gamma(r + x, …) rate makes of random purchases. An approximation: that one may drop out within
    the horizon is in the mean alone.
    """
    p, size = alive(model, x, span, age), model.r + x.astype(np.float64)
    mean = expected_if_alive(model, x, age, [days])[..., 0]
    return (
        _quantile((1 - level) / 2, p, mean, size, days),
        _quantile((1 + level) / 2, p, mean, size, days),
    )


def _quantile(probability: float, alive: Floats, mean: Floats, size: Floats, most: int) -> Ints:
    """The least count whose distribution function reaches ``probability``; never more than ``most``, one a day.

    Counted upwards from 0, all customers at once, until each has reached it: logarithms of the negative binomial's
    probabilities follow from one another.
    """
    shape = alive.shape
    alive, mean, size = (np.ravel(each) for each in np.broadcast_arrays(alive, mean, size))
    missing = (probability - (1 - alive)) / np.maximum(alive, np.finfo(np.float64).tiny)
    log_share = np.log(mean) - np.log(mean + size)
    log_mass = size * (np.log(size) - np.log(mean + size))
    missing = missing - np.exp(log_mass)
    counts = np.zeros(alive.size, np.int64)
    left = np.flatnonzero(missing > 0)
    for count in range(1, most + 1):
        if not left.size:
            break
        counts[left] = count
        log_mass[left] += np.log((count - 1 + size[left]) / count) + log_share[left]
        missing[left] -= np.exp(log_mass[left])
        left = left[missing[left] > 0]
    return counts.reshape(shape)


def _beta_quadrature(a: float, b: Floats) -> tuple[Floats, Floats]:
    """Nodes and weights (a row for each of ``b``) of the expectation over Beta(a, b): eigenvalues of the Jacobi matrix
    and the squared first components of its eigenvectors (Golub & Welsch, Mathematics of Computation 23, 1969)."""
    k = np.arange(NODES, dtype=np.float64)
    # Jacobi polynomials on (-1, 1) with the weight (1 - u)^c (1 + u)^d; p = (1 + u) / 2.
    c, d = b[:, None] - 1, a - 1
    s = 2 * k + c + d
    with np.errstate(divide="ignore", invalid="ignore"):
        diagonal = (d - c) * (d + c) / (s * (s + 2))
        beside = 4 * k * (k + c) * (k + d) * (k + c + d) / (s * s * (s + 1) * (s - 1))
    diagonal[:, 0] = ((d - c) / (c + d + 2))[:, 0]
    # (k + c + d) / (s - 1) is 1 for k = 1, also where both are 0.
    beside[:, 1] = (4 * (1 + c) * (1 + d) / ((s[:, 1:2] ** 2) * (s[:, 1:2] + 1)))[:, 0]
    matrix = np.zeros((b.size, NODES, NODES))
    matrix[:, range(NODES), range(NODES)] = diagonal
    matrix[:, range(1, NODES), range(NODES - 1)] = np.sqrt(beside[:, 1:])
    eigenvalues, eigenvectors = np.linalg.eigh(matrix)
    return np.maximum((1 + eigenvalues) / 2, np.finfo(np.float64).tiny), eigenvectors[:, 0, :] ** 2
