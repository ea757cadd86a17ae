"""What groups of customers buy, by month and by category: what grows, what shrinks, and where nobody buys yet."""

from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import text
from sqlalchemy.orm import Session

from services.scoring.domain.calibrations import current
from services.scoring.domain.facts import books
from services.scoring.domain.reports.facts import BOUGHT, COMPLETE, RETURNED
from services.scoring.domain.reports.filters import STAGE, Filter, ask, joined
from services.scoring.domain.reports.headers import moment, of_facts
from services.scoring.domain.reports.months import beginnings, label
from services.scoring.rules.names import SEGMENTS, STAGES
from services.scoring.rules.white_space import Uptake, white_space

# By what customers are grouped, as they are now; one with several tags is in the group of each.
GROUPS = {
    "tier": "t.tier",
    "segment": "s.segment",
    "value_class": "s.value_class",
    "stage": STAGE,
    "kind": "q.kind",
    "country": "q.country",
    "region": "q.region",
    "acquisition_channel": "q.acquisition_channel",
    "tag": "unnest(coalesce(nullif(q.tags, '{{}}'), array[null]))",
}
CATEGORY = "category"
MOST_GROUPS = 200
Words = Mapping[str, Mapping[str, Mapping[str, str]]]
MONTHS, DAYS = 12, 365

# Lines of purchases before :as_of that were not called off, and what came back of them; a category is the first step of the
# path that the catalogue says now, or that the purchase said.
_LINES = """
    select p.customer_id, p.purchase_id, p.occurred_at, l.amount_minor as net_minor, p.left_minor > 0 as counts,
           split_part(coalesce(a.category, l.category), '/', 1) as category
    from ({bought}) p join purchase_line l using (purchase_id) left join product a using (sku)
    where p.occurred_at >= :since and not exists (
        select from purchase_return r
        where r.purchase_id = p.purchase_id and r.cancellation and r.occurred_at < :as_of)"""
_LINES_BACK = """
    select r.customer_id, r.purchase_id, r.occurred_at, -l.amount_minor, false, split_part(a.category, '/', 1)
    from purchase_return r join ({members}) meant using (customer_id) join purchase_return_line l using (return_id)
    left join product a using (sku)
    where r.occurred_at < :as_of and r.occurred_at >= :since and not exists (
        select from purchase_return o
        where o.purchase_id = r.purchase_id and o.cancellation and o.occurred_at < :as_of)"""
_CATEGORY_FACTS = _LINES.format(bought=BOUGHT) + " union all " + _LINES_BACK
_FACTS = f"""
    select customer_id, purchase_id, occurred_at, amount_minor as net_minor, left_minor > 0 as counts
    from ({BOUGHT}) bought where occurred_at >= :since
    union all
    select customer_id, null, occurred_at, -amount_minor, false from ({RETURNED}) returned where occurred_at >= :since"""

_MONTHS = """
    select {columns}, width_bucket(occurred_at, cast(:months as timestamptz[])) as month,
           sum(net_minor)::bigint as net_revenue_minor, count(distinct purchase_id) filter (where counts) as purchases,
           count(distinct customer_id) filter (where counts) as customers
    from ({facts}) fact {grouped}
    group by {columns}, month
"""
# Of everybody who bought: how many, in each group, of each category, and of each category in each group.
_BUYERS = """
    with bought as materialized (
        select distinct customer_id, coalesce(category, '') as category from ({facts}) fact where counts),
    buyer as materialized (select distinct customer_id from bought),
    grouped as materialized (select * from ({grouped}) g join buyer using (customer_id))
    select null as value, null as category, count(*) as customers from buyer
    union all select value, null, count(*) from grouped where value is not null group by value
    union all select null, category, count(*) from bought where category <> '' group by category
    union all select value, category, count(*) from grouped join bought using (customer_id)
        where value is not null and category <> '' group by value, category
"""


