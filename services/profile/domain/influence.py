"""Whom a customer brought, whom those brought, and what all of them are worth."""

from collections.abc import Sequence
from typing import Any
from uuid import UUID

from sqlalchemy import Row, text
from sqlalchemy.orm import Session

# Beyond this nobody speaks of influence; and whoever brought so many is a programme of its own.
DEEPEST, MOST = 10, 10_000

# Only what qualified. Everybody stands in the tree once, at the nearest level; circles, which merges can make, end where
# they began. What somebody is worth here is what came in since it was brought.
_TREE = text(
    """
    with recursive tree as (
        select cast(:customer_id as uuid) as customer_id, 0 as depth, cast(null as timestamptz) as referred_at,
            array[cast(:customer_id as uuid)] as path
        union all
        select e.customer_id, t.depth + 1, e.referred_at, t.path || e.customer_id
        from tree t
        join referral_party p on p.customer_id = t.customer_id and p.role = 'referrer'
        join referral r on r.referral_id = p.referral_id and r.state = 'qualified'
        join referral_party e on e.referral_id = p.referral_id and e.role = 'referee'
        where t.depth < :deepest and not e.customer_id = any(t.path)
    ), brought as (
        select distinct on (customer_id) customer_id, depth, referred_at from (
            select * from tree where depth > 0 limit :most
        ) found order by customer_id, depth, referred_at
    )
    select b.depth as level, count(*) as customers, coalesce(sum(n.net), 0)::bigint as net_revenue_minor
    from brought b left join lateral (
        select sum(accounting_total_minor - accounting_returned_minor) as net from purchase
        where purchase.customer_id = b.customer_id and occurred_at >= b.referred_at
    ) n on true
    group by b.depth order by b.depth
    """
)


def levels(session: Session, customer_id: UUID, deepest: int) -> Sequence[Row[Any]]:
    """Rows of ``level`` (1 = brought by the customer itself), ``customers`` and ``net_revenue_minor`` in the accounting
    currency; at most 10,000 people are counted."""
    return session.execute(
        _TREE, {"customer_id": customer_id, "deepest": min(deepest, DEEPEST), "most": MOST}
    ).all()
