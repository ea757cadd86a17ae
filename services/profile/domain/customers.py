"""Customers: who they are, by which names they are known, and one lock for each."""

from collections.abc import Iterable, Mapping
from datetime import datetime, timedelta
from typing import Any, NamedTuple
from uuid import UUID

from sqlalchemy import Row, TextClause, text
from sqlalchemy.orm import Session

from services.profile.domain import forgotten
from services.profile.rules.facts import CustomerRef
from shared.errors import Fault, Gone, Invalid, NotFound

ExternalName = tuple[str, str]


# By id or by the name of an outside system, in one statement. A merge keeps `merged_into` at the root, and the root of
# a merged customer is active: erasure takes the whole tree.
_RESOLVE = """
    select n.position, coalesce(c.merged_into, c.customer_id) as customer_id,
        case c.state when 'erased' then 'erased' else 'active' end as state, c.customer_id as recorded_customer_id
    from unnest(cast(:ids as uuid[]), cast(:sources as text[]), cast(:external_ids as text[]))
        with ordinality as n (customer_id, source, external_id, position)
    left join customer_external_id x on x.source = n.source and x.external_id = n.external_id
    join customer c on c.customer_id = coalesce(n.customer_id, x.customer_id)
    """
_FIND = text(_RESOLVE)
_FIND_AND_LOCK = text(_RESOLVE + "order by c.customer_id for key share of c")
_LOCK = text(
    """
    select customer_id, coalesce(merged_into, customer_id) as owner_id from customer
    where customer_id = any(cast(:ids as uuid[])) and state <> 'erased'
    order by customer_id for key share
    """
)
# Of a customer who is nobody's alias and whom nobody else holds at this moment, as nearly always.
_LOCK_FREE = text(
    """
    select * from customer where customer_id = :id and merged_into is null for no key update skip locked
    """
)
_ROOT = text("select coalesce(merged_into, customer_id) from customer where customer_id = :id")
_LOCK_ONE = text("select * from customer where customer_id = :id for no key update")
_TREES = text(
    """
    with root as (
        select coalesce(merged_into, customer_id) as customer_id from customer where customer_id = any(cast(:ids as uuid[]))
    )
    select customer_id from root union select customer_id from customer where merged_into in (select customer_id from root)
    """
)
_LOCK_TREES = text(
    "select * from customer where customer_id = any(cast(:ids as uuid[])) order by customer_id for update"
)


class Known(NamedTuple):
    """Whom a name means: the owner of what is told under it, ``active`` or ``erased``, and the customer to whom the name
    itself was given, who differs from the owner after a merge."""

    customer_id: UUID
    state: str
    recorded_customer_id: UUID


def find_by_names(session: Session, names: Iterable[ExternalName]) -> dict[ExternalName, Known]:
    """Whom each known external name means."""
    found = resolve_many(session, (CustomerRef(None, source, name) for source, name in names))
    return {(ref.source or "", ref.external_id or ""): known for ref, known in found.items()}


def resolve_many(session: Session, refs: Iterable[CustomerRef]) -> dict[CustomerRef, Known]:
    """Whom each reference means that is known at all; one statement. To record something, ``resolve_and_lock``."""
    return _resolve(session, refs, _FIND)


def resolve_and_lock(session: Session, refs: Iterable[CustomerRef]) -> dict[CustomerRef, Known]:
    """As ``resolve_many``, with the customers that the names were given to share-locked in the order of their ids.

    Until this transaction ends nobody merges, unmerges or erases them or whom they answer as: what is recorded for
    ``recorded_customer_id`` belongs to ``customer_id``. A transaction locks all that it will need at once, before it
    writes anything: two calls would lock in two orders.
    """
    return _resolve(session, refs, _FIND_AND_LOCK)


def _resolve(
    session: Session, refs: Iterable[CustomerRef], statement: TextClause
) -> dict[CustomerRef, Known]:
    wanted = list(dict.fromkeys(refs))
    if not wanted:
        return {}
    rows = session.execute(
        statement,
        {
            "ids": [ref.customer_id for ref in wanted],
            "sources": [ref.source for ref in wanted],
            "external_ids": [ref.external_id for ref in wanted],
        },
    )
    found = {
        wanted[row.position - 1]: Known(row.customer_id, row.state, row.recorded_customer_id) for row in rows
    }
    # The names of erased people are kept as blind tokens only.
    strange = {(ref.source, ref.external_id): ref for ref in wanted if ref not in found and ref.source}
    gone = forgotten.find(session, [name for name in strange if name[0] and name[1]])  # type: ignore[misc]
    return found | {strange[name]: Known(erased_id, "erased", erased_id) for name, erased_id in gone.items()}


