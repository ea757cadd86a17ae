"""Why a customer's score, tier and stage are what they are, what is missing to the next tier, and what changed between two
dates."""

from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from itertools import pairwise
from typing import Any
from uuid import UUID

from sqlalchemy import Row, text
from sqlalchemy.orm import Session

from services.scoring.domain import sheets
from services.scoring.domain.calibrations import Calibration, current
from services.scoring.domain.facts import books
from services.scoring.rules import rfm, wording
from services.scoring.rules.policy import Level, Policy
from services.scoring.rules.tiers import (
    level_by_revenue,
    level_by_score,
    level_by_threshold,
    value_numerator,
)
from services.scoring.tables import customer
from shared.customers import owner_of

Explanation = dict[str, Any]

_MEASURES = ("recency", "frequency", "monetary")


def explain(session: Session, customer_id: UUID) -> Explanation:
    """From the score as it is read. Raises as ``customers.owner_of``."""
    sheet = sheets.one(session, customer_id)
    calibration = current(session)
    explanation: Explanation = {
        "customer_id": sheet["customer_id"],
        "as_of": sheet["as_of"],
        "currency": sheet["currency"],
        "policy_version": None if calibration is None else calibration.policy.version,
        "score": None,
        "segment": None,
        "tier": None,
        "stage": None,
        "words": {"en": [], "zh": []},
    }
    if calibration is None:
        return explanation | {"words": wording.uncalibrated()}
    if sheet["rfm"] is not None and sheet["value"] is not None:
        explanation["score"] = _score(sheet)
        explanation["segment"] = _segment(sheet)
    explanation["tier"] = _tier(session, calibration, sheet)
    explanation["stage"] = _stage(session, calibration, sheet)
    return explanation | {"words": wording.explained(explanation)}


def _score(sheet: Mapping[str, Any]) -> Explanation:
    raw = {
        "recency": sheet["rfm"]["recency_days"],
        "frequency": sheet["rfm"]["frequency"],
        "monetary": sheet["rfm"]["monetary_minor"],
    }
    return {
        "value": sheet["value"]["score"],
        "class": sheet["value"]["class"],
        "basis": sheet["rfm"]["basis"],
        "inputs": [
            {
                "measure": each["measure"],
                "value": raw[each["measure"]],
                "weight": each["weight"],
                "share": each["share"],
                "points": None if each["share"] is None else round(100 * each["weight"] * each["share"], 4),
            }
            for each in sheet["value"]["inputs"]
        ],
    }


def _segment(sheet: Mapping[str, Any]) -> Explanation:
    r, f, m = (sheet["rfm"][band] for band in "rfm")
    return {"code": sheet["rfm"]["segment"], "r": r, "f": f, "m": m, "fm": rfm.mean_band(f, m)}


def _tier(session: Session, calibration: Calibration, sheet: Mapping[str, Any]) -> Explanation | None:
    if sheet["tier"] is None:
        return None
    policy = calibration.policy
    codes = [level.code for level in policy.tiers]
    held = codes.index(sheet["tier"]["code"]) if sheet["tier"]["code"] in codes else None
    standing = session.execute(_STANDING, {"id": sheet["customer_id"]}).one_or_none()
    placed = sheet["rfm"] is not None and sheet["value"] is not None and standing is not None
    deserved = _deserved(calibration, sheet, standing) if placed and standing is not None else None
    return {
        "code": sheet["tier"]["code"],
        "since": sheet["tier"]["since"],
        "downgrade_due_at": sheet["tier"]["downgrade_due_at"],
        "manual": sheet["tier"]["manual"],
        "deserved": None if deserved is None else codes[deserved],
        "rule": None if held is None else _rule(policy.tiers[held], calibration),
        "next": None
        if held is None or held + 1 == len(codes) or not placed or standing is None
        else _next(session, calibration, sheet, standing, policy.tiers[held + 1]),
    }


_STANDING = text("select numerator, score_worse, qualifying from score where customer_id = :id")


