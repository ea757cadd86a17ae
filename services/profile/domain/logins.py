"""Anonymous becomes known: somebody logs in on a device, and out again.

What was done on the device and is nobody's yet becomes the person's. The known customer keeps its id. Who proves to be two
customers at once makes one of them only where nothing speaks against it (rules/identities); otherwise a person decides.
"""

from collections.abc import Sequence
from datetime import datetime
from typing import NamedTuple
from uuid import UUID

from sqlalchemy import func, select, update
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.orm import Session

from services.profile.domain import (
    activities,
    customer_profiles,
    customers,
    duplicates,
    identities,
    merges,
)
from services.profile.rules.facts import CustomerRef
from services.profile.rules.identities import DEVICES, UNIQUE, may_merge
from services.profile.tables import customer, device_session
from shared.ids import uuid7

Identity = tuple[str, str]
"""Namespace and value."""


class LoggedIn(NamedTuple):
    """``merged`` are the merges that this made, ``doubted`` the customers who hold an identity of this person and were
    left alone; ``attached_count`` activities became the customer's."""

    customer_id: UUID
    created: bool = False
    merged: Sequence[UUID] = ()
    doubted: Sequence[UUID] = ()
    attached_count: int = 0


def log_in(
    session: Session,
    device: Identity | None,
    named: CustomerRef | None,
    proofs: Sequence[Identity],
    *,
    authenticated: bool,
    create: bool,
    by: str,
    now: datetime,
) -> LoggedIn:
    """Note who somebody on a device is.

    Only who is authenticated is known by ``proofs``, has them verified, and gets what the device did; of anybody else the
    identities are noted as unverified for the customer who is ``named``, and nothing more. Raises Invalid
    ``customer_unknown``, ``identity_invalid``, Gone.
    """
    unique = [proof for proof in proofs if proof[0] in UNIQUE]
    held = identities.owners_of(session, unique) if authenticated else {}
    known = customers.resolve_many(session, [named]).get(named) if named is not None else None
    if known is not None and known.state != "active":
        raise customers.erased()
    if known is None and (named is not None or not held):
        if not (create and authenticated and (named is None or named.customer_id is None)):
            raise customers.unknown_customer()
        names = [] if named is None else [(named.source or "", named.external_id or "")]
        customer_id = customer_profiles.register(session, {}, names, now)
        created = True
    else:
        customer_id = known.customer_id if known is not None else _oldest(session, list(held))
        created = False

    merged, doubted = [], []
    others = {owner: by_what for owner, by_what in held.items() if owner != customer_id}
    if others:
        locked = customers.lock_trees(session, [customer_id, *others])
        customer_id = locked[customer_id].merged_into or customer_id
        held = identities.owners_of(session, unique)
        others = {
            owner: by_what for owner, by_what in held.items() if owner != customer_id and owner in locked
        }
    for other, by_what in sorted(others.items()):
        rows = [locked[one] for one in (customer_id, other)]
        own, theirs = (identities.held_by(session, one) for one in (customer_id, other))
        if rows[0].kind == rows[1].kind == "person" and may_merge(by_what, own, theirs):
            edge, _ = merges.join(session, customer_id, other, {}, by, now, origin="identity")
            merged.append(edge.merge_id)
        else:
            duplicates.note(session, customer_id, other, [f"proved_{name}" for name in sorted(by_what)], now)
            doubted.append(other)

    kept_back = {name for other in doubted for name in others[other]}
    for namespace, value in proofs:
        if namespace not in kept_back:
            identities.add(
                session,
                customer_id,
                namespace,
                value,
                verified=authenticated and namespace in UNIQUE,
                by=by,
                now=now,
            )
    attached = 0
    if authenticated and device is not None:
        attached = _begin(session, device, customer_id, by, now)
    return LoggedIn(customer_id, created, merged, doubted, attached)


def log_out(session: Session, device: Identity, now: datetime) -> UUID:
    """What the device did until now is of whoever was logged in on it; what comes belongs to a new anonymous visitor, by
    whose id the device is to be called from now on."""
    namespace, value = device
    plain = identities.normal(namespace, value)
    token = identities.token_of(session, namespace, plain)
    ended = _end(session, token, now)
    if ended is not None:
        activities.attach(session, [plain], ended)
    return uuid7()


def _begin(session: Session, device: Identity, customer_id: UUID, by: str, now: datetime) -> int:
    namespace, value = device
    plain = identities.normal(namespace, value)
    token = identities.token_of(session, namespace, plain)
    identities.add(session, customer_id, namespace, value, verified=False, by=by, now=now)
    current = session.scalar(
        select(device_session.c.customer_id).where(
            device_session.c.device_token == token, device_session.c.ended_at.is_(None)
        )
    )
    if current != customer_id:
        _end(session, token, now)
        session.execute(
            insert(device_session)
            .values(session_id=uuid7(), device_token=token, customer_id=customer_id, began_at=now)
            .on_conflict_do_nothing()
        )
    return activities.attach(session, [plain], customer_id)


def _end(session: Session, token: bytes, now: datetime) -> UUID | None:
    """Who was logged in on the device until now."""
    ended = (
        update(device_session)
        .where(device_session.c.device_token == token, device_session.c.ended_at.is_(None))
        .values(ended_at=func.greatest(device_session.c.began_at, now))
    )
    found: UUID | None = session.scalar(ended.returning(device_session.c.customer_id))
    return found


def _oldest(session: Session, ids: Sequence[UUID]) -> UUID:
    """Whoever was known first keeps the id."""
    order = (customer.c.registered_at, customer.c.customer_id)
    found = session.scalar(
        select(customer.c.customer_id).where(customer.c.customer_id.in_(ids)).order_by(*order).limit(1)
    )
    assert isinstance(found, UUID)
    return found


__all__ = ["DEVICES", "LoggedIn", "log_in", "log_out"]
