"""Customer 360: everything that happened with a customer in one order, and what it adds up to.

Of each kind the latest few are read from its own index ``(customer_id, time, id)``, and the page is made of those: so
a page costs the same whatever lies behind it. What a merged customer did belongs to the one it became.
"""

from collections.abc import Sequence
from datetime import datetime
from typing import Any
from uuid import UUID

from sqlalchemy import Row, text
from sqlalchemy.orm import Session

# Kind → the table, its id and time, and what an entry says of a row. No free text and nothing sealed.
_KINDS: dict[str, tuple[str, str, str, str]] = {
    "purchase": (
        "purchase",
        "purchase_id",
        "occurred_at",
        """select json_build_object('source', source, 'external_id', external_id, 'channel', channel, 'store', store,
            'currency', currency, 'total_minor', total_minor, 'net_minor', total_minor - returned_minor,
            'accounting_net_minor', accounting_total_minor - accounting_returned_minor, 'cancelled_at', cancelled_at,
            'line_count', (select count(*) from purchase_line l where l.purchase_id = t.purchase_id),
            'skus', (select json_agg(sku order by line) from (select line, sku from purchase_line l
                where l.purchase_id = t.purchase_id order by line limit 5) l))""",
    ),
    "return": (
        "purchase_return",
        "return_id",
        "occurred_at",
        """select json_build_object('source', source, 'external_id', external_id, 'purchase_id', purchase_id,
            'currency', currency, 'amount_minor', amount_minor, 'accounting_amount_minor', accounting_amount_minor)""",
    ),
    "activity": (
        "activity",
        "activity_id",
        "occurred_at",
        """select json_build_object('type', type, 'channel', channel, 'sku', sku, 'category', category, 'page', page,
            'quantity', quantity, 'result_count', result_count, 'campaign_id', campaign_id)""",
    ),
    "interaction": (
        "interaction",
        "interaction_id",
        "occurred_at",
        """select json_build_object('contact', kind, 'direction', direction, 'channel', channel, 'staff_id', staff_id,
            'outcome', outcome, 'case_id', case_id, 'next_step_due_at', next_step_due_at,
            'next_step_done_at', next_step_done_at)""",
    ),
    "consent": (
        "consent",
        "consent_id",
        "collected_at",
        "select json_build_object('purpose', purpose, 'channel', channel, 'state', state, 'text_version', text_version)",
    ),
    "referral": (
        "referral_party",
        "referral_id",
        "referred_at",
        """select json_build_object('role', role, 'other_id', (select o.customer_id from referral_party o
                where o.referral_id = t.referral_id and o.role <> t.role),
            'state', (select r.state from referral r where r.referral_id = t.referral_id))""",
    ),
}
KINDS = tuple(_KINDS)
# After a merge both sides of a referral may be one customer: that is one entry.
_ONCE = """and (role = 'referrer' or not exists (select from referral_party o
    where o.referral_id = t.referral_id and o.role = 'referrer' and o.customer_id = t.customer_id))"""

# What is bought and brought back, as scoring counts it: a purchase counts if something of it is left.
_SUMMARY = text(
    """
    select count(*) filter (where net > 0) as purchase_count, min(occurred_at) filter (where net > 0) as first_at,
        max(occurred_at) filter (where net > 0) as last_at, coalesce(sum(net), 0)::bigint - (
            select coalesce(sum(accounting_amount_minor), 0)::bigint from purchase_return
            where customer_id = :customer_id and purchase_id is null
        ) as net_revenue_minor, (select currency from accounting) as currency
    from (
        select occurred_at, accounting_total_minor - accounting_returned_minor as net from purchase
        where customer_id = :customer_id
    ) p
    """
)
_INTEREST = text(
    """
    select max(occurred_at) as last_activity_at from (
        select occurred_at from activity where customer_id = :customer_id order by occurred_at desc, activity_id desc
        limit 1
    ) a
    """
)
_OPEN_STEPS = text(
    """
    select count(*) as open_next_steps, min(next_step_due_at) as next_step_due_at from interaction
    where customer_id = :customer_id and next_step_due_at is not null and next_step_done_at is null
    """
)


def page(
    session: Session,
    customer_id: UUID,
    kinds: Sequence[str],
    after: tuple[datetime, UUID] | None,
    limit: int,
) -> Sequence[Row[Any]]:
    """Rows of ``kind, id, occurred_at, data``, latest first, by ``(occurred_at, id)``; no ``kinds`` = all."""
    wanted = [kind for kind in KINDS if kind in kinds] or KINDS
    values: dict[str, Any] = {"customer_id": customer_id, "limit": limit}
    if after is not None:
        values["at"], values["id"] = after
    latest = " union all ".join(_latest(kind, after is not None) for kind in wanted)
    data = " ".join(
        f"when '{kind}' then ({_KINDS[kind][3]} from {_KINDS[kind][0]} t"
        f" where t.{_KINDS[kind][1]} = page.id and t.customer_id = :customer_id {_ONCE if kind == 'referral' else ''})"
        for kind in wanted
    )
    return session.execute(
        text(
            f"""
            with page as materialized (
                select kind, id, occurred_at from ({latest}) every
                order by occurred_at desc, id desc limit :limit
            )
            select page.*, case page.kind {data} end as data from page order by occurred_at desc, id desc
            """
        ),
        values,
    ).all()


def summary(session: Session, customer_id: UUID) -> dict[str, Any]:
    """What a customer bought in all, when it was last seen, and what is still to be done."""
    found: dict[str, Any] = {}
    for statement in (_SUMMARY, _INTEREST, _OPEN_STEPS):
        found |= dict(session.execute(statement, {"customer_id": customer_id}).one()._mapping)
    return found


def _latest(kind: str, has_cursor: bool) -> str:
    """The latest of one kind, from its index alone."""
    table, id_, time, _ = _KINDS[kind]
    beyond = f"and ({time}, {id_}) < (cast(:at as timestamptz), cast(:id as uuid))" if has_cursor else ""
    return (
        f"(select '{kind}' as kind, {id_} as id, {time} as occurred_at from {table} t"
        f" where customer_id = :customer_id {beyond} {_ONCE if kind == 'referral' else ''}"
        f" order by {time} desc, {id_} desc limit :limit)"
    )
