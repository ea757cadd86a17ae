"""Whom nobody may bring back unnoticed: erased people, by the blind tokens of their names.

A name in an outside system can only mean the erased person, so whatever is told under it is refused (410) until the
person has come back by own will. An address or a number may be somebody else's by now: whoever brings it becomes a
customer and stands in the list of those to look at, and nobody writes to the address before somebody did.
"""

from collections.abc import Iterable, Sequence
from datetime import datetime
from typing import Any
from uuid import UUID

from sqlalchemy import Row, text
from sqlalchemy.orm import Session

from shared import audit
from shared.blind_indexes import blind, blind_many

ExternalName = tuple[str, str]

EXTERNAL_NAME = "external_name"

_FIND = text("select token, customer_id from forgotten_name where token = any(:tokens) and lifted_at is null")
_LIFT = text(
    """
    update forgotten_name set lifted_at = :now, lifted_by = :by
    where token = any(:tokens) and lifted_at is null returning customer_id, field
    """
)
_LIFT_SUPPRESSIONS = text(
    """
    update suppression set lifted_at = :now, lifted_by = :by, lifted_because = 'returned'
    where address_token = any(:tokens) and reason = 'erasure' and lifted_at is null
    """
)
_RETURNED = text(
    """
    select c.customer_id, replace(f.field, 'identity:', '') as field, f.token, f.customer_id as erased_id, f.forgotten_at, c.created_at
    from forgotten_name f join (
        select token, customer_id from customer_token union select token, customer_id from customer_identity
    ) t using (token) join customer c on c.customer_id = t.customer_id
    where f.lifted_at is null and c.state <> 'erased' and (c.customer_id, f.token) > (:customer_id, :token)
    order by c.customer_id, f.token limit :limit
    """
)


def find(session: Session, names: Sequence[ExternalName]) -> dict[ExternalName, UUID]:
    """The erased customers, by those of ``names`` under which they were known."""
    if not names:
        return {}
    tokens = dict(zip(external_name_tokens(session, names), names, strict=True))
    rows = session.execute(_FIND, {"tokens": list(tokens)})
    return {tokens[bytes(row.token)]: row.customer_id for row in rows}


def external_name_tokens(session: Session, names: Iterable[ExternalName]) -> list[bytes]:
    return blind_many(session, EXTERNAL_NAME, (f"{source}\n{name}" for source, name in names))


def address_tokens(session: Session, field: str, value: str) -> list[tuple[str, bytes]]:
    """Of an ``email`` or ``phone`` in its normal form, field and token: as a customer's own and as an identity."""
    return [(name, blind(session, name, value)) for name in (field, f"identity:{field}")]


def lift(session: Session, tokens: Sequence[bytes], by: str, now: datetime) -> int:
    """The person came back by own will: what is told under these names is welcome again. Returns how many there were."""
    lifted = session.execute(_LIFT, {"tokens": list(tokens), "now": now, "by": by}).all()
    session.execute(_LIFT_SUPPRESSIONS, {"tokens": list(tokens), "now": now, "by": by})
    for customer_id in sorted({row.customer_id for row in lifted}):
        audit.record(session, "erased_person_welcomed_back", by=by, subject=str(customer_id))
    return len({(row.customer_id, row.field.removeprefix("identity:")) for row in lifted})


def returned(session: Session, after: tuple[UUID, bytes] | None, limit: int) -> Sequence[Row[Any]]:
    """Customers who have the address or number of somebody erased, by ``(customer_id, token)``."""
    customer_id, token = after or (UUID(int=0), b"")
    return session.execute(_RETURNED, {"customer_id": customer_id, "token": token, "limit": limit}).all()
