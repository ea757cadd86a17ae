"""Customers who are made because somebody speaks of them: by a purchase, a batch, an import."""

import json
from collections.abc import Sequence
from datetime import datetime
from typing import NamedTuple, Protocol
from uuid import UUID

from sqlalchemy import text
from sqlalchemy.orm import Session

from services.profile.domain import forgotten, upkeep
from services.profile.domain.customers import (
    ExternalName,
    find_by_names,
    is_historical,
    lock_owners,
    refuse_erased,
    resolve_and_lock,
)
from services.profile.rules.facts import PurchaseFacts, UnmatchedReturnFacts
from shared.database import execute_hot
from shared.events.profile import CustomerRegistered, ExternalId
from shared.ids import uuid7
from shared.messaging.outbox import announce


class NewCustomer(NamedTuple):
    """A customer of whom only a name in an outside system and coarse facts are known."""

    source: str
    external_id: str
    registered_at: datetime
    country: str | None = None
    language: str | None = None
    kind: str = "person"
    acquisition_channel: str | None = None


class Ensured(NamedTuple):
    """As Known, of a customer who is active; and whether it was made just now."""

    customer_id: UUID
    created: bool
    recorded_customer_id: UUID


# The two rows of a customer are written by one statement: whoever loses the race for the external id waits for the
# winner's commit, inserts neither row and finds the winner's customer afterwards.
_CREATE = text(
    """
    with wanted as (
        select * from unnest(
            cast(:ids as uuid[]), cast(:sources as text[]), cast(:external_ids as text[]), cast(:kinds as text[]),
            cast(:countries as text[]), cast(:languages as text[]), cast(:channels as text[]),
            cast(:registered as timestamptz[]), cast(:provenances as text[]), cast(:completeness as smallint[]),
            cast(:due as timestamptz[])
        ) as w (customer_id, source, external_id, kind, country, language, acquisition_channel, registered_at,
            provenance, completeness, due_at)
    ), named as (
        insert into customer_external_id (source, external_id, customer_id)
        select source, external_id, customer_id from wanted order by source, external_id
        on conflict do nothing
        returning customer_id
    )
    insert into customer (customer_id, kind, country, language, acquisition_channel, registered_at, created_at,
        updated_at, provenance, completeness, due_at)
    select customer_id, kind, country, language, acquisition_channel, registered_at, cast(:now as timestamptz),
        cast(:now as timestamptz), cast(provenance as jsonb), completeness, due_at
    from wanted join named using (customer_id)
    returning customer_id
    """
)

# The same for one customer of whom only a name is known, who became one with a fact of a time that is not ahead.
_CREATE_ONE = """
    with named as (
        insert into customer_external_id (source, external_id, customer_id)
        values (%(source)s, %(external_id)s, %(id)s)
        on conflict do nothing
        returning customer_id
    )
    insert into customer (customer_id, kind, registered_at, created_at, updated_at, completeness, due_at)
    select customer_id, 'person', least(%(since)s::timestamptz, now()), now(), now(),
        case when content then 100 else 0 end, case when content then null else now() end
    from named cross join (
        select expected = '{}' and not exists (
            select from attribute_definition where required and retired_at is null) as content
        from upkeep_policy where kind = 'person'
    ) policy
    returning registered_at, now()
"""


def ensure_many(
    session: Session, wanted: Sequence[NewCustomer], now: datetime
) -> dict[ExternalName, Ensured]:
    """The customer of each external name, made where there is none; a constant number of statements.

    Customers that exist are not touched, whatever ``wanted`` says of them. A name that stands several times in
    ``wanted`` is made as it stands there first. Names of erased customers are missing from the answer.
    """
    first: dict[ExternalName, NewCustomer] = {}
    for new in wanted:
        first.setdefault((new.source, new.external_id), new)
    found = find_by_names(session, first)
    unknown = [new for name, new in first.items() if name not in found]
    created = _create(session, unknown, now) if unknown else {}
    missing = {(new.source, new.external_id) for new in unknown} - created.keys()
    if missing:  # somebody else made them in between
        found |= find_by_names(session, missing)
    return {
        name: Ensured(known.customer_id, False, known.recorded_customer_id)
        for name, known in found.items()
        if known.state == "active"
    } | {name: Ensured(customer_id, True, customer_id) for name, customer_id in created.items()}


class Candidate(Protocol):
    """A purchase or return that may be recorded: its owner, and the customer under whom it is told. Both are None as long
    as its customer is not known."""

    customer_id: UUID | None
    recorded_customer_id: UUID | None

    @property
    def facts(self) -> PurchaseFacts | UnmatchedReturnFacts: ...


