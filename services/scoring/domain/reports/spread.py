"""How the customers are spread over bands, tiers and stages, and who they are."""

from collections.abc import Sequence
from datetime import datetime
from typing import Any
from uuid import UUID

from sqlalchemy import Row
from sqlalchemy.orm import Session

from services.scoring.domain.calibrations import current
from services.scoring.domain.reports.filters import NET, STAGE, Filter, ask
from services.scoring.domain.reports.headers import of_scores, share
from services.scoring.rules.names import SEGMENTS, STAGES

# The grid is R by the mean of F and M, as the table of segments.
_GRID = f"""
    select s.r, (s.f + s.m + 1) / 2 as fm, s.segment, count(*) as customers, sum({NET})::bigint as net_revenue_minor
    from ({{members}}) meant join score s using (customer_id) join metrics m using (customer_id)
    where s.r is not null
    group by 1, 2, 3 order by 1 desc, 2 desc
"""

_TIERS = f"""
    select t.tier, count(*) as customers, count(t.downgrade_due_at) as downgrades_due,
           coalesce(sum({NET}), 0)::bigint as net_revenue_minor
    from ({{members}}) meant left join tier t using (customer_id) left join metrics m using (customer_id)
    group by t.tier
"""

_STAGES = f"""
    select {STAGE} as stage, count(*) as customers, coalesce(sum({NET}), 0)::bigint as net_revenue_minor
    from ({{members}}) meant left join outlook o using (customer_id) left join metrics m using (customer_id)
    group by 1
"""

# A change from one stage to another leaves one and enters the other; that of a first calibration only tells where all are.
_MOVES = """
    select h.stage, h.previous_stage, count(*) as customers
    from stage_change h join ({members}) meant using (customer_id)
    where h.effective_at >= :from and h.effective_at < :until and not h.initial
    group by 1, 2
"""

_CUSTOMERS = f"""
    select c.customer_id, t.tier, s.segment, s.value_class, {STAGE} as stage, o.churn_band, o.trend, q.kind, q.country,
           q.region, q.acquisition_channel, coalesce(q.tags, '{{{{}}}}') as tags,
           coalesce({NET}, 0) as net_revenue_minor, coalesce(m.purchase_count, 0) as purchase_count, m.last_purchase_at
    from (
        {{members}} and c.customer_id > :after order by c.customer_id limit :size) c
    left join metrics m using (customer_id) left join score s using (customer_id) left join outlook o using (customer_id)
    left join tier t using (customer_id) left join trait q using (customer_id)
    order by c.customer_id
"""


def rfm_grid(session: Session, asked: Filter) -> dict[str, Any]:
    calibration = current(session)
    rows = ask(session, _GRID, asked) if calibration else []
    cells = {(row.r, row.fm): row for row in rows}
    total = sum(row.customers for row in rows)
    segments: dict[str, dict[str, Any]] = {}
    for row in rows:
        each = segments.setdefault(
            row.segment,
            {
                "segment": row.segment,
                "names": SEGMENTS.get(row.segment, {}),
                "customers": 0,
                "net_revenue_minor": 0,
            },
        )
        each["customers"] += row.customers
        each["net_revenue_minor"] += row.net_revenue_minor
        each["share"] = share(each["customers"], total)
    table = calibration.policy.segments if calibration else ()
    return of_scores(session, calibration) | {
        "customers": total,
        "cells": [
            {
                "r": r,
                "fm": fm,
                "segment": table[r - 1][fm - 1],
                "customers": cells[r, fm].customers if (r, fm) in cells else 0,
                "net_revenue_minor": cells[r, fm].net_revenue_minor if (r, fm) in cells else 0,
                "share": share(cells[r, fm].customers if (r, fm) in cells else 0, total),
            }
            for r in range(len(table), 0, -1)
            for fm in range(len(table[r - 1]), 0, -1)
        ],
        "segments": sorted(segments.values(), key=lambda each: (-each["customers"], each["segment"])),
    }


def tier_distribution(session: Session, asked: Filter) -> dict[str, Any]:
    """Every tier of the policy, the highest first, and how many customers have none."""
    calibration = current(session)
    rows = {row.tier: row for row in ask(session, _TIERS, asked)}
    total = sum(row.customers for tier, row in rows.items() if tier is not None)
    known = [(level.code, dict(level.names)) for level in calibration.policy.tiers] if calibration else []
    # A tier of an older policy that somebody still holds is shown as well.
    known = [(code, {}) for code in sorted(set(filter(None, rows)) - {code for code, _ in known})] + known
    return of_scores(session, calibration) | {
        "customers": total,
        "without_tier": rows[None].customers if None in rows else 0,
        "tiers": [
            {
                "tier": code,
                "names": names,
                "customers": rows[code].customers if code in rows else 0,
                "share": share(rows[code].customers if code in rows else 0, total),
                "net_revenue_minor": rows[code].net_revenue_minor if code in rows else 0,
                "downgrades_due": rows[code].downgrades_due if code in rows else 0,
            }
            for code, names in reversed(known)
        ],
    }


def lifecycle(session: Session, asked: Filter, since: datetime, until: datetime) -> dict[str, Any]:
    """Every stage as it is now, in the order of a life, and who entered and left it in ``[since, until)``; customers
    who bought and have not been placed yet stand apart."""
    rows = {row.stage: row for row in ask(session, _STAGES, asked)}
    moves = ask(session, _MOVES, asked, {"from": since, "until": until})
    total = sum(row.customers for stage, row in rows.items() if stage is not None)
    return of_scores(session, current(session)) | {
        "from": since,
        "until": until,
        "customers": total,
        "without_stage": rows[None].customers if None in rows else 0,
        "stages": [
            {
                "stage": stage,
                "names": names,
                "customers": rows[stage].customers if stage in rows else 0,
                "share": share(rows[stage].customers if stage in rows else 0, total),
                "net_revenue_minor": rows[stage].net_revenue_minor if stage in rows else 0,
                "entered": sum(row.customers for row in moves if row.stage == stage),
                "left": sum(row.customers for row in moves if row.previous_stage == stage),
            }
            for stage, names in STAGES.items()
        ],
    }


def customers(session: Session, asked: Filter, after: UUID | None, size: int) -> Sequence[Row[Any]]:
    """The next ``size`` customers meant, by id."""
    return ask(session, _CUSTOMERS, asked, {"after": after or UUID(int=0), "size": size})
