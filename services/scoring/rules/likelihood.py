"""Maximum likelihood. The one rule module that loads scipy, so it is imported where a model is fitted and nowhere else."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from scipy.optimize import minimize  # type: ignore[import-untyped]
from scipy.special import digamma, gammaln  # type: ignore[import-untyped]

__all__ = ["Maximum", "digamma", "gammaln", "maximise"]

Floats = npt.NDArray[np.float64]

# A mean log likelihood whose gradient is below this is flat to all published digits.
_FLAT = 1e-5


@dataclass(frozen=True)
class Maximum:
    """``value`` of the objective ``at`` its arguments; ``converged`` where no step within the bounds leads higher."""

    at: Floats
    value: float
    converged: bool


def maximise(
    objective: Callable[[Floats], tuple[float, Floats]], start: Floats, bounds: Sequence[tuple[float, float]]
) -> Maximum:
    """The maximum of a mean log likelihood, given with its gradient, by L-BFGS-B."""

    def turned(at: Floats) -> tuple[float, Floats]:
        value, gradient = objective(at)
        return -value, -gradient

    found = minimize(
        turned,
        start,
        jac=True,
        method="L-BFGS-B",
        bounds=bounds,
        options={"ftol": 1e-14, "gtol": 1e-7, "maxiter": 500, "maxcor": 20},
    )
    lowest, highest = np.array(bounds).T
    # At an edge the gradient points outwards; what is left of it inwards must be nothing.
    steps = np.clip(found.x - found.jac, lowest, highest) - found.x
    return Maximum(found.x, -float(found.fun), bool(np.abs(steps).max() < _FLAT))
