"""Who was in which tier at two moments."""

from datetime import datetime
from typing import Any

from sqlalchemy.orm import Session

from services.scoring.domain.calibrations import current
from services.scoring.domain.facts import books
from services.scoring.domain.reports.filters import Filter, ask, codes
from services.scoring.domain.reports.headers import share

# Everybody's last change before each moment, in one pass: the change's number and that of its tier in :tiers as one
# integer, of which the largest is the latest.
_MATRIX = """
    with held as (
        select h.customer_id,
               max(h.tier_change_id * 1000 + array_position(cast(:tiers as text[]), h.tier))
                   filter (where h.effective_at < :from) % 1000 as before,
               max(h.tier_change_id * 1000 + array_position(cast(:tiers as text[]), h.tier)) % 1000 as after
        from tier_change h join ({members}) meant using (customer_id)
        where h.effective_at < :until
        group by h.customer_id)
    select before, after, count(*) as customers from held group by 1, 2
"""


def tier_migration(session: Session, asked: Filter, since: datetime, until: datetime) -> dict[str, Any]:
    """How many customers were in which tier at ``since`` and in which at ``until``; a tier of None is having none yet.
    Rows and columns are the tiers of the policy, the highest first, then those that only an older one knew."""
    calibration = current(session)
    names = (
        {each.code: dict(each.names) for each in reversed(calibration.policy.tiers)} if calibration else {}
    )
    known = [*names, *sorted(codes(session, "tier") - names.keys())]
    rows = ask(session, _MATRIX, asked, {"tiers": known, "from": since, "until": until})
    count = {(_tier(known, row.before), _tier(known, row.after)): row.customers for row in rows}
    tiers = [each for each in known if each in names or any(each in pair for pair in count)]
    position = {tier: i for i, tier in enumerate(tiers)}

    def moved(better: bool) -> int:
        return sum(
            customers
            for (before, after), customers in count.items()
            if before is not None and after is not None and before != after
            and (position[after] < position[before]) == better
        )  # fmt: skip

    return {
        "from": since,
        "until": until,
        "time_zone": books(session).time_zone,
        "customers": sum(count.values()),
        "raised": moved(True),
        "lowered": moved(False),
        "rows": [
            {
                "tier": before,
                "names": names.get(before or "", {}),
                "customers": (total := sum(count.get((before, after), 0) for after in tiers)),
                "cells": [
                    {
                        "tier": after,
                        "customers": count.get((before, after), 0),
                        "share": share(count.get((before, after), 0), total),
                    }
                    for after in tiers
                ],
            }
            for before in (*tiers, None)
        ],
    }


def _tier(tiers: list[str], number: int | None) -> str | None:
    return None if number is None else tiers[number - 1]
