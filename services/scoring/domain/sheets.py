"""A customer's score with everything it rests on, as it is read."""

from collections.abc import Sequence
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

# Before the first calibration the as-of date is the end of the customer's own last fact's day.
_SHEETS = """
    select c.customer_id, coalesce(s.as_of, least('9999-12-31 00:00:00+00', (
               date_trunc('day', m.last_fact_at at time zone cast(:zone as text)) + interval '1 day')
                   at time zone cast(:zone as text))) as as_of,
           (select currency from accounting) as currency,
           m.first_purchase_at, m.last_purchase_at, m.purchase_count, m.counted_minor, m.gross_minor,
           m.returned_minor, m.cancelled_minor,
           s.r, s.f, s.m, s.segment, s.recency_worse, s.frequency_worse, s.monetary_worse, s.numerator, s.score_worse,
           s.value_class, k.calibration_id, k.as_of as calibration_as_of, k.counted, k.policy_version, p.content,
           t.tier, t.since, t.policy_version as tier_policy_version, t.downgrade_due_at,
           a.satisfaction, a.measure, a.effective_at as satisfied_since
    from ({customers}) c
    left join metrics m using (customer_id) left join score s using (customer_id)
    left join calibration k on k.calibration_id = s.calibration_id
    left join policy p on p.version = k.policy_version
    left join tier t using (customer_id)
    left join lateral (
        select satisfaction, measure, effective_at from satisfaction
        where customer_id = c.customer_id order by effective_at desc, recorded_customer_id limit 1) a on true
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
    row = session.execute(_ONE, {"id": owner, "zone": session.info["settings"].time_zone}).one()
    return _sheet(session, row)


def page(session: Session, after: UUID | None, size: int) -> Sequence[Sheet]:
    """The next ``size`` customers by id."""
    rows = session.execute(
        _PAGE, {"after": after or UUID(int=0), "size": size, "zone": session.info["settings"].time_zone}
    )
    return [_sheet(session, row) for row in rows]


def _sheet(session: Session, row: Row[Any]) -> Sheet:
    policy = None if row.content is None else parse(row.policy_version, row.content)
    return {
        "customer_id": row.customer_id,
        "as_of": row.as_of,
        "currency": session.info["settings"].currency or row.currency,
        "metrics": _metrics(row),
        "rfm": _rfm(row, policy),
        "value": _value(row, policy),
        "tier": None
        if row.tier is None
        else {
            "code": row.tier,
            "since": row.since,
            "policy_version": row.tier_policy_version,
            "downgrade_due_at": row.downgrade_due_at,
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
        "frequency": row.purchase_count,
        "monetary_minor": _net_revenue(row),
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
