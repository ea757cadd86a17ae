"""How the customers are spread over segments and tiers."""

from typing import Any

from sqlalchemy import text
from sqlalchemy.orm import Session

from services.scoring.domain.calibrations import Calibration, current

# The grid is R by the mean of F and M, as the table of segments.
_GRID = text("""
    select s.r, (s.f + s.m + 1) / 2 as fm, s.segment, count(*) as customers,
           sum(m.gross_minor - m.returned_minor - m.cancelled_minor)::bigint as net_revenue_minor
    from score s join metrics m using (customer_id) join customer c using (customer_id)
    where c.state = 'active' and s.r is not null
    group by 1, 2, 3 order by 1 desc, 2 desc
""")

_TIERS = text("""
    select t.tier, count(*) as customers, count(t.downgrade_due_at) as downgrades_due,
           coalesce(sum(m.gross_minor - m.returned_minor - m.cancelled_minor), 0)::bigint as net_revenue_minor
    from customer c left join tier t using (customer_id) left join metrics m using (customer_id)
    where c.state = 'active'
    group by t.tier
""")


def rfm_grid(session: Session) -> dict[str, Any]:
    calibration = current(session)
    rows = session.execute(_GRID).all() if calibration else []
    cells = {(row.r, row.fm): row for row in rows}
    total = sum(row.customers for row in rows)
    segments: dict[str, dict[str, Any]] = {}
    for row in rows:
        each = segments.setdefault(
            row.segment, {"segment": row.segment, "customers": 0, "net_revenue_minor": 0, "share": 0.0}
        )
        each["customers"] += row.customers
        each["net_revenue_minor"] += row.net_revenue_minor
        each["share"] = _share(each["customers"], total)
    table = calibration.policy.segments if calibration else ()
    return _header(session, calibration) | {
        "customers": total,
        "cells": [
            {
                "r": r,
                "fm": fm,
                "segment": table[r - 1][fm - 1],
                "customers": cells[r, fm].customers if (r, fm) in cells else 0,
                "net_revenue_minor": cells[r, fm].net_revenue_minor if (r, fm) in cells else 0,
                "share": _share(cells[r, fm].customers if (r, fm) in cells else 0, total),
            }
            for r in range(len(table), 0, -1)
            for fm in range(len(table[r - 1]), 0, -1)
        ],
        "segments": sorted(segments.values(), key=lambda each: (-each["customers"], each["segment"])),
    }


def tier_distribution(session: Session) -> dict[str, Any]:
    """Every tier of the policy, the highest first, and how many customers have none."""
    calibration = current(session)
    rows = {row.tier: row for row in session.execute(_TIERS)}
    total = sum(row.customers for tier, row in rows.items() if tier is not None)
    known = [(level.code, dict(level.names)) for level in calibration.policy.tiers] if calibration else []
    # A tier of an older policy that somebody still holds is shown as well.
    known = [(code, {}) for code in sorted(set(filter(None, rows)) - {code for code, _ in known})] + known
    return _header(session, calibration) | {
        "customers": total,
        "without_tier": rows[None].customers if None in rows else 0,
        "tiers": [
            {
                "tier": code,
                "names": names,
                "customers": rows[code].customers if code in rows else 0,
                "share": _share(rows[code].customers if code in rows else 0, total),
                "net_revenue_minor": rows[code].net_revenue_minor if code in rows else 0,
                "downgrades_due": rows[code].downgrades_due if code in rows else 0,
            }
            for code, names in reversed(known)
        ],
    }


def _header(session: Session, calibration: Calibration | None) -> dict[str, Any]:
    currency = session.info["settings"].currency
    return {
        "as_of": calibration.as_of if calibration else None,
        "calibration_id": calibration.id if calibration else None,
        "basis": calibration.basis if calibration else None,
        "currency": currency or session.scalar(text("select currency from accounting")),
    }


def _share(part: int, whole: int) -> float:
    return round(part / whole, 6) if whole else 0.0