def _deserved(calibration: Calibration, sheet: Mapping[str, Any], standing: Row[Any]) -> int:
    tiers, by = calibration.policy.tiers, calibration.policy.qualification
    if by.by == "period":
        return level_by_threshold(tiers, standing.qualifying, _unit(calibration))
    if calibration.basis == "fixed":
        return level_by_revenue(tiers, sheet["rfm"]["monetary_minor"], calibration.minor_per_unit)
    if by.by == "score_threshold":
        return level_by_threshold(tiers, standing.numerator, calibration.counted)
    return level_by_score(tiers, standing.score_worse, calibration.counted)


def _unit(calibration: Calibration) -> int:
    """Of the thresholds of a qualifying period: whole units of the currency, or single purchases."""
    return calibration.minor_per_unit if calibration.policy.qualification.measure == "net_revenue" else 1


def _rule(level: Level, calibration: Calibration) -> Explanation:
    """What a tier asks for: a share of the counted customers who score strictly lower or a score (in a small base a revenue
    instead of both), or so much within a qualifying period."""
    by = calibration.policy.qualification
    rule: Explanation = {
        "by": by.by,
        "basis": calibration.basis,
        "percentile": None,
        "score": None,
        "net_revenue_minor": None,
        "purchases": None,
        "period": by.period if by.by == "period" else None,
        "days": by.days if by.by == "period" else None,
    }
    if by.by == "period":
        name = "net_revenue_minor" if by.measure == "net_revenue" else "purchases"
        return rule | {name: (level.threshold or 0) * _unit(calibration)}
    if calibration.basis == "fixed":
        revenue = None if level.net_revenue is None else level.net_revenue * calibration.minor_per_unit
        return rule | {"net_revenue_minor": revenue}
    if by.by == "score_threshold":
        return rule | {"score": level.threshold or 0}
    return rule | {"percentile": level.percentile}


# The largest value of a measure that fewer counted customers are strictly worse than: one more is enough.
_FALLS_SHORT = text("""
    select max(value) from distribution where calibration_id = :id and measure = :measure and worse_count < :worse
""")


