"""Facts that change what earlier ones mean: exchanges, and returns whose purchase was found.

A purchase that replaces what came back of another counts with it as one: its worth and its returns stand on the first
purchase of the chain, at that one's time, and by itself it counts for nothing. Both were recorded for one customer, and so
was the return between them: the three arrive in order.
"""

from collections.abc import Collection, Iterable, Sequence
from uuid import UUID

from sqlalchemy.orm import Session

from services.scoring.domain import facts

_LINK = """
    with original as (
        select coalesce(counts_with, purchase_id) as purchase_id, customer_id from purchase
        where purchase_id = cast(%(original)s as uuid)),
    moved as (
        update purchase r set counts_with = original.purchase_id, amount_minor = 0, returned_minor = 0
        from original, purchase was
        where r.purchase_id = cast(%(replacement)s as uuid) and was.purchase_id = r.purchase_id
            and r.counts_with is null and r.purchase_id <> original.purchase_id
            and r.customer_id = original.customer_id
        returning r.purchase_id, r.customer_id, original.purchase_id as original_id, was.amount_minor,
            was.returned_minor),
    followed as (
        update purchase p set counts_with = moved.original_id from moved where p.counts_with = moved.purchase_id),
    returned as (
        update purchase_return r set purchase_id = moved.original_id from moved
        where r.purchase_id = moved.purchase_id)
    update purchase p set amount_minor = p.amount_minor + moved.amount_minor,
        returned_minor = p.returned_minor + moved.returned_minor
    from moved where p.purchase_id = moved.original_id
    returning p.customer_id
"""


def link(session: Session, exchanges: Iterable[tuple[UUID, UUID]]) -> None:
    """Let each replacement count with its original, ``(original, replacement)``; their customers are locked."""
    connection = session.connection()
    changed: set[UUID] = set()
    for original, replacement in exchanges:
        pair = {"original": original, "replacement": replacement}
        changed.update(connection.exec_driver_sql(_LINK, pair).scalars())
    if changed:
        facts.derive(session, sorted(changed))


def match(session: Session, returns: Sequence[facts.Return], owners: Collection[UUID]) -> None:
    """Returns that had named no purchase now name one: what was counted of them before is counted no more."""
    session.connection().exec_driver_sql(
        "delete from purchase_return where return_id = any(cast(%(ids)s as uuid[])) and purchase_id is null",
        {"ids": [each.id for each in returns]},
    )
    facts.record_returns(session, returns)
    facts.derive(session, sorted(owners))
