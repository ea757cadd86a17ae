"""The quality report of a purchases import: what in the file deserves a look, from the names that it uses."""

import re
from typing import Any
from uuid import UUID

from sqlalchemy import text
from sqlalchemy.orm import Session

from services.profile.domain.staging import CODES, QUANTITIES
from services.profile.rules.mapping import Mapping
from services.profile.rules.mapping_quality import largest_usual_quantity, unusual_shapes

_EXAMPLES = 10

_SEVERAL_COUNTRIES = f"""
    select count(*) as customers, (array_agg(customer order by customer))[1:{_EXAMPLES}] as examples from (
        select customer from import_customer where job_id = :job_id and country <> ''
        group by customer having count(*) > 1
    ) as several
"""
_SKUS = f"select value as sku, row_count as rows from import_count where job_id = :job_id and what = {CODES}"
_CASE_ONLY = f"""
    with codes as materialized ({_SKUS}), folded as (
        select count(*) as written, array_agg(sku order by sku) as skus from codes group by lower(sku)
    )
    select coalesce(sum(written), 0)::bigint as skus, count(*) as folded, count(*) filter (where written > 1) as groups,
        (select jsonb_agg(skus order by skus) from (
            select skus from folded where written > 1 order by skus limit {_EXAMPLES}) as e) as examples
    from folded
"""
_SHAPES = f"""
    select regexp_replace(regexp_replace(sku, '[0-9]+', '9', 'g'), '[[:alpha:]]+', 'A', 'g') as shape, count(*) as codes
    from ({_SKUS}) as codes group by 1
"""
_OF_SHAPES = f"""
    select sku, rows from ({_SKUS}) as codes
    where regexp_replace(regexp_replace(sku, '[0-9]+', '9', 'g'), '[[:alpha:]]+', 'A', 'g') = any(:shapes)
    order by rows desc, sku limit 100
"""
# The quantity at which a quarter and three quarters of the lines are reached.
_QUARTILES = f"""
    with counted as (
        select value::bigint as quantity, sum(row_count) over (order by value::bigint) as upto,
            sum(row_count) over () as lines
        from import_count where job_id = :job_id and what = {QUANTITIES}
    )
    select min(quantity) filter (where upto >= 0.25 * lines) as lower,
        min(quantity) filter (where upto >= 0.75 * lines) as upper
    from counted
"""


def largest_usual(session: Session, job_id: UUID) -> int | None:
    """The quantity above which a line of the file is unusual; None without any purchase."""
    row = _one(session, _QUARTILES, job_id)
    return None if row.upper is None else largest_usual_quantity(row.lower, row.upper)


def assess(session: Session, job_id: UUID, mapping: Mapping) -> dict[str, Any]:
    """The findings that need the names of the whole file at once; what single rows and orders show is counted on the
    way."""
    found: dict[str, Any] = {}
    row = _one(session, _SEVERAL_COUNTRIES, job_id)
    found["customers_with_several_countries"] = {"customers": row.customers, "examples": row.examples or []}
    row = _one(session, _CASE_ONLY, job_id)
    found["skus_that_differ_in_case_only"] = {
        "skus": row.skus,
        "skus_without_case": row.folded,
        "groups": row.groups,
        "examples": row.examples or [],
    }
    found["codes_unlike_products"] = _codes_unlike_products(session, job_id, mapping)
    return found


def _codes_unlike_products(session: Session, job_id: UUID, mapping: Mapping) -> dict[str, Any]:
    """By the mapping's pattern, else by what most codes of the file look like."""
    if mapping.product_pattern is not None:
        pattern = re.compile(mapping.product_pattern)
        rows = session.execute(text(f"{_SKUS} order by rows desc, sku"), {"job_id": job_id})
        unlike = {row.sku: row.rows for row in rows if not pattern.fullmatch(row.sku)}
    else:
        shapes = {row.shape: row.codes for row in session.execute(text(_SHAPES), {"job_id": job_id})}
        rows = session.execute(text(_OF_SHAPES), {"job_id": job_id, "shapes": sorted(unusual_shapes(shapes))})
        unlike = {row.sku: row.rows for row in rows}
    return {
        "codes": len(unlike),
        "rows": sum(unlike.values()),
        "rows_by_code": dict(list(unlike.items())[:100]),
    }


def _one(session: Session, statement: str, job_id: UUID) -> Any:
    return session.execute(text(statement), {"job_id": job_id}).one()
