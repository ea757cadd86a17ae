"""Recording purchases: one in one statement, many in a constant number of statements.

A purchase is a fact, unique by ``(source, external_id)``: told again it changes nothing, told differently it is
refused. Under a race the unique constraint decides; whoever loses waits for the winner's commit and then compares.
"""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Literal, NamedTuple
from uuid import UUID

from sqlalchemy import text
from sqlalchemy.orm import Session

from services.profile.domain import accounting, customers, pricing, purchase_rows
from services.profile.domain.purchase_rows import COLUMNS, FACTS, SELECTED, Recorded
from services.profile.rules.amounts import Amounts, Unpriceable, price
from services.profile.rules.facts import CustomerRef, PurchaseFacts
from services.profile.rules.fingerprint import fingerprint
from shared import money
from shared.database import execute_hot
from shared.errors import Conflict, Invalid, Refusal
from shared.ids import uuid7
from shared.messaging.outbox import LARGEST, announce


class Outcome(NamedTuple):
    """What became of one purchase of many; ``problem`` says why it differs or was refused."""

    state: Literal["recorded", "unchanged", "differs", "refused"]
    purchase_id: UUID | None = None
    customer_id: UUID | None = None
    problem: Refusal | None = None
    recorded: Recorded | None = None


_KNOWN = {
    "by_name": """select c.customer_id from f
        join customer_external_id x on x.source = f.customer_source and x.external_id = f.customer_external_id
        join customer c on c.customer_id = x.customer_id where c.state = 'active' for key share of c""",
    "by_id": """select c.customer_id from f join customer c on c.customer_id = f.customer_id
        where c.state = 'active' for key share of c""",
    "anonymous": "select null::uuid as customer_id",
}

# Everything a first report in the accounting currency needs, in one round trip. No row comes back if anything is out
# of the ordinary – customer unknown, currency not the accounting one, purchase known, a date ahead –, and nothing was
# written: then the careful way finds out which.
_RECORD_ONE = {
    way: f"""
    with f as materialized (select * from json_to_record(%(facts)s::json) as f {FACTS}),
    known as materialized ({known}),
    recorded as (
        insert into purchase ({COLUMNS}, customer_id, recorded_customer_id, recorded_at, historical)
        select {SELECTED}, known.customer_id, known.customer_id, now(),
            now() - f.occurred_at > make_interval(days => %(window)s::int)
        from f cross join known join accounting a on a.currency = f.currency
        where f.occurred_at <= now() + %(ahead)s::interval
        on conflict (source, external_id) do nothing
        returning purchase_id, customer_id, recorded_at, historical
    ), lines as (
        insert into purchase_line (purchase_id, line, sku, description, brand, category, quantity, unit_price,
            discount_minor, amount_minor, accounting_amount_minor, unit_cost_minor)
        select recorded.purchase_id, l.*
        from recorded cross join f cross join json_to_recordset(f.lines) as l (line int, sku text, description text,
            brand text, category text, quantity int, unit_price numeric, discount_minor bigint, amount_minor bigint,
            accounting_amount_minor bigint, unit_cost_minor bigint)
    )
    select customer_id, recorded_at, historical from recorded
    """
    for way, known in _KNOWN.items()
}

_RECORD_MANY = text(
    f"""
    insert into purchase ({COLUMNS}, customer_id, recorded_customer_id, recorded_at, historical)
    select {SELECTED}, f.customer_id, f.customer_id, cast(:now as timestamptz), f.historical
    from json_to_recordset(cast(:facts as json)) as f {FACTS}
    order by f.source, f.external_id
    on conflict (source, external_id) do nothing
    returning purchase_id
    """
)
# A line takes at most 3.5 KB of its event (the longest names, four bytes a character), an event 900 KB.
_SURELY_ANNOUNCEABLE = 250

_EXISTING = text(
    """
    select p.source, p.external_id, p.purchase_id, p.customer_id, p.fingerprint
    from unnest(cast(:sources as text[]), cast(:external_ids as text[])) as n (source, external_id)
    join purchase p using (source, external_id)
    """
)


def record(session: Session, facts: PurchaseFacts) -> Recorded | None:
    """Record one purchase and announce it; None if it was recorded before with the same facts.

    Raises Conflict ``purchase_differs``, Invalid ``customer_unknown``, ``exchange_rate_required``,
    ``occurred_in_the_future`` and what pricing refuses, Gone ``customer_erased``.
    """
    if facts.exchange_rate is None and (recorded := _record_at_once(session, facts)):
        return recorded
    outcome = record_many(session, [facts], session.execute(text("select now()")).scalar_one())[0]
    if outcome.problem is not None:
        raise outcome.problem
    return outcome.recorded


def record_many(session: Session, facts: Sequence[PurchaseFacts], now: datetime) -> list[Outcome]:
    """Record up to some thousand purchases and announce them, in a constant number of statements.

    Each is recorded whole or not at all, and what is wrong with one is its own outcome, in the order of ``facts``;
    a purchase that stands twice in ``facts`` is compared with its first. ``now`` is the transaction's database time.
    """
    owners = customers.resolve_many(session, (one.customer for one in facts if one.customer is not None))
    currency = accounting.currency(session) or (facts[0].currency if facts else "")
    outcomes: dict[int, Outcome] = {}
    candidates = []
    for position, one in enumerate(facts):
        try:
            candidates.append(_prepare(position, one, owners, currency, now))
        except Refusal as problem:
            outcomes[position] = Outcome("refused", problem=problem)
    if candidates and accounting.fixed_currency(session, currency) != currency:
        return record_many(session, facts, now)  # another first purchase, in another currency, was faster
    while candidates:
        candidates = _record_round(session, candidates, outcomes, now)
    return [outcomes[position] for position in range(len(facts))]


