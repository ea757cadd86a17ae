"""What customers are worth together: lifetime value in deciles, and how much of the revenue the best bring."""

from datetime import datetime
from typing import Any

from sqlalchemy import text
from sqlalchemy.orm import Session

from services.scoring.domain.calibrations import current
from services.scoring.domain.reports.facts import BOUGHT, COMPLETE, RETURNED
from services.scoring.domain.reports.filters import NET, Filter, ask
from services.scoring.domain.reports.headers import moment, of_facts, of_scores, share
from services.scoring.rules.inequality import gini

TOP_PERCENT = (1, 5, 10, 20, 50)

_PREDICTED = """
    select count(*) filter (where m.occasions > 0) as customers,
           count(o.clv_minor) filter (where m.occasions > 0) as predicted
    from ({members}) meant join metrics m using (customer_id) left join outlook o using (customer_id)
"""
_DECILES = """
    with valued as (
        select {value} as value from ({members}) meant
        join outlook o using (customer_id) join metrics m using (customer_id) where o.clv_minor is not null),
    placed as (select value, ntile(10) over (order by value) as decile from valued)
    select decile, count(*) as customers, min(value) as low_minor, max(value) as high_minor, sum(value)::bigint as sum_minor
    from placed group by decile order by decile
"""
_VALUES = {"predicted": "o.clv_minor", "total": f"o.clv_minor + {NET}"}

_NET_NOW = f"select {NET} as net_minor from ({{members}}) meant join metrics m using (customer_id)"
_NET_THEN = f"""
    select sum(net_minor) as net_minor from (
        select customer_id, amount_minor as net_minor from ({BOUGHT}) bought
        union all select customer_id, -amount_minor from ({RETURNED}) returned) fact
    group by customer_id
"""
# Positions are counted from the lowest; the best :percent % are as many as that makes, at least one.
_PARETO = """
    with earning as materialized (select net_minor from ({net}) net where net_minor > 0),
    ranked as (select net_minor, row_number() over (order by net_minor) as position from earning),
    counted as (select count(*) as customers from earning)
    select customers, coalesce(sum(net_minor), 0)::bigint as total_minor,
           coalesce(sum(position * cast(net_minor as numeric)), 0)::numeric as ranked_sum, {tops}
    from counted left join ranked on true group by customers
"""
_TOPS = ", ".join(
    f"coalesce(sum(net_minor) filter (where position > customers - (customers * {percent} + 99) / 100), 0)::bigint"
    f" as top_{percent}"
    for percent in TOP_PERCENT
)


def clv_distribution(session: Session, asked: Filter) -> dict[str, Any]:
    """Deciles of the customers with a prediction, the lowest first, by predicted and by total value; of those without
    one the number and what speaks against the models."""
    calibration = current(session)
    models = calibration.models if calibration else {}
    count = ask(session, _PREDICTED, asked)[0]
    deciles = {
        name: [
            row._asdict() for row in ask(session, _DECILES.replace("{value}", value), asked)
        ] if count.predicted else []
        for name, value in _VALUES.items()
    }  # fmt: skip
    return of_scores(session, calibration) | {
        "horizon_days": calibration.policy.forecast.horizon_days if calibration else None,
        "customers": count.predicted,
        "without_prediction": count.customers - count.predicted,
        "reasons": sorted(
            {reason for kind in ("purchases", "spend") for reason in models.get(kind, {}).get("reasons", ())}
        ),
        "predicted_deciles": deciles["predicted"],
        "total_deciles": deciles["total"],
    }


def pareto(session: Session, asked: Filter, as_of: datetime | None) -> dict[str, Any]:
    """The share of the net revenue that the best so many per cent of the customers bring, of those who bring any."""
    as_of = moment(session, as_of)
    complete = session.scalar(text(COMPLETE), {"as_of": as_of})
    query = _PARETO.replace("{net}", _NET_NOW if complete else _NET_THEN).replace("{tops}", _TOPS)
    row = ask(session, query, asked, {} if complete else {"as_of": as_of, "complete": False})[0]
    equal = gini(row.customers, row.total_minor, int(row.ranked_sum))
    return of_facts(session, as_of) | {
        "customers": row.customers,
        "net_revenue_minor": row.total_minor,
        "gini": None if equal is None else round(equal, 6),
        "top": [
            {
                "percent": percent,
                "customers": (row.customers * percent + 99) // 100,
                "net_revenue_minor": (amount := getattr(row, f"top_{percent}")),
                "share": share(amount, row.total_minor),
            }
            for percent in TOP_PERCENT
        ],
    }
