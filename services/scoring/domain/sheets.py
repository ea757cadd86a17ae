"""A customer's score with everything it rests on, as it is read."""

from collections.abc import Sequence
from datetime import timedelta
from decimal import ROUND_HALF_UP, Decimal
from typing import Any
from uuid import UUID

from sqlalchemy import Row, text
from sqlalchemy.orm import Session

from services.scoring.domain.scores import value_score
from services.scoring.rules.policy import Policy, parse
from services.scoring.rules.rfm import whole_days
from services.scoring.tables import customer
from shared.customers import owner_of

WINDOWS = (30, 90, 365)
FORECAST_DAYS = 90  # as customer_cluster.forecast_90_minor says

# Before the first calibration the as-of date is the end of the customer's own last fact's day.
_SHEETS = """
    select c.customer_id, v.as_of, (select currency from accounting) as currency,
           m.first_purchase_at, m.last_purchase_at, m.purchase_count, m.counted_minor, m.gross_minor,
           m.returned_minor, m.cancelled_minor, m.occasions, m.recent_days[1] as last_on,
           w.windows,
           s.r, s.f, s.m, s.segment, s.recency_worse, s.frequency_worse, s.monetary_worse, s.numerator, s.score_worse,
           s.value_class, k.calibration_id, k.as_of as calibration_as_of, k.counted, k.policy_version, p.content,
           t.tier, t.since, t.policy_version as tier_policy_version, t.downgrade_due_at,
           h.reason as manual_reason, h.until as manual_until, h.set_by as manual_by,
           s.window_frequency, s.window_monetary_minor, s.qualifying,
           a.satisfaction, a.measure, a.effective_at as satisfied_since,
           o.as_of as outlook_as_of, (o.as_of at time zone b.time_zone)::date as outlook_on, o.stage, o.stage_since,
           o.churn_band, o.churn_probability, o.purchases, o.purchases_low, o.purchases_high, o.spend_minor, o.clv_minor,
           o.clv_low_minor, o.clv_high_minor, o.confidence, o.usual_gap_days, o.gap_spread_days, o.next_on, o.next_from,
           o.next_until, o.trend, o.trend_deviation, o.recent_minor, o.before_minor, o.moves_on,
           (select jsonb_object_agg(kind, to_jsonb(reasons)) from model where calibration_id = o.calibration_id) as reasons,
           q.customer_id is not null as clustered, q.label, q.forecast_90_minor, q.baseline_90_minor, l.words,
           g.as_of as clustered_as_of, g.clusters -> 'reasons' as cluster_reasons, g.spend -> 'reasons' as forecast_reasons,
           g.spend -> 'parameters' ->> 'method' as method, g.spend -> 'parameters' ->> 'baseline' as baseline
    from ({customers}) c
    left join metrics m using (customer_id) left join score s using (customer_id)
    left join outlook o using (customer_id) left join accounting b on true
    cross join lateral (
        select case when s.as_of is not null then s.as_of when m.last_fact_at is not null then least(
                   '9999-12-31 00:00:00+00', (date_trunc('day', m.last_fact_at at time zone cast(:zone as text))
                       + interval '1 day') at time zone cast(:zone as text)) end as as_of) v
    left join calibration k on k.calibration_id = s.calibration_id
    left join policy p on p.version = k.policy_version
    left join tier t using (customer_id)
    left join clustering g on g.state = 'current'
    left join customer_cluster q on q.clustering_id = g.clustering_id and q.customer_id = c.customer_id
    left join cluster l on l.clustering_id = q.clustering_id and l.label = q.label
    left join manual_tier h on h.customer_id = c.customer_id and t.manual
    left join lateral (
        select satisfaction, measure, effective_at from satisfaction
        where customer_id = c.customer_id order by effective_at desc, recorded_customer_id limit 1) a on true
    left join lateral (
        select jsonb_agg(jsonb_build_array(days, purchases, bought - taken_back) order by days) as windows
        from (
            select days, count(*) filter (where counts) as purchases, coalesce(sum(bought), 0) as bought,
                   coalesce(sum(taken_back), 0) as taken_back
            from unnest(cast(:windows as integer[])) days
            left join (
                select occurred_at, amount_minor as bought, 0 as taken_back, amount_minor > returned_minor as counts
                from purchase p where p.customer_id = c.customer_id
                    and p.occurred_at >= v.as_of - :longest * interval '1 day'
                union all
                select occurred_at, 0, amount_minor, false from purchase_return r
                where r.customer_id = c.customer_id and r.occurred_at >= v.as_of - :longest * interval '1 day'
            ) fact on fact.occurred_at >= v.as_of - days * interval '1 day' and fact.occurred_at < v.as_of
            group by days) each) w on m.customer_id is not null
    order by c.customer_id
"""

