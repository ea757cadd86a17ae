"""By what customers are recognised: names in outside systems, mailboxes, numbers, cards, devices.

A name or an identity stays with the customer to whom it was given, through every merge; what is asked of a merged
customer is asked of everybody who is the same. Values lie sealed and are found by blind tokens.
"""

from collections import defaultdict
from collections.abc import Collection, Iterable, Sequence
from datetime import datetime
from typing import Any
from uuid import UUID

from sqlalchemy import Row, delete, or_, select, update
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.orm import Session

from services.profile.domain import activities, customer_profiles, customers, forgotten
from services.profile.domain.customers import ExternalName
from services.profile.rules.identities import DEVICES as DEVICES
from services.profile.rules.identities import UNIQUE, normal_value
from services.profile.tables import customer, customer_external_id, customer_identity
from shared import sealing
from shared.blind_indexes import blind
from shared.errors import Conflict, Fault, Gone, Invalid, NotFound
from shared.ids import uuid7


def add(
    session: Session, customer_id: UUID, namespace: str, value: str, *, verified: bool, by: str, now: datetime
) -> tuple[Row[Any], bool]:
    """Give a customer an identity, or say that one it has is verified; returns it, and whether it is new.

    Raises NotFound, Gone, Invalid ``identity_invalid``, Conflict ``identity_taken``: a verified one of its kind is one
    person's, and it is somebody else's.
    """
    owner_id = _lock(session, customer_id)
    plain = normal(namespace, value)
    token = token_of(session, namespace, plain)
    table = customer_identity.c
    own = _same(session, owner_id)
    rows = session.execute(
        select(customer_identity)
        .where(table.namespace == namespace, table.token == token)
        .where(or_(table.customer_id.in_(own), table.verified_at.is_not(None)))
    ).all()
    if verified and namespace in UNIQUE and any(row.customer_id not in own for row in rows):
        raise taken()
    mine = [row for row in rows if row.customer_id in own]
    if known := next((row for row in mine if row.verified_at is not None or not verified), None):
        return known, False
    if known := next((row for row in mine), None):
        verify = update(customer_identity).where(table.identity_id == known.identity_id)
        return session.execute(verify.values(verified_at=now).returning(customer_identity)).one(), False

    identity_id = uuid7()
    made = session.execute(
        insert(customer_identity)
        .values(
            identity_id=identity_id,
            customer_id=customer_id,
            namespace=namespace,
            value_sealed=sealing.seal(session, str(customer_id), _place(identity_id), plain),
            token=token,
            verified_at=now if verified else None,
            added_at=now,
            added_by=by,
        )
        .on_conflict_do_nothing()
        .returning(customer_identity)
    ).one_or_none()
    if made is None:  # somebody else was faster, and has committed
        return add(session, customer_id, namespace, value, verified=verified, by=by, now=now)
    return made, True


def remove(session: Session, customer_id: UUID, identity_id: UUID) -> None:
    """Raises NotFound ``identity_not_found``, Gone."""
    own = _same(session, _lock(session, customer_id))
    gone = delete(customer_identity).where(
        customer_identity.c.identity_id == identity_id, customer_identity.c.customer_id.in_(own)
    )
    if session.execute(gone.returning(customer_identity.c.identity_id)).one_or_none() is None:
        raise NotFound("identity_not_found", "this customer has no such identity")


def of_customer(session: Session, customer_id: UUID) -> Sequence[Row[Any]]:
    """The identities of a customer and of everybody merged into it, in the order in which they came. Raises NotFound,
    Gone."""
    own = _same(session, customer_profiles.get(session, customer_id).customer_id)
    wanted = select(customer_identity).where(customer_identity.c.customer_id.in_(own))
    return session.execute(wanted.order_by(customer_identity.c.identity_id)).all()


def values_of(session: Session, rows: Iterable[Row[Any]]) -> list[str | None]:
    """In clear: for callers who may see personal data."""
    return sealing.unseal_many(
        session, [(str(row.customer_id), _place(row.identity_id), row.value_sealed) for row in rows]
    )


