"""How long it takes until those who become known buy."""

from typing import Any

from sqlalchemy.orm import Session

from services.scoring.domain.reports.filters import Filter, ask

# The line of all channels together is grouped by none.
_FIRST = """
    with known as (
        select q.acquisition_channel, m.first_purchase_at,
               extract(epoch from m.first_purchase_at - q.registered_at)::double precision / 86400 as days
        from ({members}) meant join trait q using (customer_id) left join metrics m using (customer_id))
    select grouping(acquisition_channel) = 1 as all_channels, acquisition_channel, count(*) as customers,
           count(*) filter (where days >= 0) as bought, count(*) filter (where days < 0) as bought_before,
           percentile_cont(array[0.25, 0.5, 0.75]) within group (order by days) filter (where days >= 0) as quartiles
    from known group by grouping sets ((acquisition_channel), ())
    order by 1 desc, customers desc, acquisition_channel
"""


def first_purchases(session: Session, asked: Filter) -> dict[str, Any]:
    """Days from when a customer became known to the first purchase that counts, of all and by acquisition channel. Who
    had bought before says nothing about it, nor does who has not bought yet; both are counted."""
    rows = [
        {
            "acquisition_channel": row.acquisition_channel,
            "customers": row.customers,
            "bought": row.bought,
            "bought_before": row.bought_before,
            "not_yet": row.customers - row.bought - row.bought_before,
            **dict(
                zip(
                    ("lower_quartile_days", "median_days", "upper_quartile_days"),
                    [round(each, 4) for each in row.quartiles] if row.bought else [None] * 3,
                    strict=True,
                )
            ),
        }
        for row in ask(session, _FIRST, asked)
    ]
    return {"all": rows[0], "channels": rows[1:]}
