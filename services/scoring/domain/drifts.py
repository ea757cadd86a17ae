"""How far the customers have moved since the calibration in force."""

from itertools import pairwise
from typing import Any
from uuid import UUID

from sqlalchemy import text
from sqlalchemy.orm import Session

from services.scoring.rules.drift import drift, stability_index

# The old distribution in ten equal parts, as far as equal customers allow, and how many of either base are below each cut.
_PARTS = text("""
    with old as (select calibration_id, counted from calibration where state = 'current'),
    new as (select calibration_id, counted from calibration where calibration_id = :id),
    cut as (
        select distinct d.measure, d.value, d.worse_count::float / old.counted as before
        from old cross join generate_series(1, 9) part cross join unnest(array['r', 'f', 'm', 's']) measure (name)
        cross join lateral (
            select * from distribution d where d.calibration_id = old.calibration_id and d.measure = measure.name
                and d.worse_count >= part * old.counted / 10.0
            order by d.value limit 1) d
        where old.counted > 0)
    select cut.measure, cut.before, coalesce((
               select d.worse_count from distribution d
               where d.calibration_id = new.calibration_id and d.measure = cut.measure and d.value >= cut.value
               order by d.value limit 1), new.counted)::float / new.counted as now
    from cut cross join new where new.counted > 0 order by cut.measure, cut.value
""")


def moved_since_the_last(session: Session, calibration_id: UUID) -> dict[str, dict[str, Any]]:
    """By measure (r, f, m, s): how far the customers counted now differ from those of the calibration in force; empty where
    there is none, or nobody in it differed from anybody."""
    rows = session.execute(_PARTS, {"id": calibration_id}).all()
    cuts = {measure: [(0.0, 0.0)] for measure in "rfms"} if rows else {}
    for row in rows:
        cuts[row.measure].append((row.before, row.now))
    moved = {}
    for measure, below in cuts.items():
        shares = [
            tuple(upper - lower for lower, upper in zip(*pair, strict=True))
            for pair in pairwise([*below, (1.0, 1.0)])
        ]
        index = round(stability_index([each[0] for each in shares], [each[1] for each in shares]), 4)
        moved[measure] = {"index": index, "drift": drift(index)}
    return moved
