"""What a calibration learns of everybody: how customers come back, what they spend, what gap between two occasions is usual.

A model is a row per calibration and kind, with the reasons against using it, its parameters and how well it foretold what
was held out. Kinds: ``purchases`` (BG/NBD), ``churn`` (whether its P(alive) may be read as churn), ``spend`` (Gamma-Gamma),
``rhythm`` (the population's usual gap).
"""

from collections.abc import Mapping, Sequence
from dataclasses import asdict
from typing import Any
from uuid import UUID

import numpy as np
from sqlalchemy import insert, text
from sqlalchemy.orm import Session

from services.scoring.domain.arrays import arrays
from services.scoring.domain.calibrations import Calibration, minor_per_unit
from services.scoring.domain.facts import books
from services.scoring.rules import bgnbd, gamma_gamma, holdout, sufficiency
from services.scoring.rules.bgnbd import BgNbd, Ints
from services.scoring.rules.gamma_gamma import GammaGamma
from services.scoring.rules.outlook import OWN_GAPS, Models
from services.scoring.tables import model

# Days are counted from as_of backwards, so that nothing depends on a calendar.
_COUNTED = """
    select occasions - 1, (last_on - first_on)::bigint, (as_of_on - 1 - first_on)::bigint, repeat_minor,
           early_occasions, coalesce(early_last_on - first_on, 0)::bigint, (split_on - 1 - first_on)::bigint
    from calibration_input join (
        select calibration_id, split_on, (as_of at time zone %(zone)s)::date as as_of_on
        from calibration where calibration_id = %(id)s) c using (calibration_id)
    where occasions > 0
"""
_COLUMNS = ("x", "span", "age", "repeat_minor", "early_occasions", "early_span", "early_age")

Fitted = dict[str, Any]


def fit(session: Session, calibration_id: UUID) -> dict[str, list[str]]:
    """Fit everything to what the calibration counted, and store it; gives the reasons against each model. Repeating it
    changes nothing."""
    open_books = books(session)
    counted = arrays(session, _COUNTED, {"id": calibration_id, "zone": open_books.time_zone}, _COLUMNS)
    x, span, age = counted["x"], counted["span"], counted["age"]
    purchases, churn = _purchases(x, span, age, counted)
    fitted = {
        "purchases": purchases,
        "churn": churn,
        "spend": _spend(x, counted["repeat_minor"], minor_per_unit(open_books.currency)),
        "rhythm": _rhythm(x, span),
    }
    session.execute(text("delete from model where calibration_id = :id"), {"id": calibration_id})
    session.execute(
        insert(model),
        [{"calibration_id": calibration_id, "kind": kind, **each} for kind, each in fitted.items()],
    )
    return {kind: each["reasons"] for kind, each in fitted.items()}


def _purchases(x: Ints, span: Ints, age: Ints, counted: Mapping[str, Ints]) -> tuple[Fitted, Fitted]:
    reasons = sufficiency.of_base(x.size, int(age.max(initial=0)), int((x > 0).sum()))
    if reasons:
        return _fitted(reasons), _fitted(reasons)
    fitted = bgnbd.fit(bgnbd.group(x, span, age))
    reasons = sufficiency.of_purchases(fitted)
    quality = {} if reasons else _foretold(counted)
    return _fitted(reasons, asdict(fitted), quality), _fitted(sufficiency.of_churn(fitted))


def _foretold(counted: Mapping[str, Ints]) -> dict[str, Any]:
    """What a model fitted on the time before the split says about the time after it, against what happened."""
    there = counted["early_occasions"] > 0
    x = counted["early_occasions"][there] - 1
    span, age = counted["early_span"][there], counted["early_age"][there]
    if not (x > 0).any():
        return {}
    fitted = bgnbd.fit(bgnbd.group(x, span, age))
    if not fitted.converged:
        return {}
    actual = counted["x"][there] - x
    days = int((counted["age"] - counted["early_age"]).max())
    return {"holdout": asdict(holdout.measure(fitted, x, span, age, actual, days))}


def _spend(x: Ints, repeat_minor: Ints, minor: int) -> Fitted:
    again = (x > 0) & (repeat_minor > 0)
    reasons = sufficiency.of_base(x.size, sufficiency.DEFAULT.history_days, int(again.sum()))
    if reasons:
        return _fitted(reasons)
    fitted = gamma_gamma.fit(x[again], repeat_minor[again] / x[again] / minor)
    return _fitted(sufficiency.of_spend(fitted), asdict(fitted))


def _rhythm(x: Ints, span: Ints) -> Fitted:
    own = x >= OWN_GAPS
    if own.sum() < sufficiency.DEFAULT.repeat_buyers:
        return _fitted(["too_few_repeat_buyers"])
    return _fitted([], {"usual_gap_days": float(np.median(span[own] / x[own]))})


def _fitted(
    reasons: Sequence[str], parameters: dict[str, Any] | None = None, quality: dict[str, Any] | None = None
) -> Fitted:
    return {"reasons": list(reasons), "parameters": parameters or {}, "quality": quality or {}}


def usable(calibration: Calibration) -> Models:
    """The models that nothing speaks against."""
    stored = calibration.models

    def parameters(kind: str) -> Mapping[str, Any] | None:
        return stored[kind]["parameters"] if kind in stored and not stored[kind]["reasons"] else None

    purchases, spend = parameters("purchases"), parameters("spend")
    bg_nbd = None if purchases is None else BgNbd(**purchases)
    return Models(
        purchases=bg_nbd,
        churn=None if parameters("churn") is None else bg_nbd,
        spend=None if spend is None else GammaGamma(**spend),
    )


def accuracy(calibration: Calibration) -> float | None:
    """What the model of purchases achieved in its holdout, 0 … 1; None where nothing could be held out."""
    quality = calibration.models.get("purchases", {}).get("quality", {})
    return quality["holdout"]["accuracy"] if "holdout" in quality else None
