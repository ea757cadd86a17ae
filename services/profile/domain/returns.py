"""Returns: against a purchase's lines, exact to the minor unit, or unmatched."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from datetime import datetime
from typing import Any
from uuid import UUID

from sqlalchemy import Row, text
from sqlalchemy.orm import Session

from services.profile.domain import pricing, purchase_reading, recording, return_matching, return_rows
from services.profile.domain.recording import Candidate, Noun, Outcome
from services.profile.domain.return_rows import Told
from services.profile.rules.amounts import Amounts
from services.profile.rules.facts import MatchedReturnFacts, UnmatchedReturnFacts
from services.profile.rules.fingerprint import (
    matched_return_fingerprint,
    unmatched_return_fingerprint,
)
from services.profile.rules.returns import BoughtLine, ReversedLine, Unreturnable, reverse
from shared.errors import Conflict, Fault, Invalid, NotFound
from shared.ids import uuid7

_FIND_PURCHASE = text(
    "select purchase_id, recorded_customer_id from purchase where source = :source and external_id = :external_id"
)
_LINES = text(
    """
    select line, sku, quantity, amount_minor, accounting_amount_minor, returned_quantity from purchase_line
    where purchase_id = :id and line = any(cast(:lines as int[]))
    """
)
_EXISTING = text(
    """
    select r.source, r.external_id, r.return_id as id, r.fingerprint, r.purchase_id is not null as recorded,
        case when r.told_anonymous then null else r.customer_id end as customer_id
    from unnest(cast(:sources as text[]), cast(:external_ids as text[])) as n (source, external_id)
    join purchase_return r using (source, external_id)
    """
)


def record_matched(session: Session, facts: MatchedReturnFacts, now: datetime) -> bool:
    """Take back lines of a purchase and announce what that reverses; False if this return was recorded before.

    Raises Invalid ``purchase_unknown``, ``line_unknown``, ``replacement_unknown``, ``occurred_in_the_future``;
    Invalid ``replacement_unfit``; Conflict ``return_exceeds_purchase`` (more than was bought and is not back yet),
    ``return_differs``, ``purchase_cancelled``.
    """
    pricing.check_time(facts.occurred_at, now)
    print_ = matched_return_fingerprint(facts)
    purchase = _lock(session, facts)
    if _is_repeat(session, facts.source, facts.external_id, print_):
        return False
    if purchase.cancelled_at is not None:
        raise Conflict("purchase_cancelled", "this purchase was called off: nothing more comes back of it")
    replacement_id = _replacement(session, facts, purchase)
    reversals = _reverse(session, purchase, facts)

    told = Told(uuid7(), facts.source, facts.external_id, facts.occurred_at, print_)
    row = return_rows.of_purchase(session, told, purchase, reversals, now, replacement_id)
    if not return_rows.insert(session, [row], now):
        # Its name went to a return of another purchase in this moment.
        return not _is_repeat(session, facts.source, facts.external_id, print_)
    return_rows.tell(session, [row], now)
    return True


def record_unmatched(session: Session, facts: UnmatchedReturnFacts, now: datetime) -> bool:
    """Record a return that names no purchase; False if it was recorded before. Raises as ``purchases.record``."""
    outcome = record_unmatched_many(session, [facts], now)[0]
    if outcome.problem is not None:
        raise outcome.problem
    return outcome.state == "recorded"


def record_unmatched_many(
    session: Session, facts: Sequence[UnmatchedReturnFacts], now: datetime, *, match: bool = False
) -> list[Outcome]:
    """Record up to some thousand returns that name no purchase (recording.record_many); ``recorded`` says of each that
    is known whether it has a purchase. With ``match`` one is looked for first (rules/return_matching)."""
    return recording.record_many(session, _MATCHING if match else _UNMATCHED, facts, now)


def differs() -> Conflict:
    return Conflict("return_differs", "this return was recorded with other facts")


def _write(
    session: Session, by_id: Mapping[UUID, Candidate[UnmatchedReturnFacts]], now: datetime
) -> dict[UUID, bool]:
    rows = [return_rows.unmatched(session, return_id, one, now) for return_id, one in by_id.items()]
    inserted = return_rows.insert(session, rows, now)
    return_rows.tell(session, [row for row in rows if UUID(row["return_id"]) in inserted], now)
    return dict.fromkeys(inserted, False)


def _lock(session: Session, facts: MatchedReturnFacts) -> Row[Any]:
    try:
        return purchase_reading.lock(session, facts.purchase_source, facts.purchase_external_id)
    except NotFound:
        message = "the purchase is not known"
        raise Invalid(
            "purchase_unknown", message, faults=[Fault("/purchase", "purchase_unknown", message)]
        ) from None


def _replacement(session: Session, facts: MatchedReturnFacts, purchase: Row[Any]) -> UUID | None:
    if facts.replacement is None:
        return None
    source, external_id = facts.replacement
    found = session.execute(_FIND_PURCHASE, {"source": source, "external_id": external_id}).one_or_none()
    if found is None:
        message = "the replacing purchase is not known"
        raise Invalid(
            "replacement_unknown", message, faults=[Fault("/replacement", "replacement_unknown", message)]
        )
    if found.purchase_id == purchase.purchase_id or (
        found.recorded_customer_id != purchase.recorded_customer_id
    ):
        # Told under two customers, it would be torn apart when a merge of the two is undone.
        message = "only another purchase recorded for the same customer replaces what comes back"
        raise Invalid(
            "replacement_unfit", message, faults=[Fault("/replacement", "replacement_unfit", message)]
        )
    replacement_id: UUID = found.purchase_id
    return replacement_id


def _reverse(session: Session, purchase: Row[Any], facts: MatchedReturnFacts) -> list[ReversedLine]:
    wanted = {"id": purchase.purchase_id, "lines": [line.line for line in facts.lines]}
    bought = {row.line: BoughtLine(*row) for row in session.execute(_LINES, wanted)}
    try:
        return reverse(bought, facts.lines)
    except Unreturnable as problem:
        kind = Conflict if problem.code == "return_exceeds_purchase" else Invalid
        faults = [Fault(f"/lines/{problem.position}", problem.code, str(problem))]
        raise kind(problem.code, str(problem), faults=faults) from None


def _is_repeat(session: Session, source: str, external_id: str, print_: bytes) -> bool:
    known = _existing(session, [(source, external_id)])
    if known and known[0].fingerprint != print_:
        raise differs()
    return bool(known)


def _existing(session: Session, names: Sequence[tuple[str, str]]) -> Sequence[Row[Any]]:
    wanted = {"sources": [name[0] for name in names], "external_ids": [name[1] for name in names]}
    return session.execute(_EXISTING, wanted).all()


def _always(facts: UnmatchedReturnFacts, amounts: Amounts, now: datetime) -> None:
    """Nothing more is asked of a return."""


_UNMATCHED = Noun(_EXISTING, unmatched_return_fingerprint, differs, _always, _write)
_MATCHING = replace(_UNMATCHED, write=return_matching.write)
