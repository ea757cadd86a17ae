"""Returns: against a purchase's lines, exact to the minor unit, or unmatched."""

import json
from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any
from uuid import UUID

from sqlalchemy import Row, text
from sqlalchemy.orm import Session

from services.profile.domain import customers, pricing, purchase_reading, recording
from services.profile.domain.recording import Candidate, Noun, Outcome
from services.profile.rules.amounts import Amounts
from services.profile.rules.facts import MatchedReturnFacts, UnmatchedReturnFacts
from services.profile.rules.fingerprint import (
    canonical,
    matched_return_fingerprint,
    unmatched_return_fingerprint,
)
from services.profile.rules.returns import BoughtLine, ReversedLine, Unreturnable, reverse
from shared.errors import Conflict, Fault, Invalid, NotFound
from shared.events.profile import PurchaseReturned, ReturnLine
from shared.ids import uuid7
from shared.messaging.outbox import announce

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
    select r.source, r.external_id, r.return_id as id, r.customer_id, r.fingerprint
    from unnest(cast(:sources as text[]), cast(:external_ids as text[])) as n (source, external_id)
    join purchase_return r using (source, external_id)
    """
)

# One statement for every kind of return: the return, its lines, and what that leaves of the purchase. Nothing is
# written for a return whose name is taken.
_RECORD = text(
    """
    with f as materialized (
        select * from json_to_recordset(cast(:facts as json)) as f (return_id uuid, source text, external_id text,
            purchase_id uuid, customer_id uuid, recorded_customer_id uuid, occurred_at timestamptz, historical boolean,
            currency text, exchange_rate numeric, amount_minor bigint, accounting_amount_minor bigint,
            net_left_minor bigint, accounting_net_left_minor bigint, replacement_purchase_id uuid, fingerprint bytea,
            lines json)
    ), recorded as (
        insert into purchase_return (return_id, source, external_id, purchase_id, customer_id, recorded_customer_id,
            occurred_at, recorded_at, historical, currency, exchange_rate, amount_minor, accounting_amount_minor,
            net_left_minor, accounting_net_left_minor, replacement_purchase_id, fingerprint)
        select return_id, source, external_id, purchase_id, customer_id, recorded_customer_id, occurred_at,
            cast(:now as timestamptz), historical, currency, exchange_rate, amount_minor, accounting_amount_minor,
            net_left_minor, accounting_net_left_minor, replacement_purchase_id, fingerprint
        from f order by source, external_id
        on conflict (source, external_id) do nothing
        returning return_id, purchase_id, amount_minor, accounting_amount_minor
    ), lines as (
        insert into purchase_return_line (return_id, position, line, sku, quantity, unit_price, amount_minor,
            accounting_amount_minor)
        select recorded.return_id, l.*
        from recorded join f using (return_id) cross join json_to_recordset(f.lines) as l (position int, line int,
            sku text, quantity int, unit_price numeric, amount_minor bigint, accounting_amount_minor bigint)
        returning return_id, line, quantity
    ), bought as (
        update purchase_line set returned_quantity = returned_quantity + lines.quantity
        from lines join recorded using (return_id)
        where purchase_line.purchase_id = recorded.purchase_id and purchase_line.line = lines.line
    ), left_over as (
        update purchase set returned_minor = returned_minor + recorded.amount_minor,
            accounting_returned_minor = accounting_returned_minor + recorded.accounting_amount_minor
        from recorded where purchase.purchase_id = recorded.purchase_id
    )
    select return_id from recorded
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

    amount = sum(line.amount_minor for line in reversals)
    accounting_amount = sum(line.accounting_amount_minor for line in reversals)
    row: dict[str, Any] = {
        "return_id": str(uuid7()),
        "source": facts.source,
        "external_id": facts.external_id,
        "purchase_id": str(purchase.purchase_id),
        "customer_id": _text(purchase.customer_id),
        "recorded_customer_id": _text(purchase.recorded_customer_id),
        "occurred_at": facts.occurred_at.isoformat(),
        "historical": customers.is_historical(session, facts.occurred_at, now),
        "currency": purchase.currency,
        "exchange_rate": None if purchase.exchange_rate is None else canonical(purchase.exchange_rate),
        "amount_minor": amount,
        "accounting_amount_minor": accounting_amount,
        "net_left_minor": purchase.total_minor - purchase.returned_minor - amount,
        "accounting_net_left_minor": purchase.accounting_total_minor
        - purchase.accounting_returned_minor
        - accounting_amount,
        "replacement_purchase_id": _text(replacement_id),
        "fingerprint": "\\x" + print_.hex(),
        "lines": [{"position": position, **line._asdict()} for position, line in enumerate(reversals, 1)],
    }
    if not _insert(session, [row], now):
        # Its name went to a return of another purchase in this moment.
        return not _is_repeat(session, facts.source, facts.external_id, print_)
    announce(session, _event(row, now))
    return True