def ensure_strangers(session: Session, candidates: Sequence[Candidate], now: datetime) -> None:
    """Make the customers whom nobody knows yet; each became one with the earliest fact told of it here. Whoever was made
    by somebody else in between is locked; who was erased stays unknown."""
    unknown = [(ref, one) for one in candidates if one.customer_id is None and (ref := one.facts.customer)]
    if not unknown:
        return
    unknown.sort(key=lambda found: found[1].facts.occurred_at)
    made = ensure_many(
        session,
        [
            NewCustomer(ref.source, ref.external_id, min(one.facts.occurred_at, now))
            for ref, one in unknown
            if ref.source is not None and ref.external_id is not None
        ],
        now,
    )
    late = [one.recorded_customer_id for one in made.values() if not one.created]
    owners = lock_owners(session, late) if late else {}
    for ref, one in unknown:
        if ensured := made.get((ref.source or "", ref.external_id or "")):
            one.recorded_customer_id = ensured.recorded_customer_id
            one.customer_id = (
                ensured.customer_id if ensured.created else owners.get(ensured.recorded_customer_id)
            )


def make_stranger(session: Session, source: str, external_id: str, since: datetime) -> bool:
    """Make the customer whom nobody knows under this name yet, and announce it; False, and nothing written, where
    somebody is. ``since``: the fact with which it became one. Raises Gone for a name of somebody erased."""
    customer_id = uuid7()
    made = execute_hot(
        session,
        _CREATE_ONE,
        {"source": source, "external_id": external_id, "id": customer_id, "since": since},
    ).fetchone()
    if made is None:
        return False
    # Only now: an erasure that held the name until this moment has committed, and is seen.
    refuse_erased(session, [(source, external_id)])
    registered_at, now = made
    announce(
        session,
        CustomerRegistered(
            customer_id=customer_id,
            kind="person",
            external_ids=(ExternalId(source=source, external_id=external_id),),
            registered_at=registered_at,
            historical=is_historical(session, registered_at, now),
        ),
    )
    return True


def resolve_late(session: Session, candidates: Sequence[Candidate]) -> None:
    """Look again for customers who were unknown: whoever recorded the fact in the meantime made them."""
    unknown = [(ref, one) for one in candidates if one.customer_id is None and (ref := one.facts.customer)]
    owners = resolve_and_lock(session, (ref for ref, _ in unknown)) if unknown else {}
    for ref, one in unknown:
        if found := owners.get(ref):
            one.customer_id, one.recorded_customer_id = found.customer_id, found.recorded_customer_id


def _create(session: Session, unknown: Sequence[NewCustomer], now: datetime) -> dict[ExternalName, UUID]:
    by_id = {uuid7(): new for new in unknown}
    held = upkeep.standard(session)
    told = [_provenance(new, now) for new in by_id.values()]
    found = [held.of(new.kind, about, now) for new, about in zip(by_id.values(), told, strict=True)]
    created = set(
        session.scalars(
            _CREATE,
            {
                "ids": list(by_id),
                "sources": [new.source for new in by_id.values()],
                "external_ids": [new.external_id for new in by_id.values()],
                "kinds": [new.kind for new in by_id.values()],
                "countries": [new.country for new in by_id.values()],
                "languages": [new.language for new in by_id.values()],
                "channels": [new.acquisition_channel for new in by_id.values()],
                "registered": [new.registered_at for new in by_id.values()],
                "provenances": [json.dumps(about) for about in told],
                "completeness": [one.completeness for one in found],
                "due": [one.due_at for one in found],
                "now": now,
            },
        )
    )
    made = {customer_id: new for customer_id, new in by_id.items() if customer_id in created}
    made = _without_the_erased(session, made)
    announce(
        session,
        *(
            CustomerRegistered(
                customer_id=customer_id,
                kind=new.kind,
                external_ids=(ExternalId(source=new.source, external_id=new.external_id),),
                country=new.country,
                language=new.language,
                acquisition_channel=new.acquisition_channel,
                registered_at=new.registered_at,
                historical=is_historical(session, new.registered_at, now),
            )
            for customer_id, new in made.items()
        ),
    )
    return {(new.source, new.external_id): customer_id for customer_id, new in made.items()}


def _without_the_erased(session: Session, made: dict[UUID, NewCustomer]) -> dict[UUID, NewCustomer]:
    """Unmake whoever was made under a name of somebody erased: an erasure that held the name until it was free has
    committed only now, and is seen."""
    erased = forgotten.find(session, [(new.source, new.external_id) for new in made.values()])
    if not erased:
        return made
    returned = [id_ for id_, new in made.items() if (new.source, new.external_id) in erased]
    for table in ("customer_external_id", "customer"):
        session.execute(
            text(f"delete from {table} where customer_id = any(cast(:ids as uuid[]))"), {"ids": returned}
        )
    return {id_: new for id_, new in made.items() if id_ not in returned}


def _provenance(new: NewCustomer, now: datetime) -> dict[str, dict[str, str]]:
    known = {
        "country": new.country,
        "language": new.language,
        "acquisition_channel": new.acquisition_channel,
    }
    told = {"at": now.isoformat(), "source": new.source}
    return {field: told for field, value in known.items() if value is not None}