def add_name(session: Session, customer_id: UUID, name: ExternalName, now: datetime) -> bool:
    """Give a customer a name of an outside system; False if it has it. Raises NotFound, Conflict ``external_id_taken``,
    Gone: this customer, or whoever had the name, was erased."""
    owner_id = _lock(session, customer_id)
    if forgotten.find(session, [name]):
        raise Gone("customer_erased", "the customer who had this name was erased")
    table = customer_external_id
    made = session.scalar(
        insert(table)
        .values(source=name[0], external_id=name[1], customer_id=customer_id)
        .on_conflict_do_nothing()
        .returning(table.c.customer_id)
    )
    if made is None:
        known = customers.find_by_names(session, [name])
        if name in known and known[name].customer_id != owner_id:
            raise Conflict("external_id_taken", "this external id belongs to another customer")
        return False
    customer_profiles.announce_names(session, customer_id, now)
    return True


def remove_name(session: Session, customer_id: UUID, name: ExternalName, now: datetime) -> None:
    """What was told under the name stays; told again, it means nobody. Raises NotFound, Gone."""
    own = _same(session, _lock(session, customer_id))
    table = customer_external_id.c
    gone = delete(customer_external_id).where(
        table.source == name[0], table.external_id == name[1], table.customer_id.in_(own)
    )
    had = session.scalar(gone.returning(table.customer_id))
    if had is None:
        raise NotFound("external_id_not_found", "this customer has no such external id")
    customer_profiles.announce_names(session, had, now)


def owners_of(session: Session, proofs: Collection[tuple[str, str]]) -> dict[UUID, set[str]]:
    """Who holds which of these verified identities: customers as whom their holders answer, and the namespaces."""
    found: dict[UUID, set[str]] = defaultdict(set)
    for namespace, value in proofs:
        if namespace not in UNIQUE:
            continue
        token = token_of(session, namespace, normal(namespace, value))
        table = customer_identity.c
        rows = session.execute(
            select(customer.c.customer_id, customer.c.merged_into)
            .join(customer_identity, table.customer_id == customer.c.customer_id)
            .where(table.namespace == namespace, table.token == token, table.verified_at.is_not(None))
            .where(customer.c.state != "erased")
        )
        for row in rows:
            found[row.merged_into or row.customer_id].add(namespace)
    return dict(found)


def held_by(session: Session, customer_id: UUID) -> dict[str, set[bytes]]:
    """The verified identities of a customer and of everybody merged into it: tokens by namespace."""
    table = customer_identity.c
    wanted = select(table.namespace, table.token).where(
        table.customer_id.in_(_same(session, customer_id)), table.verified_at.is_not(None)
    )
    held: dict[str, set[bytes]] = defaultdict(set)
    for row in session.execute(wanted):
        held[row.namespace].add(bytes(row.token))
    return dict(held)


def normal(namespace: str, value: str) -> str:
    """Raises Invalid ``identity_invalid``."""
    plain = normal_value(namespace, value)
    if plain is None:
        message = f"this cannot be of the kind {namespace}"
        raise Invalid("identity_invalid", message, faults=[Fault("/value", "identity_invalid", message)])
    return plain


def token_of(session: Session, namespace: str, plain: str) -> bytes:
    """A device's is the one that its activities have."""
    field = activities.DEVICE if namespace in DEVICES else f"identity:{namespace}"
    return blind(session, field, plain)


def taken() -> Conflict:
    return Conflict("identity_taken", "this verified identity belongs to another customer")


def _lock(session: Session, customer_id: UUID) -> UUID:
    """Hold the customer; whom it answers as. Raises NotFound, Gone."""
    owner_id = customers.lock_owners(session, [customer_id]).get(customer_id)
    if owner_id is None:
        customer_profiles.get(session, customer_id)
        raise customers.erased()
    return owner_id


def _same(session: Session, root_id: UUID) -> set[UUID]:
    """Everybody who is this customer."""
    merged = session.scalars(select(customer.c.customer_id).where(customer.c.merged_into == root_id))
    return {root_id, *merged}


def _place(identity_id: UUID) -> str:
    return f"customer_identity.value_sealed:{identity_id}"