def record_unmatched(session: Session, facts: UnmatchedReturnFacts, now: datetime) -> bool:
    """Record a return that names no purchase; False if it was recorded before. Raises as ``purchases.record``."""
    outcome = record_unmatched_many(session, [facts], now)[0]
    if outcome.problem is not None:
        raise outcome.problem
    return outcome.state == "recorded"


def record_unmatched_many(
    session: Session, facts: Sequence[UnmatchedReturnFacts], now: datetime
) -> list[Outcome]:
    """Record up to some thousand returns that name no purchase (recording.record_many)."""
    return recording.record_many(session, _UNMATCHED, facts, now)


def differs() -> Conflict:
    return Conflict("return_differs", "this return was recorded with other facts")


def _write(
    session: Session, by_id: Mapping[UUID, Candidate[UnmatchedReturnFacts]], now: datetime
) -> dict[UUID, None]:
    rows = [_unmatched_row(session, return_id, one, now) for return_id, one in by_id.items()]
    inserted = _insert(session, rows, now)
    announce(session, *(_event(row, now) for row in rows if UUID(row["return_id"]) in inserted))
    return dict.fromkeys(inserted)


def _unmatched_row(
    session: Session, return_id: UUID, one: Candidate[UnmatchedReturnFacts], now: datetime
) -> dict[str, Any]:
    facts, amounts = one.facts, one.amounts
    return {
        "return_id": str(return_id),
        "source": facts.source,
        "external_id": facts.external_id,
        "customer_id": _text(one.customer_id),
        "recorded_customer_id": _text(one.recorded_customer_id),
        "occurred_at": facts.occurred_at.isoformat(),
        "historical": customers.is_historical(session, facts.occurred_at, now),
        "currency": facts.currency,
        "exchange_rate": None if facts.exchange_rate is None else canonical(facts.exchange_rate),
        "amount_minor": amounts.total,
        "accounting_amount_minor": amounts.accounting_total,
        "fingerprint": "\\x" + one.fingerprint.hex(),
        "lines": [
            {
                "position": position,
                "line": None,
                "sku": line.sku,
                "quantity": line.quantity,
                "unit_price": canonical(line.unit_price),
                "amount_minor": amount,
                "accounting_amount_minor": accounting_amount,
            }
            for position, (line, amount, accounting_amount) in enumerate(
                zip(facts.lines, amounts.lines, amounts.accounting_lines, strict=True), 1
            )
        ],
    }


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


def _insert(session: Session, rows: Sequence[dict[str, Any]], now: datetime) -> set[UUID]:
    return set(session.scalars(_RECORD, {"facts": json.dumps(rows), "now": now}))


def _event(row: dict[str, Any], now: datetime) -> PurchaseReturned:
    moved = row["recorded_customer_id"] != row["customer_id"]
    return PurchaseReturned(
        customer_id=row["customer_id"],
        recorded_customer_id=row["recorded_customer_id"] if moved else None,
        source=row["source"],
        external_id=row["external_id"],
        occurred_at=row["occurred_at"],
        recorded_at=now,
        historical=row["historical"],
        currency=row["currency"],
        exchange_rate=row["exchange_rate"],
        return_id=row["return_id"],
        purchase_id=row.get("purchase_id"),
        amount_minor=row["amount_minor"],
        accounting_amount_minor=row["accounting_amount_minor"],
        net_left_minor=row.get("net_left_minor"),
        accounting_net_left_minor=row.get("accounting_net_left_minor"),
        lines=tuple(ReturnLine.model_validate(line) for line in row["lines"]),
        replacement_purchase_id=row.get("replacement_purchase_id"),
    )


def _text(value: UUID | None) -> str | None:
    return None if value is None else str(value)


def _always(facts: UnmatchedReturnFacts, amounts: Amounts, now: datetime) -> None:
    """Nothing more is asked of a return."""


_UNMATCHED = Noun(_EXISTING, unmatched_return_fingerprint, differs, _always, _write)
