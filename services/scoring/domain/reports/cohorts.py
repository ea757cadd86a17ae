"""Whether those come back who first bought in the same month. A cohort is the month of the first occasion: of the first
calendar day with a purchase that counts."""

from datetime import date, datetime, timedelta
from typing import Any
from zoneinfo import ZoneInfo

from sqlalchemy import text
from sqlalchemy.orm import Session

from services.scoring.domain.facts import books
from services.scoring.domain.reports.facts import BOUGHT, COMPLETE, RETURNED
from services.scoring.domain.reports.filters import Filter, ask
from services.scoring.domain.reports.headers import moment, of_facts, share
from services.scoring.domain.reports.months import beginnings, label

WITHIN = (30, 60, 90, 180, 365)
MONTHS = 24

# Months are numbers: the position in :months, 0 before the first of them. What lies before the first occasion (bought and
# taken back, or taken back without a purchase) is of the cohort's first month, so that all months add up to its net revenue.
_RETENTION = f"""
    with monthly as materialized (
        select customer_id, month, sum(net_minor) as net_minor, bool_or(counts) as active
        from (
            select customer_id, width_bucket(occurred_at, cast(:months as timestamptz[])) as month,
                   amount_minor as net_minor, left_minor > 0 as counts
            from ({BOUGHT}) bought
            union all
            select customer_id, width_bucket(occurred_at, cast(:months as timestamptz[])), -amount_minor, false
            from ({RETURNED}) returned) fact
        group by customer_id, month),
    opened as (select customer_id, min(month) as cohort from monthly where active group by customer_id)
    select cohort, greatest(month - cohort, 0) as after, count(*) filter (where active) as active,
           sum(net_minor)::bigint as net_revenue_minor
    from monthly join opened using (customer_id)
    where cohort > 0
    group by 1, 2
"""

# The second occasion is the first purchase that counts after the day of the first.
_REPURCHASE = f"""
    with bought as materialized (
        select customer_id, occurred_at from ({BOUGHT}) bought where left_minor > 0),
    opened as (
        select customer_id, (date_trunc('day', min(occurred_at) at time zone :zone) + interval '1 day')
                   at time zone :zone as next_day
        from bought group by customer_id),
    again as (
        select customer_id, min(occurred_at) as second_at
        from opened join bought using (customer_id) where occurred_at >= next_day group by customer_id),
    gap as (
        select width_bucket(next_day - interval '1 microsecond', cast(:months as timestamptz[])) as cohort,
               1 + (second_at at time zone :zone)::date - (next_day at time zone :zone)::date as days
        from opened left join again using (customer_id))
    select cohort, count(*) as customers, {{within}} from gap where cohort > 0 group by cohort
"""
_WITHIN = ", ".join(f"count(*) filter (where days <= {days}) as within_{days}" for days in WITHIN)


def retention(session: Session, asked: Filter, as_of: datetime | None, months: int) -> dict[str, Any]:
    """The cohorts of the last ``months`` months up to that of ``as_of``, each followed from its own month (0) on."""
    as_of = moment(session, as_of)
    starts = beginnings(as_of, months, books(session).time_zone)
    rows = ask(session, _RETENTION, asked, _parameters(session, as_of, starts))
    cells = {(row.cohort, row.after): row for row in rows}
    cohorts = []
    for number, start in enumerate(starts, 1):
        customers = cells[number, 0].active if (number, 0) in cells else 0
        cohorts.append(
            {
                "cohort": label(start),
                "customers": customers,
                "months": [
                    {
                        "month": after,
                        "customers": (active := cell.active if (cell := cells.get((number, after))) else 0),
                        "share": share(active, customers),
                        "net_revenue_minor": cell.net_revenue_minor if cell else 0,
                    }
                    for after in range(months - number + 1 if customers else 0)
                ],
            }
        )
    return of_facts(session, as_of) | {
        "customers": sum(cell.active for (_, after), cell in cells.items() if after == 0),
        "cohorts": cohorts,
    }


def repurchase(session: Session, asked: Filter, as_of: datetime | None, months: int) -> dict[str, Any]:
    """The share of first-time buyers who bought again within so many days, by cohort and of all cohorts together; a
    cohort speaks of so many days once all of its customers have had them by ``as_of``."""
    as_of = moment(session, as_of)
    zone = books(session).time_zone
    starts = beginnings(as_of, months, zone)
    rows = {
        row.cohort: row
        for row in ask(
            session,
            _REPURCHASE.replace("{within}", _WITHIN),
            asked,
            _parameters(session, as_of, starts) | {"zone": zone},
        )
    }
    today = as_of.astimezone(ZoneInfo(zone)).date()
    ends = [start.date() for start in starts[1:]] + [date.max]
    cohorts = []
    totals = {days: [0, 0] for days in WITHIN}
    for number, (start, end) in enumerate(zip(starts, ends, strict=True), 1):
        row = rows.get(number)
        windows = []
        for days in WITHIN:
            old_enough = end <= today - timedelta(days=days)
            again = getattr(row, f"within_{days}") if row else 0
            if row and old_enough:
                totals[days][0] += row.customers
                totals[days][1] += again
            windows.append(
                {
                    "days": days,
                    "customers": again if row and old_enough else None,
                    "share": share(again, row.customers) if row and old_enough else None,
                }
            )
        cohorts.append({"cohort": label(start), "customers": row.customers if row else 0, "within": windows})
    return of_facts(session, as_of) | {
        "within": [
            {
                "days": days,
                "first_time_buyers": of,
                "customers": again,
                "share": share(again, of) if of else None,
            }
            for days, (of, again) in totals.items()
        ],
        "cohorts": cohorts,
    }


def _parameters(session: Session, as_of: datetime, starts: list[datetime]) -> dict[str, Any]:
    return {
        "as_of": as_of,
        "complete": session.scalar(text(COMPLETE), {"as_of": as_of}),
        "months": starts,
    }
