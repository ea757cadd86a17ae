"""Finding the purchase of a return that names none: by the rule as it is recorded, or by a person afterwards."""

import json
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime
from types import SimpleNamespace
from typing import Any
from uuid import UUID

from sqlalchemy import Row, text
from sqlalchemy.orm import Session

from services.profile.domain import purchase_reading, return_rows
from services.profile.domain.recording import Candidate
from services.profile.domain.return_rows import Told
from services.profile.rules.facts import ReturnedLine, UnmatchedReturnFacts
from services.profile.rules.return_matching import (
    LooseLine,
    LooseReturn,
    Match,
    OpenLine,
    OpenPurchase,
    choose,
    fit,
)
from services.profile.rules.returns import BoughtLine, Unreturnable, reverse
from shared.errors import Conflict, Fault, Invalid, NotFound
from shared.events.profile import ReturnMatched
from shared.messaging.outbox import announce

Candidates = Mapping[UUID, Candidate[UnmatchedReturnFacts]]
Name = tuple[str, str]

# Each customer's purchases are read once, whatever came back of them.
_OPEN = text(
    """
    with wanted as materialized (
        select distinct customer_id, recorded_customer_id, sku from unnest(cast(:owners as uuid[]),
            cast(:customers as uuid[]), cast(:skus as text[])) as w (customer_id, recorded_customer_id, sku)
    ), bought as materialized (
        select p.purchase_id, p.recorded_customer_id, p.currency, p.occurred_at
        from (select distinct customer_id, recorded_customer_id from wanted) c
        join purchase p on p.customer_id = c.customer_id and p.recorded_customer_id = c.recorded_customer_id
        where p.cancelled_at is null and p.occurred_at <= cast(:latest as timestamptz)
    )
    select bought.*, l.line, l.sku, l.unit_price, l.quantity - l.returned_quantity as left_over
    from bought join purchase_line l using (purchase_id)
    join wanted using (recorded_customer_id, sku)
    where l.quantity > l.returned_quantity
    """
)
_LOCK = text(
    """
    select * from purchase where purchase_id = any(cast(:ids as uuid[])) and cancelled_at is null
    order by purchase_id for no key update
    """
)
_LINES = text(
    """
    select purchase_id, line, sku, quantity, amount_minor, accounting_amount_minor, returned_quantity, unit_price
    from purchase_line where purchase_id = any(cast(:ids as uuid[])) order by purchase_id, line
    """
)
_FIND = text(
    "select return_id, recorded_customer_id from purchase_return where source = :source and external_id = :external_id"
)
_LOCK_RETURN = text("select * from purchase_return where return_id = :id for no key update")
_LOOSE_LINES = text("select sku, quantity from purchase_return_line where return_id = :id order by position")
_MATCH = text(
    """
    with f as materialized (
        select * from json_to_record(cast(:facts as json)) as f (return_id uuid, purchase_id uuid, customer_id uuid,
            recorded_customer_id uuid, exchange_rate numeric, amount_minor bigint, accounting_amount_minor bigint,
            net_left_minor bigint, accounting_net_left_minor bigint, lines json)
    ), matched as (
        update purchase_return r set purchase_id = f.purchase_id, customer_id = f.customer_id,
            recorded_customer_id = f.recorded_customer_id, exchange_rate = f.exchange_rate,
            amount_minor = f.amount_minor, accounting_amount_minor = f.accounting_amount_minor,
            net_left_minor = f.net_left_minor, accounting_net_left_minor = f.accounting_net_left_minor,
            matched_at = cast(:now as timestamptz), matched_by = :by, told_anonymous = r.recorded_customer_id is null
        from f where r.return_id = f.return_id
    ), back as (
        select f.return_id, f.purchase_id, l.* from f cross join json_to_recordset(f.lines) as l (position int, line int,
            sku text, quantity int, amount_minor bigint, accounting_amount_minor bigint)
    ), lines as (
        insert into purchase_return_line (return_id, position, line, sku, quantity, amount_minor, accounting_amount_minor)
        select return_id, position, line, sku, quantity, amount_minor, accounting_amount_minor from back
    ), bought as (
        update purchase_line l set returned_quantity = l.returned_quantity + back.quantity
        from back where l.purchase_id = back.purchase_id and l.line = back.line
    )
    update purchase p set returned_minor = p.returned_minor + f.amount_minor,
        accounting_returned_minor = p.accounting_returned_minor + f.accounting_amount_minor
    from f where p.purchase_id = f.purchase_id
    """
)
_FORGET_LINES = text("delete from purchase_return_line where return_id = :id")


