"""Whom the programme knows: everybody of whom an event was heard. A merged customer answers as its winner."""

from uuid import UUID

from sqlalchemy.orm import Session

from services.campaigns.tables import customer
from shared.customers import lock_owners, owner_of
from shared.errors import Gone


def known(session: Session, customer_id: UUID) -> UUID:
    """Who answers for this customer. Raises NotFound ``customer_not_found``, Gone ``customer_erased``."""
    return owner_of(session, customer, customer_id)


def lock(session: Session, customer_id: UUID) -> UUID:
    """The same, locked until the transaction ends, as every reaction does before it books."""
    known(session, customer_id)
    owner = lock_owners(session, customer, [customer_id]).active.get(customer_id)
    if owner is None:  # erased a moment ago
        raise Gone("customer_erased", f"customer {customer_id} was erased")
    return owner