_ONE = text(_SHEETS.format(customers="select customer_id from customer where customer_id = :id"))
_PAGE = text(
    _SHEETS.format(
        customers=(
            "select customer_id from customer where state = 'active' and customer_id > :after"
            " order by customer_id limit :size"
        )
    )
)

Sheet = dict[str, Any]


def one(session: Session, customer_id: UUID) -> Sheet:
    """A merged customer's is its winner's. Raises as ``customers.owner_of``."""
    owner = owner_of(session, customer, customer_id)
    row = session.execute(_ONE, {"id": owner} | _parameters(session)).one()
    return _sheet(session, row)


def page(session: Session, after: UUID | None, size: int) -> Sequence[Sheet]:
    """The next ``size`` customers by id."""
    rows = session.execute(_PAGE, {"after": after or UUID(int=0), "size": size} | _parameters(session))
    return [_sheet(session, row) for row in rows]


def _parameters(session: Session) -> Sheet:
    zone = session.info["settings"].time_zone
    return {"zone": zone, "windows": list(WINDOWS), "longest": max(WINDOWS)}


def _sheet(session: Session, row: Row[Any]) -> Sheet:
    policy = None if row.content is None else parse(row.policy_version, row.content)
    return {
        "customer_id": row.customer_id,
        "as_of": row.as_of,
        "currency": session.info["settings"].currency or row.currency,
        "metrics": _metrics(row),
        "rfm": _rfm(row, policy),
        "value": _value(row, policy),
        "lifecycle": {"stage": row.stage or "prospect", "since": row.stage_since, "changes_on": row.moves_on}
        if policy is not None or not row.purchase_count
        else None,
        "lifetime_value": _lifetime_value(row, policy),
        "churn": _churn(row),
        "next_purchase": _next_purchase(row),
        "trend": _trend(row, policy),
        "cluster": _cluster(row),
        "forecast": _forecast(row),
        "tier": None
        if row.tier is None
        else {
            "code": row.tier,
            "since": row.since,
            "policy_version": row.tier_policy_version,
            "downgrade_due_at": row.downgrade_due_at,
            "qualifying": row.qualifying,
            "manual": None
            if row.manual_reason is None
            else {"reason": row.manual_reason, "until": row.manual_until, "by": row.manual_by},
        },
        "satisfaction": None
        if row.satisfaction is None
        else {"state": row.satisfaction, "measure": row.measure, "since": row.satisfied_since},
        "calibration": None
        if policy is None
        else {
            "id": row.calibration_id,
            "as_of": row.calibration_as_of,
            "counted": row.counted,
            "basis": policy.basis(row.counted),
            "policy_version": row.policy_version,
        },
    }


def _metrics(row: Row[Any]) -> Sheet:
    gross, count = row.gross_minor or 0, row.purchase_count or 0
    gap = None
    if count > 1:
        gap = float(
            _rounded(
                Decimal((row.last_purchase_at - row.first_purchase_at).total_seconds()),
                86_400 * (count - 1),
                4,
            )
        )
    return {
        "first_purchase_at": row.first_purchase_at,
        "last_purchase_at": row.last_purchase_at,
        "purchase_count": count,
        "net_revenue_minor": _net_revenue(row),
        "gross_revenue_minor": gross,
        "returned_minor": row.returned_minor or 0,
        "cancelled_minor": row.cancelled_minor or 0,
        "average_order_value_minor": int(_rounded(Decimal(row.counted_minor), count, 0)) if count else None,
        "returns_rate": float(_rounded(Decimal(row.returned_minor), gross, 4)) if gross > 0 else None,
        "mean_gap_days": gap,
        "occasions": row.occasions or 0,
        "windows": [
            {"days": days, "purchase_count": purchases, "net_revenue_minor": net}
            for days, purchases, net in row.windows or ()
        ],
    }


def _net_revenue(row: Row[Any]) -> int:
    return (row.gross_minor or 0) - (row.returned_minor or 0) - (row.cancelled_minor or 0)


def _rounded(value: Decimal, by: int, places: int) -> Decimal:
    return (value / by).quantize(Decimal(1).scaleb(-places), ROUND_HALF_UP)