def write(session: Session, by_id: Candidates, now: datetime) -> dict[UUID, bool]:
    """Record returns, each against the purchase that the rule finds, else unmatched; says which were matched.

    Should one of the names be taken by somebody else in this moment, all are chosen anew without it: what a return
    takes back depends on those before it.
    """
    waiting = dict(by_id)
    while waiting:
        with session.begin_nested() as savepoint:
            matched = _chosen(session, waiting, now)
            rows = [
                matched.get(return_id) or return_rows.unmatched(session, return_id, one, now)
                for return_id, one in waiting.items()
            ]
            inserted = return_rows.insert(session, rows, now)
            if len(inserted) == len(rows):
                return_rows.tell(session, rows, now)
                return {return_id: return_id in matched for return_id in waiting}
            savepoint.rollback()
        waiting = {return_id: one for return_id, one in waiting.items() if return_id in inserted}
    return {}


def match(
    session: Session, name: Name, purchase_name: Name, lines: Sequence[ReturnedLine], by: str, now: datetime
) -> bool:
    """Say of which purchase an unmatched return is, and announce what changes by that; False if that was said before.

    ``lines`` are the purchase's lines that came back; without any they are found by the sku. From then on the return
    reverses what these lines say, no longer what it was told to be worth. Raises NotFound ``return_not_found``; Invalid
    ``purchase_unknown``, ``line_unknown``; Conflict ``return_matched``, ``return_of_another_customer``,
    ``return_in_another_currency``, ``return_exceeds_purchase``, ``purchase_cancelled``; Gone.
    """
    found = session.execute(_FIND, {"source": name[0], "external_id": name[1]}).one_or_none()
    if found is None:
        raise NotFound("return_not_found", "no return is known under this name")
    try:
        purchase = purchase_reading.lock(session, *purchase_name)
    except NotFound:
        message = "the purchase is not known"
        faults = [Fault("/purchase", "purchase_unknown", message)]
        raise Invalid("purchase_unknown", message, faults=faults) from None
    loose = session.execute(_LOCK_RETURN, {"id": found.return_id}).one()
    if loose.purchase_id is not None:
        if loose.purchase_id == purchase.purchase_id:
            return False
        raise Conflict("return_matched", "this return is of another purchase")
    _check(loose, purchase)
    came_back = session.execute(_LOOSE_LINES, {"id": loose.return_id}).all()
    row = return_rows.of_purchase(
        session,
        Told(loose.return_id, *name, loose.occurred_at, bytes(loose.fingerprint)),
        purchase,
        _reversals(session, purchase, lines, [LooseLine(*line) for line in came_back]),
        now,
    )
    session.execute(_FORGET_LINES, {"id": loose.return_id})
    session.execute(_MATCH, {"facts": json.dumps(row), "now": now, "by": by})
    announce(
        session,
        ReturnMatched(
            **return_rows.said(row, now),
            unmatched_amount_minor=loose.amount_minor,
            accounting_unmatched_amount_minor=loose.accounting_amount_minor,
        ),
    )
    return True


def _check(loose: Row[Any], purchase: Row[Any]) -> None:
    if loose.recorded_customer_id not in (None, purchase.recorded_customer_id):
        # Nor across a merge: when that is undone, the return and its purchase would part.
        raise Conflict("return_of_another_customer", "the purchase was recorded for another customer")
    if loose.currency != purchase.currency:
        raise Conflict("return_in_another_currency", f"the purchase was made in {purchase.currency}")
    if purchase.cancelled_at is not None:
        raise Conflict("purchase_cancelled", "this purchase was called off: nothing more comes back of it")