def development(
    session: Session, asked: Filter, by: Sequence[str], as_of: datetime | None, months: int
) -> dict[str, Any]:
    """Net revenue, purchases and customers of each group, or pair of groups, in each of the last ``months`` months up to
    that of ``as_of``; ``growth`` is against the month before. The MOST_GROUPS with the highest net revenue are told."""
    as_of = moment(session, as_of)
    starts = beginnings(as_of, months + 1, books(session).time_zone)
    columns = [CATEGORY if each == CATEGORY else f"by_{each}" for each in by]
    groups = [each for each in by if each != CATEGORY]
    query = (
        _MONTHS.replace("{columns}", ", ".join(columns))
        .replace("{facts}", _CATEGORY_FACTS if CATEGORY in by else _FACTS)
        .replace("{grouped}", f"join ({_grouped(groups)}) grouped using (customer_id)" if groups else "")
    )
    rows = ask(session, query, asked, _since(session, as_of, starts[0]) | {"months": starts})
    found: dict[tuple[str | None, ...], dict[int, Any]] = {}
    for row in rows:
        found.setdefault(tuple(row[: len(by)]), {})[row.month] = row

    def total(cells: dict[int, Any]) -> int:
        return sum(cell.net_revenue_minor for month, cell in cells.items() if month > 1)

    words = _words(session)
    largest = sorted(found.items(), key=lambda item: (-total(item[1]), str(item[0])))
    return of_facts(session, as_of) | {
        "by": list(by),
        "groups": len(largest),
        "rows": [
            {
                "group": [_named(words, name, value) for name, value in zip(by, group, strict=True)],
                "net_revenue_minor": total(cells),
                "months": [
                    _month(start, cells.get(number), cells.get(number - 1))
                    for number, start in enumerate(starts[1:], 2)
                ],
            }
            for group, cells in largest[:MOST_GROUPS]
        ],
    }


def untouched(session: Session, asked: Filter, by: str, as_of: datetime | None, days: int) -> dict[str, Any]:
    """White space: groups of customers × categories where clearly fewer of the group's buyers of the last ``days`` days
    bought in the category than of all others', the most missing buyers first (rules/white_space.py)."""
    as_of = moment(session, as_of)
    given = _since(session, as_of, as_of - timedelta(days=days))
    query = _BUYERS.replace("{facts}", _CATEGORY_FACTS).replace(
        "{grouped}", _grouped([by]).replace(f"by_{by}", "value")
    )
    count = {(row.value, row.category): row.customers for row in ask(session, query, asked, given)}
    everybody = count[None, None]
    groups = sorted(
        value for value, category in count if value and not category and count[value, None] < everybody
    )
    categories = sorted(category for value, category in count if category and not value)
    compared = [
        (
            value,
            category,
            Uptake(
                customers=(size := count[value, None]),
                buyers=(buyers := count.get((value, category), 0)),
                others=everybody - size,
                other_buyers=count[None, category] - buyers,
            ),
        )
        for value in groups
        for category in categories
    ]
    found = [
        each
        for each, is_one in zip(compared, white_space([uptake for _, _, uptake in compared]), strict=True)
        if is_one
    ]
    words = _words(session)
    found.sort(key=lambda each: (-each[2].missing, each[0], each[1]))
    return of_facts(session, as_of) | {
        "by": by,
        "days": days,
        "compared": sum(uptake.countable for _, _, uptake in compared),
        "items": [
            {
                "group": _named(words, by, group),
                "category": category,
                "customers": uptake.customers,
                "buyers": uptake.buyers,
                "share": round(uptake.share, 6),
                "other_share": round(uptake.other_share, 6),
                "z": round(uptake.z, 4),
                "missing_buyers": round(uptake.missing),
            }
            for group, category, uptake in found[:MOST_GROUPS]
        ],
    }


def _grouped(by: Sequence[str]) -> str:
    expressions = [GROUPS[each] for each in by]
    columns = ", ".join(f"{each} as by_{name}" for name, each in zip(by, expressions, strict=True))
    return f"select c.customer_id, {columns} from {joined(expressions)}"


def _since(session: Session, as_of: datetime, since: datetime) -> dict[str, Any]:
    return {
        "as_of": as_of,
        "since": since,
        "complete": session.scalar(text(COMPLETE), {"as_of": as_of}),
    }


def _words(session: Session) -> Words:
    calibration = current(session)
    tiers = {each.code: each.names for each in calibration.policy.tiers} if calibration else {}
    return {"tier": tiers, "segment": SEGMENTS, "stage": STAGES}


def _named(words: Words, name: str, value: str | None) -> dict[str, Any]:
    return {"name": name, "value": value or None, "names": words.get(name, {}).get(value or "", {})}


def _month(start: datetime, cell: Any, before: Any) -> dict[str, Any]:
    net = cell.net_revenue_minor if cell else 0
    then = before.net_revenue_minor if before else 0
    return {
        "month": label(start),
        "net_revenue_minor": net,
        "purchases": cell.purchases if cell else 0,
        "customers": cell.customers if cell else 0,
        "growth": round(net / then - 1, 6) if then > 0 else None,
    }
