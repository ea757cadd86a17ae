"""Gamma-Gamma: what a customer spends on an occasion.

Fader & Hardie, "The Gamma-Gamma Model of Monetary Value" (2013). The value of an occasion is Gamma(p, nu) about a mean of
the customer's own, nu is Gamma(q, gamma) over the customers, and neither has to do with how often one buys.

Fitted on customers with a repeat occasion, on the mean value of their repeat occasions (the paper's z-bar over x of
them), in major units of the currency, net of returns, above zero. Only ``fit`` needs scipy.
"""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

Ints = npt.NDArray[np.int64]
Floats = npt.NDArray[np.float64]

# Logarithms of the parameters stay within these, gamma's about that of the mean value.
_EDGE = 14.0


@dataclass(frozen=True)
class GammaGamma:
    """``gamma`` is in units of the currency, p and q have none. Not to be used where not ``converged``, nor without
    ``spread``, nor where ``heavy_tailed``."""

    p: float
    q: float
    gamma: float
    log_likelihood: float
    converged: bool

    @property
    def spread(self) -> bool:
        """Whether values differ, as the model supposes, within a customer's occasions and between customers."""
        return bool(np.log(max(self.p, self.q)) < _EDGE - 0.01)

    @property
    def heavy_tailed(self) -> bool:
        """With q ≤ 1 the mean over the customers is infinite, and no expectation exists."""
        return self.q <= 1


def fit(x: Ints, mean: Floats) -> GammaGamma:
    """Maximum likelihood (equation 1a of the paper) by L-BFGS-B with the analytic gradient, on the logarithms of the
    parameters. One entry per customer. Raises ValueError where an x or a mean is not above zero, or there is none."""
    from services.scoring.rules.likelihood import digamma, gammaln, maximise

    if not x.size or np.any(x <= 0) or np.any(mean <= 0):
        raise ValueError("customers with a repeat occasion and a value above zero")
    distinct, place = np.unique(x, return_inverse=True)
    xs, customers = distinct.astype(np.float64), np.bincount(place).astype(np.float64)
    spent, log_scale = x * mean, float(np.log(mean.mean()))
    log_spent = np.bincount(place, np.log(spent))
    log_mean_sum = float(np.log(mean).sum())

    def objective(logs: Floats) -> tuple[float, Floats]:
        p, q, gamma = np.exp(logs)
        total_by_x = np.bincount(place, np.log(gamma + spent))
        share_by_x = np.bincount(place, 1 / (gamma + spent))
        shapes = p * xs
        value = (
            customers @ (gammaln(shapes + q) - gammaln(shapes) - gammaln(q) + q * logs[2])
            + shapes @ log_spent
            - log_mean_sum
            - (shapes + q) @ total_by_x
        )
        both = digamma(shapes + q)
        of_p = xs @ (customers * (both - digamma(shapes)) + log_spent - total_by_x)
        of_q = customers @ (both - digamma(q) + logs[2]) - total_by_x.sum()
        of_gamma = x.size * q / gamma - (shapes + q) @ share_by_x
        return float(value / x.size), np.array([of_p * p, of_q * q, of_gamma * gamma]) / x.size

    free = (-_EDGE, _EDGE)
    found = maximise(
        objective,
        np.array([np.log(2), np.log(3), log_scale]),
        (free, free, (log_scale - _EDGE, log_scale + _EDGE)),
    )
    p, q, gamma = (float(each) for each in np.exp(found.at))
    return GammaGamma(p, q, gamma, found.value * x.size, found.converged)


def expected_spend(model: GammaGamma, x: Ints, mean: Floats) -> Floats:
    """What to expect of an occasion to come, given the mean value of x repeat occasions (equation 5 of the paper): the
    customer's own mean weighed against the population's, which alone counts where x is 0 (``mean`` is ignored there).
    Raises ValueError where the model is heavy-tailed."""
    if model.heavy_tailed:
        raise ValueError("no expectation exists")
    spent = np.where(x > 0, x * mean, 0)
    value: Floats = model.p * (model.gamma + spent) / (model.p * x + model.q - 1)
    return value