def differs() -> Conflict:
    return Conflict("purchase_differs", "this purchase was recorded with other facts")


def _record_at_once(session: Session, facts: PurchaseFacts) -> Recorded | None:
    if facts.currency not in money.EXPONENTS:
        return None
    try:
        amounts = price(facts.lines, money.EXPONENTS[facts.currency])
    except Unpriceable:
        return None
    ref = facts.customer
    way = "anonymous" if ref is None else "by_id" if ref.customer_id is not None else "by_name"
    purchase_id = uuid7()
    lines = purchase_rows.lines(facts, amounts)
    row = purchase_rows.row(purchase_id, facts, amounts, fingerprint(facts), ref and ref.customer_id)
    if ref is not None:
        row["customer_source"], row["customer_external_id"] = ref.source, ref.external_id
    row["lines"] = lines
    parameters = {
        "facts": json.dumps(row),
        "window": str(session.info["settings"].historical_after_days),
        "ahead": pricing.LONGEST_AHEAD,
    }
    found = execute_hot(session, _RECORD_ONE[way], parameters).fetchone()
    if found is None:
        return None
    customer_id, recorded_at, historical = found
    recorded = Recorded(purchase_id, customer_id, recorded_at, historical, amounts, lines)
    announce(session, purchase_rows.event(facts, recorded))
    return recorded


@dataclass(slots=True)
class _Candidate:
    """A purchase that may be recorded, at its ``position`` in the batch. ``customer_id`` None: anonymous, or to be
    made (``facts.customer`` is then set)."""

    position: int
    facts: PurchaseFacts
    amounts: Amounts
    fingerprint: bytes
    customer_id: UUID | None

    @property
    def name(self) -> tuple[str, str]:
        return (self.facts.source, self.facts.external_id)


def _prepare(
    position: int,
    facts: PurchaseFacts,
    owners: dict[CustomerRef, tuple[UUID, str]],
    accounting_currency: str,
    now: datetime,
) -> _Candidate:
    """Everything that can be wrong with a purchase by itself. Raises Invalid, Gone."""
    pricing.check_time(facts.occurred_at, now)
    facts = facts._replace(
        exchange_rate=pricing.settle_rate(facts.currency, facts.exchange_rate, accounting_currency)
    )
    amounts = pricing.priced(facts, accounting_currency)
    if len(facts.lines) > _SURELY_ANNOUNCEABLE:
        stand_in = Recorded(uuid7(), uuid7(), now, False, amounts, purchase_rows.lines(facts, amounts))
        if len(purchase_rows.event(facts, stand_in).model_dump_json().encode()) > LARGEST:
            raise Invalid("event_too_large", f"a purchase must fit into an event of {LARGEST // 1000} KB")
    customer_id = None
    if facts.customer is not None:
        customer_id = customers.owner_of(facts.customer, owners, create=facts.create_customer)
    return _Candidate(position, facts, amounts, fingerprint(facts), customer_id)


def _record_round(
    session: Session, candidates: Sequence[_Candidate], outcomes: dict[int, Outcome], now: datetime
) -> list[_Candidate]:
    """Compare what is known, record the first of each name that is not; returns who has to be looked at again."""
    existing = {
        (row.source, row.external_id): row
        for row in session.execute(
            _EXISTING,
            {
                "sources": [one.facts.source for one in candidates],
                "external_ids": [one.facts.external_id for one in candidates],
            },
        )
    }
    customers.resolve_late(session, [one for one in candidates if one.name in existing])
    new: dict[tuple[str, str], _Candidate] = {}
    again = []
    for one in candidates:
        if known := existing.get(one.name):
            same = known.fingerprint == one.fingerprint and known.customer_id == one.customer_id
            outcomes[one.position] = Outcome(
                "unchanged" if same else "differs",
                known.purchase_id,
                known.customer_id,
                None if same else differs(),
            )
        elif new.setdefault(one.name, one) is not one:
            again.append(one)
    return again + _record_new(session, list(new.values()), outcomes, now)


def _record_new(
    session: Session, new: Sequence[_Candidate], outcomes: dict[int, Outcome], now: datetime
) -> list[_Candidate]:
    """Record purchases of different names; returns those that somebody else recorded in this moment."""
    customers.ensure_strangers(session, new, now)
    active = customers.lock_many(session, (one.customer_id for one in new if one.customer_id is not None))
    by_id = {}
    for one in new:
        if one.facts.customer is None or one.customer_id in active:
            by_id[uuid7()] = one
        else:  # erased or merged since it was looked up
            outcomes[one.position] = Outcome("refused", problem=customers.erased())
    if not by_id:
        return []

    rows = []
    for purchase_id, one in by_id.items():
        row = purchase_rows.row(purchase_id, one.facts, one.amounts, one.fingerprint, one.customer_id)
        row["historical"] = customers.is_historical(session, one.facts.occurred_at, now)
        rows.append(row)
    inserted = set(session.scalars(_RECORD_MANY, {"facts": json.dumps(rows), "now": now}))
    lines = {
        purchase_id: purchase_rows.lines(by_id[purchase_id].facts, by_id[purchase_id].amounts)
        for purchase_id in inserted
    }
    purchase_rows.copy_lines(session, lines)

    events = []
    for purchase_id, one in by_id.items():
        if purchase_id in inserted:
            historical = customers.is_historical(session, one.facts.occurred_at, now)
            recorded = Recorded(
                purchase_id, one.customer_id, now, historical, one.amounts, lines[purchase_id]
            )
            outcomes[one.position] = Outcome("recorded", purchase_id, one.customer_id, recorded=recorded)
            events.append(purchase_rows.event(one.facts, recorded))
    announce(session, *events)
    return [one for purchase_id, one in by_id.items() if purchase_id not in inserted]
