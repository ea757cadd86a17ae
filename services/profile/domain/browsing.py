"""Who looked and did not buy."""

from collections.abc import Sequence
from datetime import datetime
from typing import Any
from uuid import UUID

from sqlalchemy import Row, text
from sqlalchemy.orm import Session

# Walks along the index of views in its order and stops with the page. A purchase of the product from the beginning of
# the period on ends the story, whether or not it came back.
_BROWSED = """
    select v.sku, v.customer_id, v.views, v.last_viewed_at
    from (
        select sku, customer_id, count(*) as views, max(occurred_at) as last_viewed_at from activity
        where type = 'product_view' and customer_id is not null and sku is not null
            and occurred_at >= :since and occurred_at < :before {which}
        group by sku, customer_id having count(*) >= :views
        order by sku, customer_id
    ) v
    where not exists (
        select from purchase p join purchase_line l using (purchase_id)
        where p.customer_id = v.customer_id and p.occurred_at >= :since and l.sku = v.sku offset 0
    )
    order by v.sku, v.customer_id
    limit :limit
    """


def not_bought(
    session: Session,
    *,
    skus: Sequence[str],
    views: int,
    since: datetime,
    before: datetime,
    after: tuple[str, UUID] | None,
    limit: int,
) -> Sequence[Row[Any]]:
    """Known customers who viewed a product at least ``views`` times in ``[since, before)`` and have not bought it since
    ``since``, by ``(sku, customer_id)``."""
    which = ""
    values: dict[str, Any] = {"since": since, "before": before, "views": views, "limit": limit}
    if skus:
        which += " and sku = any(cast(:skus as text[]))"
        values["skus"] = list(skus)
    if after is not None:
        which += " and (sku, customer_id) > (:sku, cast(:customer_id as uuid))"
        values["sku"], values["customer_id"] = after
    return session.execute(text(_BROWSED.format(which=which)), values).all()
