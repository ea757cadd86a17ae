"""The tier of each customer, as scoring last said: kept so that lists can be filtered by it."""

from collections.abc import Mapping
from uuid import UUID

from sqlalchemy.orm import Session

from shared.database import execute_hot

_FOLLOW = """
    with told as materialized (
        select * from unnest(%(ids)s::uuid[], %(tiers)s::text[]) as t (customer_id, tier)
    ), held as materialized (
        select c.customer_id, told.tier from customer c join told using (customer_id)
        where c.state <> 'erased' and c.tier is distinct from told.tier
        order by c.customer_id for no key update of c
    )
    update customer c set tier = held.tier from held where c.customer_id = held.customer_id
"""


def follow(session: Session, tiers: Mapping[UUID, str]) -> None:
    """Keep the tiers. It is not edited here, so it moves neither version nor the time of the last change."""
    execute_hot(session, _FOLLOW, {"ids": list(tiers), "tiers": list(tiers.values())})
