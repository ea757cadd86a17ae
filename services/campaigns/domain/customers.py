"""Whom the programme knows: everybody of whom an event was heard."""

from typing import Any
from uuid import UUID

from sqlalchemy import select
from sqlalchemy.orm import Session

from services.campaigns.tables import customer
from shared.errors import Conflict, Gone, NotFound


def known(session: Session, customer_id: UUID) -> Any:
    """The customer's row. Raises NotFound ``customer_not_found``, Gone ``customer_erased``."""
    return _found(session, customer_id, lock=False)


def lock(session: Session, customer_id: UUID) -> None:
    """Lock the customer until the transaction ends, as every reaction does before it books.

    Raises as ``known``, and Conflict ``customer_merged`` for the loser of a merge, whose points are the winner's.
    """
    row = _found(session, customer_id, lock=True)
    if row.state == "merged":
        raise Conflict("customer_merged", f"customer {customer_id} was merged into {row.merged_into}")


def _found(session: Session, customer_id: UUID, *, lock: bool) -> Any:
    query = select(customer).where(customer.c.customer_id == customer_id)
    if lock:
        query = query.with_for_update(key_share=True)
    row = session.execute(query).one_or_none()
    if row is None:
        raise NotFound("customer_not_found", f"no customer {customer_id} is known here")
    if row.state == "erased":
        raise Gone("customer_erased", f"customer {customer_id} was erased")
    return row
