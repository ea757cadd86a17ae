"""Customers: who they are, by which names they are known, and one lock for each."""

from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime, timedelta
from typing import NamedTuple, Protocol
from uuid import UUID

from sqlalchemy import text
from sqlalchemy.orm import Session

from services.profile.rules.facts import CustomerRef, PurchaseFacts, UnmatchedReturnFacts
from shared.errors import Fault, Gone, Invalid, NotFound
from shared.events.profile import CustomerRegistered, ExternalId
from shared.ids import uuid7
from shared.messaging.outbox import announce

ExternalName = tuple[str, str]


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
    customer_id: UUID
    created: bool


# The two rows of a customer are written by one statement: whoever loses the race for the external id waits for the
# winner's commit, inserts neither row and finds the winner's customer afterwards.
_CREATE = text(
    """
    with wanted as (
        select * from unnest(
            cast(:ids as uuid[]), cast(:sources as text[]), cast(:external_ids as text[]), cast(:kinds as text[]),
            cast(:countries as text[]), cast(:languages as text[]), cast(:channels as text[]),
            cast(:registered as timestamptz[])
        ) as w (customer_id, source, external_id, kind, country, language, acquisition_channel, registered_at)
    ), named as (
        insert into customer_external_id (source, external_id, customer_id)
        select source, external_id, customer_id from wanted order by source, external_id
        on conflict do nothing
        returning customer_id
    )
    insert into customer (customer_id, kind, country, language, acquisition_channel, registered_at, created_at,
        updated_at)
    select customer_id, kind, country, language, acquisition_channel, registered_at, cast(:now as timestamptz),
        cast(:now as timestamptz)
    from wanted join named using (customer_id)
    returning customer_id
    """
)

# Follows one merge: a loser's winner is never merged itself (a merge moves all aliases to the winner).
_FIND = text(
    """
    select n.source, n.external_id, coalesce(c.merged_into, c.customer_id) as customer_id,
        coalesce(w.state, c.state) as state
    from unnest(cast(:sources as text[]), cast(:external_ids as text[])) as n (source, external_id)
    join customer_external_id x using (source, external_id)
    join customer c on c.customer_id = x.customer_id
    left join customer w on w.customer_id = c.merged_into
    """
)
_FIND_BY_ID = text(
    """
    select c.customer_id as asked, coalesce(c.merged_into, c.customer_id) as customer_id,
        coalesce(w.state, c.state) as state
    from customer c left join customer w on w.customer_id = c.merged_into
    where c.customer_id = any(cast(:ids as uuid[]))
    """
)
_LOCK = text(
    """
    select customer_id from customer where customer_id = any(cast(:ids as uuid[])) and state = 'active'
    order by customer_id for key share
    """
)


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
    found = _active(find_by_names(session, first))
    unknown = [new for name, new in first.items() if name not in found]
    if not unknown:
        return {name: Ensured(customer_id, False) for name, customer_id in found.items()}

    created = _create(session, unknown, now)
    missing = {(new.source, new.external_id) for new in unknown} - created.keys()
    if missing:  # somebody else made them in between, or they are erased
        found |= _active(find_by_names(session, missing))
    return {name: Ensured(customer_id, False) for name, customer_id in found.items()} | {
        name: Ensured(customer_id, True) for name, customer_id in created.items()
    }


class Candidate(Protocol):
    """A purchase or return that may be recorded; ``customer_id`` is None as long as its customer is not known."""

    customer_id: UUID | None

    @property
    def facts(self) -> PurchaseFacts | UnmatchedReturnFacts: ...


def ensure_strangers(session: Session, candidates: Sequence[Candidate], now: datetime) -> None:
    """Make the customers whom nobody knows yet; each became one with the earliest fact told of it here."""
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
    for ref, one in unknown:
        ensured = made.get((ref.source or "", ref.external_id or ""))
        one.customer_id = ensured.customer_id if ensured else None


def resolve_late(session: Session, candidates: Sequence[Candidate]) -> None:
    """Look again for customers who were unknown: whoever recorded the fact in the meantime made them."""
    unknown = [(ref, one) for one in candidates if one.customer_id is None and (ref := one.facts.customer)]
    owners = resolve_many(session, (ref for ref, _ in unknown)) if unknown else {}
    for ref, one in unknown:
        if found := owners.get(ref):
            one.customer_id = found[0]


def _create(session: Session, unknown: Sequence[NewCustomer], now: datetime) -> dict[ExternalName, UUID]:
    by_id = {uuid7(): new for new in unknown}
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
                "now": now,
            },
        )
    )
    made = {customer_id: new for customer_id, new in by_id.items() if customer_id in created}
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


def find_by_names(session: Session, names: Iterable[ExternalName]) -> dict[ExternalName, tuple[UUID, str]]:
    """Owner and state behind each known external name, merges followed."""
    wanted = list(names)
    if not wanted:
        return {}
    rows = session.execute(
        _FIND, {"sources": [source for source, _ in wanted], "external_ids": [name for _, name in wanted]}
    )
    return {(row.source, row.external_id): (row.customer_id, row.state) for row in rows}


def resolve_many(session: Session, refs: Iterable[CustomerRef]) -> dict[CustomerRef, tuple[UUID, str]]:
    """Owner and state behind each reference that is known at all: at most two statements."""
    refs = set(refs)
    ids = [ref.customer_id for ref in refs if ref.customer_id is not None]
    names = [
        (ref.source, ref.external_id)
        for ref in refs
        if ref.source is not None and ref.external_id is not None
    ]
    by_name: Mapping[ExternalName, tuple[UUID, str]] = find_by_names(session, names)
    by_id: dict[UUID, tuple[UUID, str]] = {}
    if ids:
        rows = session.execute(_FIND_BY_ID, {"ids": ids})
        by_id = {row.asked: (row.customer_id, row.state) for row in rows}
    resolved = {}
    for ref in refs:
        key = (
            by_id.get(ref.customer_id)
            if ref.customer_id
            else by_name.get((ref.source or "", ref.external_id or ""))
        )
        if key is not None:
            resolved[ref] = key
    return resolved


def owner_of(
    ref: CustomerRef, owners: Mapping[CustomerRef, tuple[UUID, str]], *, create: bool
) -> UUID | None:
    """Who a reference means; None for a stranger whom ``create`` allows to be made. Raises Invalid, Gone."""
    found = owners.get(ref)
    if found is None:
        if create and ref.customer_id is None:
            return None
        raise unknown_customer()
    customer_id, state = found
    if state != "active":
        raise erased()
    return customer_id


def lock_many(session: Session, ids: Iterable[UUID]) -> set[UUID]:
    """Share-lock customers in the order of their ids, so that none is merged or erased before this commits.

    Returns those that are still active."""
    return set(session.scalars(_LOCK, {"ids": sorted(set(ids))}))


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


def _active(found: Mapping[ExternalName, tuple[UUID, str]]) -> dict[ExternalName, UUID]:
    return {name: customer_id for name, (customer_id, state) in found.items() if state == "active"}
