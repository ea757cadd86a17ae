"""Whom a member of staff is there for: the customers of the own portfolio, the team's, the store's."""

from uuid import UUID

from sqlalchemy import text
from sqlalchemy.orm import Session

from shared.auth.callers import Reach

_REACHES = text(
    """
    select coalesce(w.facets, c.facets) && cast(:facets as text[])
    from customer c left join customer w on w.customer_id = c.merged_into
    where c.customer_id = :id
    """
)


def facets_within(reach: Reach) -> tuple[str, ...]:
    """What a customer within reach has at least one of, among the facets that lists filter by."""
    return (
        *(f"staff_id={one}" for one in reach.staff_ids),
        *(f"team={one}" for one in reach.teams),
        *(f"store={one}" for one in reach.stores),
    )


def reaches(session: Session, customer_id: UUID, reach: Reach) -> bool:
    """Whether this customer is within reach; of a merged one, whether its winner is. Nobody is nobody's."""
    return bool(session.scalar(_REACHES, {"id": customer_id, "facets": list(facets_within(reach))}))