def _rfm(row: Row[Any], policy: Policy | None) -> Sheet | None:
    if not row.purchase_count:
        return None
    return {
        "recency_days": whole_days(row.last_purchase_at, row.as_of),
        "frequency": row.purchase_count if row.window_frequency is None else row.window_frequency,
        "monetary_minor": _net_revenue(row)
        if row.window_monetary_minor is None
        else row.window_monetary_minor,
        "r": row.r,
        "f": row.f,
        "m": row.m,
        "segment": row.segment,
        "basis": None if policy is None else policy.basis(row.counted),
    }


def _value(row: Row[Any], policy: Policy | None) -> Sheet | None:
    if policy is None or row.value_class is None:
        return None
    worse = (row.recency_worse, row.frequency_worse, row.monetary_worse)
    weights = (policy.recency_weight, policy.frequency_weight, policy.monetary_weight)
    return {
        "score": value_score(row.numerator, row.counted),
        "class": row.value_class,
        "inputs": [
            {
                "measure": name,
                "weight": weight / 100,
                "worse_count": count,
                "share": _share(count, row.counted),
            }
            for name, weight, count in zip(("recency", "frequency", "monetary"), weights, worse, strict=True)
        ],
        "worse_count": row.score_worse,
        "percentile": None if row.score_worse is None else round(100 * row.score_worse / row.counted, 4),
    }


def _share(worse: int | None, counted: int) -> float | None:
    return None if worse is None else round(worse / counted, 6)


def _lifetime_value(row: Row[Any], policy: Policy | None) -> Sheet | None:
    """Null before the first calibration and without an occasion; what no model says is null, with the reasons."""
    if policy is None or not row.occasions:
        return None
    historic = _net_revenue(row)
    reasons = row.reasons or {}
    return {
        "as_of": row.outlook_as_of,
        "horizon_days": policy.forecast.horizon_days,
        "historic_minor": historic,
        "predicted_minor": row.clv_minor,
        "total_minor": None if row.clv_minor is None else historic + row.clv_minor,
        "low_minor": row.clv_low_minor,
        "high_minor": row.clv_high_minor,
        "purchases": row.purchases,
        "purchases_low": row.purchases_low,
        "purchases_high": row.purchases_high,
        "spend_minor": row.spend_minor,
        "confidence": row.confidence,
        "reasons": sorted({*reasons.get("purchases", ()), *reasons.get("spend", ())}),
    }


def _churn(row: Row[Any]) -> Sheet | None:
    if row.churn_band is None:
        return None
    silence = (row.outlook_on - row.last_on).days - 1
    return {
        "as_of": row.outlook_as_of,
        "band": row.churn_band,
        "probability": row.churn_probability,
        "silence_days": silence,
        "usual_gap_days": row.usual_gap_days,
        "gap_spread_days": row.gap_spread_days,
        "silence_ratio": round(silence / row.usual_gap_days, 4),
        "confidence": row.confidence,
        "reasons": sorted((row.reasons or {}).get("churn", ())),
    }


def _next_purchase(row: Row[Any]) -> Sheet | None:
    if row.next_on is None:
        return None
    return {
        "expected_on": row.next_on,
        "from": row.next_from,
        "until": row.next_until,
        "overdue": row.next_until is not None and row.outlook_on - timedelta(days=1) > row.next_until,
    }


def _trend(row: Row[Any], policy: Policy | None) -> Sheet | None:
    if policy is None or row.trend is None:
        return None
    return {
        "direction": row.trend,
        "deviation": round(row.trend_deviation, 4),
        "days": policy.forecast.trend_days,
        "recent_minor": row.recent_minor,
        "before_minor": row.before_minor,
    }


def _cluster(row: Row[Any]) -> Sheet | None:
    """Null before the first clustering and for one whom it did not see buy."""
    if not row.clustered:
        return None
    return {
        "label": row.label,
        "words": row.words,
        "as_of": row.clustered_as_of,
        "reasons": row.cluster_reasons,
    }


def _forecast(row: Row[Any]) -> Sheet | None:
    """Null as ``_cluster`` is."""
    if not row.clustered:
        return None
    return {
        "as_of": row.clustered_as_of,
        "days": FORECAST_DAYS,
        "spend_minor": row.forecast_90_minor,
        "method": row.method,
        "baseline_minor": row.baseline_90_minor,
        "baseline": row.baseline,
        "reasons": row.forecast_reasons,
    }
