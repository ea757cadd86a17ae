"""What a base must carry before its customers are scored by a model, and how far a score can be trusted."""

from dataclasses import dataclass
from typing import Literal

import numpy as np
import numpy.typing as npt

from services.scoring.rules.bgnbd import BgNbd, Ints
from services.scoring.rules.gamma_gamma import Floats, GammaGamma

Reason = Literal[
    "too_few_customers",
    "too_short_a_history",
    "too_few_repeat_buyers",
    "not_converged",
    "no_dropout_seen",
    "no_spread_of_spend",
    "heavy_tailed_spend",
]


@dataclass(frozen=True)
class Thresholds:
    """At least so many customers with an occasion, days from the first occasion of all to the end of the observation (of
    which a third can be held out: holdout.days_held_out), and customers with a repeat occasion."""

    customers: int = 100
    history_days: int = 84
    repeat_buyers: int = 50


DEFAULT = Thresholds()


def of_base(
    customers: int, history_days: int, repeat_buyers: int, thresholds: Thresholds = DEFAULT
) -> list[Reason]:
    """Why nothing should be fitted on such a base; empty where it suffices."""
    reasons: list[Reason] = []
    if customers < thresholds.customers:
        reasons.append("too_few_customers")
    if history_days < thresholds.history_days:
        reasons.append("too_short_a_history")
    if repeat_buyers < thresholds.repeat_buyers:
        reasons.append("too_few_repeat_buyers")
    return reasons


def of_purchases(model: BgNbd) -> list[Reason]:
    """Why purchases cannot be expected by this model."""
    return [] if model.converged else ["not_converged"]


def of_churn(model: BgNbd) -> list[Reason]:
    """Why P(alive) of this model must not be read as churn."""
    reasons = of_purchases(model)
    return reasons if reasons or model.dropout_seen else ["no_dropout_seen"]


def of_spend(model: GammaGamma) -> list[Reason]:
    """Why the spend on an occasion cannot be expected by this model."""
    if not model.spread:
        return ["no_spread_of_spend"]
    if not model.converged:
        return ["not_converged"]
    return ["heavy_tailed_spend"] if model.heavy_tailed else []


def confidence(occasions: Ints, accuracy: float) -> Floats:
    """How far to trust a customer's score, 0 … 1: accuracy × occasions / (occasions + 2).

    ``accuracy`` is what the model achieved in its holdout (holdout.measure). The rest is a credibility weight, as in
    Bühlmann's: the share that a customer's own history has in the estimate if what is known of everybody counts as two
    occasions – a third after one, a half after two, nine tenths after eighteen. Both must be there; neither makes up for
    the other.
    """
    own: npt.NDArray[np.float64] = occasions / (occasions + 2)
    return accuracy * own
