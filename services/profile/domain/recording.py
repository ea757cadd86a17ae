"""Telling facts that outside systems name, many at once: each is recorded, or compared with what is known under its name.

A fact is unique by ``(source, external_id)``: told again it changes nothing, told differently it is refused. Under a
race the unique constraint decides; whoever loses waits for the winner's commit and then compares.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Generic, Literal, NamedTuple, TypeVar
from uuid import UUID

from sqlalchemy import TextClause
from sqlalchemy.orm import Session

from services.profile.domain import accounting, customers, new_customers, pricing
from services.profile.rules.amounts import Amounts
from services.profile.rules.facts import CustomerRef, PurchaseFacts, UnmatchedReturnFacts
from services.profile.rules.reckoning import Reckoned
from services.profile.rules.written_purchases import Written
from shared.errors import Conflict, Refusal
from shared.ids import uuid7

Facts = TypeVar("Facts", PurchaseFacts, UnmatchedReturnFacts)
Name = tuple[str, str]


class Outcome(NamedTuple):
    """What became of one fact of many; ``problem`` says why it differs or was refused, ``recorded`` is what the noun
    gives of one that is known now."""

    state: Literal["recorded", "unchanged", "differs", "refused"]
    id: UUID | None = None
    customer_id: UUID | None = None
    problem: Refusal | None = None
    recorded: Any = None


@dataclass(slots=True)
class Candidate(Generic[Facts]):
    """A fact that may be recorded, at its ``position`` in the batch: its owner, and the customer under whom it is told.
    Both None: anonymous, or to be made (``facts.customer`` is then set). ``written`` where a purchase came
    reckoned."""

    position: int
    facts: Facts
    amounts: Amounts
    fingerprint: bytes
    customer_id: UUID | None
    recorded_customer_id: UUID | None
    written: Written | None = None

    @property
    def name(self) -> Name:
        return (self.facts.source, self.facts.external_id)


@dataclass(frozen=True, slots=True)
class Noun(Generic[Facts]):
    """A kind of fact.

    ``known`` selects source, external_id, id, customer_id and fingerprint (and ``recorded``, if outcomes shall tell it) of
    those that are recorded among ``:sources`` and ``:external_ids``; ``check`` raises what else can be wrong with one by itself; ``write`` records
    and announces those whose names are free, by the ids that they get, and says what each became.
    """

    known: TextClause
    fingerprint: Callable[[Facts], bytes]
    differs: Callable[[], Conflict]
    check: Callable[[Facts, Amounts, datetime], None]
    write: Callable[[Session, Mapping[UUID, Candidate[Facts]], datetime], Mapping[UUID, Any]]


def record_many(
    session: Session, noun: Noun[Facts], told: Sequence[Facts | Reckoned], now: datetime
) -> list[Outcome]:
    """Record up to some thousand facts and announce them, in a constant number of statements. Purchases may come reckoned,
    in the accounting currency as it is.

    Each is recorded whole or not at all, and what is wrong with one is its own outcome, in the order of ``told``;
    one that stands twice there is compared with its first. ``now`` is the transaction's database time.
    """
    facts: list[Any] = [one.facts if isinstance(one, Reckoned) else one for one in told]
    refs = (one.customer for one in facts if one.customer is not None)
    owners = customers.resolve_and_lock(session, refs)
    currency = accounting.currency(session) or (facts[0].currency if facts else "")
    outcomes: dict[int, Outcome] = {}
    candidates: list[Candidate[Facts]] = []
    for position, one in enumerate(told):
        try:
            candidates.append(_prepare(noun, position, one, owners, currency, now))
        except Refusal as problem:
            outcomes[position] = Outcome("refused", problem=problem)
    if candidates and accounting.fixed_currency(session, currency) != currency:
        return record_many(session, noun, told, now)  # another first fact, in another currency, was faster
    while candidates:
        candidates = _round(session, noun, candidates, outcomes, now)
    return [outcomes[position] for position in range(len(facts))]


def _prepare(
    noun: Noun[Facts],
    position: int,
    told: Facts | Reckoned,
    owners: dict[CustomerRef, customers.Known],
    accounting_currency: str,
    now: datetime,
) -> Candidate[Facts]:
    """Everything that can be wrong with a fact by itself. Raises Invalid, Gone."""
    written = None
    if isinstance(told, Reckoned):
        reckoned, amounts, fingerprint, written = told
        facts: Any = reckoned
        pricing.check_time(facts.occurred_at, now)
    else:
        pricing.check_time(told.occurred_at, now)
        rate = pricing.settle_rate(told.currency, told.exchange_rate, accounting_currency)
        facts = told._replace(exchange_rate=rate)
        amounts = pricing.priced(facts, accounting_currency)
        noun.check(facts, amounts, now)
        fingerprint = noun.fingerprint(facts)
    known = None
    if facts.customer is not None:
        known = customers.owner_of(facts.customer, owners, create=facts.create_customer)
    return Candidate(
        position,
        facts,
        amounts,
        fingerprint,
        known and known.customer_id,
        known and known.recorded_customer_id,
        written,
    )


def _round(
    session: Session,
    noun: Noun[Facts],
    candidates: Sequence[Candidate[Facts]],
    outcomes: dict[int, Outcome],
    now: datetime,
) -> list[Candidate[Facts]]:
    """Compare what is known, record the first of each name that is not; returns who has to be looked at again."""
    named = {
        "sources": [one.facts.source for one in candidates],
        "external_ids": [one.facts.external_id for one in candidates],
    }
    existing = {(row.source, row.external_id): row for row in session.execute(noun.known, named)}
    new_customers.resolve_late(session, [one for one in candidates if one.name in existing])
    new: dict[Name, Candidate[Facts]] = {}
    again = []
    for one in candidates:
        if known := existing.get(one.name):
            same = known.fingerprint == one.fingerprint and known.customer_id == one.customer_id
            outcomes[one.position] = Outcome(
                "unchanged" if same else "differs",
                known.id,
                known.customer_id,
                None if same else noun.differs(),
                known._mapping.get("recorded"),
            )
        elif new.setdefault(one.name, one) is not one:
            again.append(one)
    return again + _record(session, noun, list(new.values()), outcomes, now)


def _record(
    session: Session,
    noun: Noun[Facts],
    new: Sequence[Candidate[Facts]],
    outcomes: dict[int, Outcome],
    now: datetime,
) -> list[Candidate[Facts]]:
    """Record facts of different names; returns those that somebody else recorded in this moment."""
    new_customers.ensure_strangers(session, new, now)
    by_id: dict[UUID, Candidate[Facts]] = {}
    for one in new:
        if one.facts.customer is None or one.customer_id is not None:
            by_id[uuid7()] = one
        else:  # erased since it was looked up
            outcomes[one.position] = Outcome("refused", problem=customers.erased())
    if not by_id:
        return []
    written = noun.write(session, by_id, now)
    for id_, recorded in written.items():
        one = by_id[id_]
        outcomes[one.position] = Outcome("recorded", id_, one.customer_id, recorded=recorded)
    return [one for id_, one in by_id.items() if id_ not in written]