def owner_of(ref: CustomerRef, owners: Mapping[CustomerRef, Known], *, create: bool) -> Known | None:
    """Who a reference means; None for a stranger whom ``create`` allows to be made. Raises Invalid, Gone."""
    found = owners.get(ref)
    if found is None:
        if create and ref.customer_id is None:
            return None
        raise unknown_customer()
    if found.state != "active":
        raise erased()
    return found


def lock_owners(session: Session, recorded_ids: Iterable[UUID]) -> dict[UUID, UUID]:
    """Share-lock the customers under whom something is recorded, in the order of their ids; gives the owner of each now.

    The owner is the customer itself, or the one it was merged into; the erased and the unknown are missing. What holds
    of ``resolve_and_lock`` holds here, too.
    """
    rows = session.execute(_LOCK, {"ids": sorted(set(recorded_ids))})
    return {row.customer_id: row.owner_id for row in rows}


def lock_many(session: Session, ids: Iterable[UUID]) -> set[UUID]:
    """Share-lock customers in the order of their ids, so that none is merged or erased before this commits.

    Returns those that are still active and nobody else's alias. A fact told of an alias needs ``lock_owners``."""
    return {customer_id for customer_id, owner in lock_owners(session, ids).items() if customer_id == owner}


def lock_root(session: Session, customer_id: UUID) -> Row[Any]:
    """The row to change, held until the end of the transaction; a merged customer's id means whom it answers as.

    Until then nobody merges, unmerges or erases either. Raises NotFound, Gone. One row is held and no other, whatever
    happened while this waited.
    """
    row = session.execute(_LOCK_FREE, {"id": customer_id}).one_or_none()
    while row is None:
        with session.begin_nested() as savepoint:
            root = session.scalar(_ROOT, {"id": customer_id})
            if root is None:
                raise not_found()
            row = session.execute(_LOCK_ONE, {"id": root}).one()
            if row.merged_into is not None or session.scalar(_ROOT, {"id": customer_id}) != root:
                savepoint.rollback()  # somebody merged or unmerged meanwhile
                row = None
    if row.state == "erased":
        raise erased()
    return row


def lock_trees(session: Session, ids: Iterable[UUID]) -> dict[UUID, Row[Any]]:
    """Lock customers for a merge or an erasure, with whom they answer as and everybody who answers as one of these.

    Everybody who records something for one of them holds a share of its row, so that this waits for them and they for
    this. Rows are locked in the order of their ids. Whose tree changed while this waited is locked anew, and what was
    locked in vain is let go first.
    """
    wanted = {"ids": sorted(set(ids))}
    while True:
        with session.begin_nested() as savepoint:
            members = set(session.scalars(_TREES, wanted))
            rows = session.execute(_LOCK_TREES, {"ids": sorted(members)}).all()
            if set(session.scalars(_TREES, wanted)) == members:
                return {row.customer_id: row for row in rows}
            savepoint.rollback()


def refuse_erased(session: Session, names: Iterable[ExternalName]) -> None:
    """Raises Gone ``customer_erased`` where one of the names was an erased person's."""
    if forgotten.find(session, list(names)):
        raise erased()


def unknown_customer(pointer: str = "/customer") -> Invalid:
    return Invalid(
        "customer_unknown",
        "nobody is known under this name; create_customer makes one",
        faults=[Fault(pointer, "customer_unknown", "unknown customer")],
    )


def erased() -> Gone:
    return Gone("customer_erased", "this customer was erased")


def not_found() -> NotFound:
    return NotFound("customer_not_found", "no such customer")


def is_historical(session: Session, occurred_at: datetime, now: datetime) -> bool:
    """Older than the window in which a fact may still start something."""
    return now - occurred_at > timedelta(days=session.info["settings"].historical_after_days)