def _next(
    session: Session, calibration: Calibration, sheet: Mapping[str, Any], standing: Row[Any], level: Level
) -> Explanation:
    """What is missing to the next tier: in points of the score, and how much more revenue or how many more purchases alone
    would do, the rest being as it is; null where no counted customer has as much."""
    rule = _rule(level, calibration)
    answer: Explanation = {
        "code": level.code,
        "names": dict(level.names),
        "rule": rule,
        "missing_points": None,
        "missing_minor": None,
        "missing_purchases": None,
    }
    monetary = sheet["rfm"]["monetary_minor"]
    by = calibration.policy.qualification
    if by.by == "period":
        name = "minor" if by.measure == "net_revenue" else "purchases"
        asked = (level.threshold or 0) * _unit(calibration)
        return answer | {f"missing_{name}": max(0, asked - standing.qualifying)}
    if calibration.basis == "fixed":
        return answer | {"missing_minor": max(0, rule["net_revenue_minor"] - monetary)}

    def enough(measure: str, worse: int) -> int | None:
        """The least value that ``worse`` counted customers are strictly worse than; None: there are not so many."""
        if worse > calibration.counted:
            return None
        place = {"id": calibration.id, "measure": measure, "worse": worse}
        return int(session.scalar(_FALLS_SHORT, place) or 0) + 1

    needed = (
        (level.threshold or 0) * calibration.counted
        if by.by == "score_threshold"
        else enough("s", -(-level.percentile * calibration.counted // 100))
    )
    if needed is None:
        return answer
    policy = calibration.policy
    weights = (policy.recency_weight, policy.frequency_weight, policy.monetary_weight)
    worse = tuple(each["worse_count"] for each in sheet["value"]["inputs"])
    missing = needed - standing.numerator

    def alone(position: int, measure: str) -> int | None:
        if not weights[position]:
            return None
        return enough(measure, worse[position] + -(-missing // weights[position]))

    spent, bought = alone(2, "m"), alone(1, "f")
    return answer | {
        "missing_points": round(missing / calibration.counted, 4),
        "missing_minor": None if spent is None else max(0, spent - monetary),
        "missing_purchases": None if bought is None else max(0, bought - sheet["rfm"]["frequency"]),
    }


def _stage(session: Session, calibration: Calibration, sheet: Mapping[str, Any]) -> Explanation | None:
    """The stage with the silence and its limits, and the latest gaps, each against what was usual before it."""
    import numpy as np

    from services.scoring.rules.stages import NO_GAP, Rhythms, limits

    if sheet["lifecycle"] is None:
        return None
    stage: Explanation = dict(sheet["lifecycle"]) | {
        "occasions": sheet["metrics"]["occasions"],
        "silence_days": None,
        "late_after_days": None,
        "dormant_after_days": None,
        "lost_after_days": None,
        "last_gaps_days": [],
    }
    if not stage["occasions"]:
        return stage
    row = session.execute(
        text("""
            select m.occasions, m.gap_square_sum, m.recent_days,
                   m.recent_days[1] - (m.first_purchase_at at time zone :zone)::date as gap_sum,
                   (o.as_of at time zone :zone)::date - m.recent_days[1] - 1 as silence_days
            from metrics m join outlook o using (customer_id) where m.customer_id = :id
        """),
        {"id": sheet["customer_id"], "zone": books(session).time_zone},
    ).one()
    gaps = [(later - earlier).days for later, earlier in pairwise(row.recent_days)]
    own = (row.occasions, row.gap_sum, row.gap_square_sum, NO_GAP, NO_GAP)
    found = limits(
        Rhythms(*(np.array([each]) for each in own)), calibration.usual_gap_days, calibration.policy.stages
    )
    return stage | {
        "silence_days": row.silence_days,
        "late_after_days": int(found.late[0]),
        "dormant_after_days": int(found.dormant[0]),
        "lost_after_days": int(found.lost[0]),
        "last_gaps_days": gaps,
    }


# A customer's facts before a moment, as a calibration counts them.
_AS_OF = text("""
    with bought as (
        select p.occurred_at, p.amount_minor, p.amount_minor - case when p.returned_minor = 0 then 0 else (
                   select coalesce(sum(r.amount_minor), 0) from purchase_return r
                   where r.purchase_id = p.purchase_id and r.occurred_at < :as_of) end as left_minor
        from purchase p where p.customer_id = :id and p.occurred_at < :as_of)
    select count(*) filter (where left_minor > 0 and occurred_at >= :since) as frequency,
           max(occurred_at) filter (where left_minor > 0) as last_purchase_at,
           coalesce(sum(amount_minor) filter (where occurred_at >= :since), 0)::bigint as gross_minor,
           coalesce((select sum(amount_minor) from purchase_return where customer_id = :id
                     and occurred_at < :as_of and occurred_at >= :since), 0)::bigint as back_minor
    from bought
""")

_WORSE = text("""
    select coalesce((select worse_count from distribution
                     where calibration_id = :id and measure = :measure and value >= :value order by value limit 1), :counted)
""")

_TIERS_BETWEEN = text("""
    select tier, previous_tier, effective_at, reason from tier_change
    where customer_id = :id and effective_at >= :since and effective_at < :until order by tier_change_id limit 100
""")

_STAGES_BETWEEN = text("""
    select stage, previous_stage, effective_at, reason from stage_change
    where customer_id = :id and effective_at >= :since and effective_at < :until order by stage_change_id limit 100
""")


def compare(session: Session, customer_id: UUID, since: datetime, until: datetime) -> Explanation:
    """What changed a customer's score from ``since`` to ``until``: the facts before each moment, both placed in the
    boundaries in force, so that only what the customer did (and the days that passed) makes the difference; and the
    changes of tier and stage that were announced meanwhile. Raises as ``customers.owner_of``."""
    owner = owner_of(session, customer, customer_id)
    calibration = current(session)
    before, after = (_placed(session, calibration, owner, moment) for moment in (since, until))
    between = {"id": owner, "since": since, "until": until}
    comparison: Explanation = {
        "customer_id": owner,
        "since": since,
        "until": until,
        "policy_version": None if calibration is None else calibration.policy.version,
        "before": before,
        "after": after,
        "changes": _differences(before, after),
        "tiers": [dict(row._mapping) for row in session.execute(_TIERS_BETWEEN, between)],
        "stages": [dict(row._mapping) for row in session.execute(_STAGES_BETWEEN, between)],
    }
    return comparison | {"words": wording.compared(comparison)}


def _placed(session: Session, calibration: Calibration | None, owner: UUID, as_of: datetime) -> Explanation:
    window = None if calibration is None else calibration.policy.window_days
    earliest = datetime(1, 1, 1, tzinfo=UTC)
    since = earliest if window is None else max(earliest, as_of - timedelta(days=window))
    row: Row[Any] = session.execute(_AS_OF, {"id": owner, "as_of": as_of, "since": since}).one()
    raw: Explanation = {
        "recency_days": None if row.last_purchase_at is None else rfm.whole_days(row.last_purchase_at, as_of),
        "frequency": row.frequency,
        "monetary_minor": row.gross_minor - row.back_minor,
    }
    placed = dict.fromkeys(("score", "r", "f", "m", "segment", "tier_deserved", "points"))
    if calibration is None or row.last_purchase_at is None or not calibration.counted:
        return raw | placed
    policy, counted = calibration.policy, calibration.counted

    def worse(measure: str, value: int) -> int:
        found = session.scalar(
            _WORSE, {"id": calibration.id, "measure": measure, "value": value, "counted": counted}
        )
        return found or 0

    values = (raw["recency_days"], raw["frequency"], raw["monetary_minor"])
    lower = (worse("r", -values[0]), worse("f", values[1]), worse("m", values[2]))
    weights = (policy.recency_weight, policy.frequency_weight, policy.monetary_weight)
    numerator = value_numerator(weights, lower)
    bands = _bands(calibration, values, lower)
    return raw | {
        "score": round(numerator / counted, 4),
        "r": bands[0],
        "f": bands[1],
        "m": bands[2],
        "segment": rfm.segment(policy.segments, *bands),
        "tier_deserved": _deserved_then(calibration, numerator, worse("s", numerator), values[2]),
        "points": {
            name: round(weight * count / counted, 4)
            for name, weight, count in zip(_MEASURES, weights, lower, strict=True)
        },
    }


def _deserved_then(calibration: Calibration, numerator: int, lower: int, monetary_minor: int) -> str | None:
    """None where tiers go by a qualifying period: which that was at the time is not reckoned here."""
    tiers, by = calibration.policy.tiers, calibration.policy.qualification.by
    if by == "period":
        return None
    if calibration.basis == "fixed":
        return tiers[level_by_revenue(tiers, monetary_minor, calibration.minor_per_unit)].code
    if by == "score_threshold":
        return tiers[level_by_threshold(tiers, numerator, calibration.counted)].code
    return tiers[level_by_score(tiers, lower, calibration.counted)].code


def _bands(
    calibration: Calibration, values: tuple[int, int, int], lower: tuple[int, int, int]
) -> tuple[int, int, int]:
    policy: Policy = calibration.policy
    if calibration.basis == "population":
        r, f, m = (rfm.band(each, calibration.counted) for each in lower)
        return r, f, m
    recency, frequency, monetary = values
    unit = calibration.minor_per_unit
    return (
        rfm.fixed_recency_band(recency, policy.fixed_recency_days),
        rfm.fixed_band(frequency, policy.fixed_frequency),
        rfm.fixed_band(monetary, [each * unit for each in policy.fixed_monetary]),
    )


def _differences(before: Explanation, after: Explanation) -> list[Explanation]:
    """Each measure with what it did to the score, the largest effect first."""
    changes = []
    for measure, field in zip(_MEASURES, ("recency_days", "frequency", "monetary_minor"), strict=True):
        then, now = ((side["points"] or {}).get(measure, 0.0) for side in (before, after))
        changes.append(
            {
                "measure": measure,
                "before": before[field],
                "after": after[field],
                "points": round(now - then, 4),
            }
        )
    return sorted(changes, key=lambda each: (-abs(each["points"]), each["measure"]))
