"""Where customers are heading, a batch at once. Loaded where somebody is looked at: it brings numpy into the process."""

from dataclasses import dataclass
from datetime import date

import numpy as np

from services.scoring.domain.calibrations import Calibration
from services.scoring.domain.models import accuracy, usable
from services.scoring.rules.bgnbd import Floats, Ints
from services.scoring.rules.outlook import NEVER, Histories, Settings, outlooks
from services.scoring.rules.stages import NEVER as SAME_STAGE
from services.scoring.rules.stages import NO_GAP, Rhythms, stages_at
from services.scoring.rules.sufficiency import confidence
from services.scoring.rules.trend import deviations, trends

# Of a day, a band, a trend: there is none.
NONE = -1
_LAST_DAY = date.max.toordinal()


@dataclass(frozen=True)
class Known:
    """What the facts say, one entry per customer; days are proleptic ordinals. ``last_day``, ``second_day``, ``third_day`` are
    the latest three occasions, 0 where there are fewer, ``first_minor`` the worth of the first one."""

    occasions: Ints
    gap_square_sum: Ints
    first_day: Ints
    last_day: Ints
    second_day: Ints
    third_day: Ints
    as_of_day: Ints
    counted_minor: Ints
    first_minor: Ints
    net_minor: Ints
    recent_minor: Ints
    before_minor: Ints
    square_sum: Floats


@dataclass(frozen=True)
class Forecasts:
    """What follows, one entry per customer, as the columns of ``outlook``: stages, bands and trends are positions in STAGES,
    CHURN_BANDS and TRENDS, days ordinals; NaN and NONE are null."""

    stage: Ints
    churn_band: Ints
    churn_probability: Floats
    purchases: Floats
    purchases_low: Floats
    purchases_high: Floats
    spend_minor: Floats
    clv_minor: Floats
    clv_low_minor: Floats
    clv_high_minor: Floats
    confidence: Floats
    usual_gap_days: Floats
    gap_spread_days: Floats
    next_on: Ints
    next_from: Ints
    next_until: Ints
    trend: Ints
    trend_deviation: Floats
    recent_minor: Ints
    before_minor: Ints
    moves_on: Ints


def of(calibration: Calibration, known: Known) -> Forecasts:
    """By the models and the policy of the calibration. One without an occasion is a prospect, and nothing else is said."""
    policy, unit = calibration.policy.forecast, calibration.minor_per_unit
    bought = known.occasions > 0
    x = np.maximum(known.occasions - 1, 0)
    # Days before as_of stand in for those who never bought, so that the arithmetic holds; what it gives is not kept.
    last = np.where(bought, known.last_day, known.as_of_day - 1)
    first = np.where(bought, known.first_day, last)
    seen = outlooks(
        Histories(
            x=x,
            first_day=first,
            last_day=last,
            squared_gaps=known.gap_square_sum,
            mean_repeat_value=(known.counted_minor - known.first_minor) / np.maximum(x, 1) / unit,
            historic_minor=known.net_minor,
        ),
        known.as_of_day,
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
    stage, stage_moves_on = _stages(calibration, known)
    moves_on = np.where(seen.moves_on == NEVER, stage_moves_on, seen.moves_on)
    moves_on = np.where(stage_moves_on == NONE, moves_on, np.minimum(moves_on, stage_moves_on))
    achieved = accuracy(calibration)
    trust = np.full(x.shape, np.nan) if achieved is None else confidence(known.occasions, achieved)
    deviation = deviations(known.recent_minor, known.before_minor, known.square_sum)

    def number(values: Floats) -> Floats:
        return np.where(bought, values, np.nan)

    def whole(values: Ints) -> Ints:
        return np.where(bought & (values <= _LAST_DAY), values, NONE)

    return Forecasts(
        stage=stage,
        churn_band=whole(seen.churn_band),
        churn_probability=number(seen.churn),
        purchases=number(seen.purchases),
        purchases_low=number(seen.purchases_low),
        purchases_high=number(seen.purchases_high),
        spend_minor=number(np.rint(seen.spend * unit)),
        clv_minor=number(seen.clv_minor),
        clv_low_minor=number(seen.clv_low_minor),
        clv_high_minor=number(seen.clv_high_minor),
        confidence=number(np.where(np.isnan(seen.purchases), np.nan, trust)),
        usual_gap_days=number(seen.usual_gap),
        gap_spread_days=number(seen.gap_spread),
        next_on=whole(seen.next_day),
        next_from=whole(seen.next_early),
        next_until=whole(seen.next_late),
        trend=whole(trends(deviation)),
        trend_deviation=number(deviation),
        recent_minor=known.recent_minor,
        before_minor=known.before_minor,
        moves_on=whole(moves_on),
    )


def _stages(calibration: Calibration, known: Known) -> tuple[Ints, Ints]:
    """The stages, and the days on which time alone changes them."""
    gaps = Rhythms(
        occasions=known.occasions,
        gap_sum=known.last_day - known.first_day,
        gap_square_sum=known.gap_square_sum,
        last_gap=np.where(known.occasions > 1, known.last_day - known.second_day, NO_GAP),
        gap_before=np.where(known.occasions > 2, known.second_day - known.third_day, NO_GAP),
    )
    # The last whole day before as_of has been silent.
    silence = known.as_of_day - 1 - known.last_day
    stages, changes_after = stages_at(gaps, silence, calibration.usual_gap_days, calibration.policy.stages)
    return stages, np.where(changes_after == SAME_STAGE, NONE, known.last_day + changes_after + 1)
