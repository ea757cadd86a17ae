"""The quality report of an import: what in the file deserves a look, from the staged rows."""

import re
from typing import Any
from uuid import UUID

from sqlalchemy import text
from sqlalchemy.orm import Session

from services.profile.rules.mapping import Mapping
from services.profile.rules.mapping_quality import largest_usual_quantity, unusual_shapes
from services.profile.rules.mapping_rows import PURCHASE, RETURN, SKIPPED
from shared import money

_EXAMPLES = 10

_OCCURRED = f"""
    select min(occurred_at) as first_at, max(occurred_at) as last_at from import_row
    where job_id = :job_id and kind <= {RETURN}
"""
_REPEATS = f"""
    with repeated as materialized (
        select count(*) - 1 as more, kind, (array_agg(line order by line))[1:2] as lines
        from import_row
        where job_id = :job_id
        group by kind, order_number, customer, sku, quantity, unit_price, occurred_at, description, category, country,
            currency, exchange_rate, discount, channel, store
        having count(*) > 1
    )
    select coalesce(sum(more), 0)::bigint as rows, coalesce(sum(more) filter (where kind < {SKIPPED}), 0)::bigint as kept,
        (select jsonb_agg(lines order by lines) from (select lines from repeated order by lines limit {_EXAMPLES}) as e)
            as examples
    from repeated
"""
_SEVERAL_COUNTRIES = f"""
    select count(*) as customers, (array_agg(customer order by customer))[1:{_EXAMPLES}] as examples
    from import_customer where job_id = :job_id and country_count > 1
"""
_SKUS = """
    select sku, count(*) as rows from import_row where job_id = :job_id group by sku
"""
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
_QUARTILES = f"""
    select percentile_disc(0.25) within group (order by quantity), percentile_disc(0.75) within group (order by quantity)
    from import_row where job_id = :job_id and kind = {PURCHASE}
"""
# An order of an unusual quantity, and the return by the same customer of as many of the same thing within a week.
_OUTLIERS = f"""
    select count(*) over () as rows, o.line, o.order_number, o.sku, o.quantity, o.kind, (
        select min(r.order_number) from import_row r
        where o.kind = {PURCHASE} and r.job_id = o.job_id and r.kind = {RETURN} and r.customer = o.customer
            and r.sku = o.sku and r.quantity = o.quantity
            and r.occurred_at between o.occurred_at and o.occurred_at + interval '7 days'
    ) as returned_by
    from import_row o
    where job_id = :job_id and abs(quantity) > :fence
    order by abs(quantity) desc, o.line limit {_EXAMPLES}
"""
_FINE_PRICES = """
    select currency, scale(trim_scale(unit_price)) as digits, count(*) as rows, min(line) as first_line
    from import_row where job_id = :job_id group by 1, 2
"""
_SEVERAL_TIMES = f"""
    select count(*) from (
        select from import_row where job_id = :job_id and kind <= {RETURN}
        group by kind, order_number having min(occurred_at) < max(occurred_at)
    ) as orders
"""


def assess(session: Session, job_id: UUID, mapping: Mapping) -> dict[str, Any]:
    """The findings that need the whole file at once; what a single row shows is counted while reading."""
    session.execute(text("set local work_mem = '64MB'"))
    found: dict[str, Any] = {}
    row = _one(session, _REPEATS, job_id)
    found["possible_repeats"] = {"rows": row.rows, "kept": row.kept, "examples": row.examples or []}
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
    found["unusual_quantities"] = _unusual_quantities(session, job_id)
    found["prices_finer_than_the_currency"] = _fine_prices(session, job_id)
    found["orders_with_several_times"] = {
        "orders": session.execute(text(_SEVERAL_TIMES), {"job_id": job_id}).scalar_one()
    }
    return found


def occurred(session: Session, job_id: UUID) -> dict[str, str | None]:
    """When the first and the last line of a purchase or return of the file occurred."""
    row = _one(session, _OCCURRED, job_id)
    return {
        name: moment.isoformat().replace("+00:00", "Z") if moment else None
        for name, moment in (("first_occurred_at", row.first_at), ("last_occurred_at", row.last_at))
    }


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


def _unusual_quantities(session: Session, job_id: UUID) -> dict[str, Any]:
    lower, upper = session.execute(text(_QUARTILES), {"job_id": job_id}).one()
    if upper is None:
        return {"rows": 0, "above": None, "examples": []}
    fence = largest_usual_quantity(lower, upper)
    rows = session.execute(text(_OUTLIERS), {"job_id": job_id, "fence": fence}).all()
    kinds = {PURCHASE: "purchase", RETURN: "return", SKIPPED: "skipped"}
    examples = [
        {
            "line": row.line,
            "order": row.order_number,
            "kind": kinds[row.kind],
            "sku": row.sku,
            "quantity": row.quantity,
            "returned_by": row.returned_by,
        }
        for row in rows
    ]
    return {"rows": rows[0].rows if rows else 0, "above": fence, "examples": examples}


def _fine_prices(session: Session, job_id: UUID) -> dict[str, Any]:
    rows = session.execute(text(_FINE_PRICES), {"job_id": job_id}).all()
    fine = [row for row in rows if row.digits > money.EXPONENTS.get(row.currency, 2)]
    return {
        "rows": sum(row.rows for row in fine),
        "examples": sorted(row.first_line for row in fine)[:_EXAMPLES],
    }


def _one(session: Session, statement: str, job_id: UUID) -> Any:
    return session.execute(text(statement), {"job_id": job_id}).one()
