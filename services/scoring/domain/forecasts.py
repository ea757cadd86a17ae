"""What the models say of customers, a batch at once. Loaded where somebody is forecast: it brings numpy into the process."""

from collections.abc import Sequence
from datetime import date
from math import isnan
from typing import Any

import numpy as np
from sqlalchemy import Row

from services.scoring.domain.calibrations import Calibration
from services.scoring.domain.models import accuracy, usable
from services.scoring.rules.bgnbd import Ints
from services.scoring.rules.outlook import CHURN_BANDS, NEVER, Histories, Settings, outlooks
from services.scoring.rules.sufficiency import confidence

FIELDS = (
    "churn_band", "churn_probability", "purchases", "purchases_low", "purchases_high", "spend_minor", "clv_minor",
    "clv_low_minor", "clv_high_minor", "confidence", "usual_gap_days", "gap_spread_days", "next_on", "next_from",
    "next_until", "moves_on",
)  # fmt: skip
_LAST_DAY = date.max.toordinal()


def of(calibration: Calibration, known: Sequence[Row[Any]]) -> list[dict[str, Any]]:
    """The FIELDS of each customer, who has an occasion; null is what no model says."""
    if not known:
        return []
    policy, unit = calibration.policy.forecast, calibration.minor_per_unit
    x = np.array([row.occasions - 1 for row in known], dtype=np.int64)
    repeat_minor = np.array([row.counted_minor - row.first_minor for row in known], dtype=np.float64)
    seen = outlooks(
        Histories(
            x=x,
            first_day=_ordinals([row.first_on for row in known]),
            last_day=_ordinals([row.recent_days[0] for row in known]),
            squared_gaps=np.array([row.gap_square_sum for row in known], dtype=np.int64),
            mean_repeat_value=repeat_minor / np.maximum(x, 1) / unit,
            historic_minor=np.array([row.net_minor for row in known], dtype=np.int64),
        ),
        _ordinals([row.as_of_on for row in known]),
        usable(calibration),
        Settings(
            usual_gap_days=calibration.usual_gap_days,
            horizon_days=policy.horizon_days,
            annual_discount=policy.annual_discount,
            level=policy.interval,
            churn_cuts=policy.churn_probabilities,
            silence_cuts=policy.churn_silences,
            minor_per_unit=unit,
        ),
    )
    achieved = accuracy(calibration)
    trust = np.full(x.shape, np.nan) if achieved is None else confidence(x + 1, achieved)
    columns = (
        [CHURN_BANDS[band] for band in seen.churn_band.tolist()],
        _numbers(seen.churn),
        _numbers(seen.purchases),
        _numbers(seen.purchases_low),
        _numbers(seen.purchases_high),
        _amounts(seen.spend * unit),
        _amounts(seen.clv_minor),
        _amounts(seen.clv_low_minor),
        _amounts(seen.clv_high_minor),
        _numbers(np.where(np.isnan(seen.purchases), np.nan, trust)),
        _numbers(seen.usual_gap),
        _numbers(seen.gap_spread),
        _days(seen.next_day),
        _days(seen.next_early),
        _days(seen.next_late),
        _days(seen.moves_on),
    )
    return [dict(zip(FIELDS, values, strict=True)) for values in zip(*columns, strict=True)]


def _ordinals(days: Sequence[date]) -> Ints:
    return np.array([day.toordinal() for day in days], dtype=np.int64)


def _numbers(values: np.ndarray[Any, Any]) -> list[float | None]:
    return [None if isnan(value) else value for value in values.tolist()]


def _amounts(values: np.ndarray[Any, Any]) -> list[int | None]:
    return [None if isnan(value) else round(value) for value in values.tolist()]


def _days(ordinals: Ints) -> list[date | None]:
    return [None if day == NEVER or day > _LAST_DAY else date.fromordinal(day) for day in ordinals.tolist()]