def _reversals(
    session: Session, purchase: Row[Any], lines: Sequence[ReturnedLine], loose: Sequence[LooseLine]
) -> Any:
    bought, open_lines = _lines(session, [purchase.purchase_id])[purchase.purchase_id]
    wanted = lines or fit(loose, open_lines)
    if wanted is None:
        raise Conflict("return_exceeds_purchase", "not all of it can come back of this purchase")
    try:
        return reverse(bought, wanted)
    except Unreturnable as problem:
        kind = Conflict if problem.code == "return_exceeds_purchase" else Invalid
        faults = [Fault(f"/lines/{problem.position}", problem.code, str(problem))]
        raise kind(problem.code, str(problem), faults=faults) from None


def _chosen(session: Session, by_id: Candidates, now: datetime) -> dict[UUID, dict[str, Any]]:
    """The rows of the returns that the rule matches, their purchases locked in the order of their ids."""
    loose = {
        one.name: LooseReturn(
            one.name,
            one.recorded_customer_id,
            one.facts.currency,
            one.facts.occurred_at,
            [LooseLine(line.sku, line.quantity, line.unit_price) for line in one.facts.lines],
        )
        for one in by_id.values()
        if one.recorded_customer_id is not None
    }
    if not loose:
        return {}
    owners = {one.recorded_customer_id: one.customer_id for one in by_id.values()}
    asked = [
        (owners[one.customer_id], one.customer_id, line.sku) for one in loose.values() for line in one.lines
    ]
    found = session.execute(
        _OPEN,
        {
            "owners": [owner for owner, _, _ in asked],
            "customers": [customer for _, customer, _ in asked],
            "skus": [sku for _, _, sku in asked],
            "latest": max(one.occurred_at for one in loose.values()),
        },
    )
    chosen = choose(loose.values(), _purchases(found))
    ids = sorted({match.purchase_id for match in chosen.values()})
    if not ids:
        return {}
    # What was read before the lock may have come back meanwhile: then the return stays unmatched, for review.
    locked = {
        row.purchase_id: SimpleNamespace(**row._mapping) for row in session.execute(_LOCK, {"ids": ids})
    }
    standing = _lines(session, ids)
    rows = {}
    for return_id, one in sorted(by_id.items(), key=lambda item: (item[1].facts.occurred_at, item[1].name)):
        if (match := chosen.get(one.name)) and match.purchase_id in locked:
            row = _taken_back(session, return_id, one, match, locked, standing, now)
            if row is not None:
                rows[return_id] = row
    return rows


def _taken_back(
    session: Session,
    return_id: UUID,
    one: Candidate[UnmatchedReturnFacts],
    match: Match,
    locked: Mapping[UUID, SimpleNamespace],
    standing: Mapping[UUID, tuple[dict[int, BoughtLine], list[OpenLine]]],
    now: datetime,
) -> dict[str, Any] | None:
    """The return's row; what it takes back is gone for those after it."""
    purchase, bought = locked[match.purchase_id], standing[match.purchase_id][0]
    try:
        reversals = reverse(bought, match.lines)
    except Unreturnable:
        return None
    told = Told(return_id, *one.name, one.facts.occurred_at, one.fingerprint)
    row = return_rows.of_purchase(session, told, purchase, reversals, now)
    for line in reversals:
        before = bought[line.line]
        bought[line.line] = before._replace(returned_quantity=before.returned_quantity + line.quantity)
    purchase.returned_minor += row["amount_minor"]
    purchase.accounting_returned_minor += row["accounting_amount_minor"]
    return row


def _purchases(found: Iterable[Row[Any]]) -> list[OpenPurchase]:
    of: dict[UUID, OpenPurchase] = {}
    for row in found:
        if row.purchase_id not in of:
            of[row.purchase_id] = OpenPurchase(
                row.purchase_id, row.recorded_customer_id, row.currency, row.occurred_at, []
            )
        of[row.purchase_id].lines.append(OpenLine(row.line, row.sku, row.unit_price, row.left_over))
    return list(of.values())


def _lines(session: Session, ids: Sequence[UUID]) -> dict[UUID, tuple[dict[int, BoughtLine], list[OpenLine]]]:
    lines: dict[UUID, tuple[dict[int, BoughtLine], list[OpenLine]]] = defaultdict(lambda: ({}, []))
    for purchase_id, *bought, price in session.execute(_LINES, {"ids": ids}):
        line = BoughtLine(*bought)
        lines[purchase_id][0][line.line] = line
        lines[purchase_id][1].append(
            OpenLine(line.line, line.sku, price, line.quantity - line.returned_quantity)
        )
    return lines
