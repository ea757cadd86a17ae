"""Recording purchases: one in one statement, many in a constant number of statements.

A purchase is a fact, unique by ``(source, external_id)``: told again it changes nothing, told differently it is
refused. Under a race the unique constraint decides; whoever loses waits for the winner's commit and then compares.
"""

from collections.abc import Iterator, Mapping, Sequence
from datetime import UTC, datetime
from uuid import UUID

from pydantic_core import to_json
from sqlalchemy import text
from sqlalchemy.orm import Session

from services.profile.domain import customers, new_customers, pricing, products, purchase_rows, recording
from services.profile.domain.purchase_rows import COLUMNS, FACTS, SELECTED, Known, Recorded
from services.profile.domain.recording import Candidate, Noun, Outcome
from services.profile.rules.amounts import Amounts, Unpriceable, price
from services.profile.rules.facts import PurchaseFacts
from services.profile.rules.fingerprint import fingerprint
from services.profile.rules.reckoning import SURELY_ANNOUNCEABLE, Reckoned
from services.profile.rules.written_purchases import columns, event, written
from shared import money
from shared.database import execute_alone
from shared.errors import Conflict, Invalid
from shared.events.profile import PurchaseRecorded
from shared.ids import uuid7
from shared.messaging.outbox import ANNOUNCE_SAID, LARGEST, announce_data, announce_now
from shared.tracing import current_traceparent

# The owner, and the customer to whom the name was given: it alone is locked, and its row says whom it answers as now.
_OWNER = "coalesce(c.merged_into, c.customer_id) as customer_id, c.customer_id as recorded_customer_id"
_KNOWN = {
    "by_name": f"""select {_OWNER} from f
        join customer_external_id x on x.source = f.customer_source and x.external_id = f.customer_external_id
        join customer c on c.customer_id = x.customer_id where c.state <> 'erased' for key share of c""",
    "by_id": f"""select {_OWNER} from f join customer c on c.customer_id = f.customer_id
        where c.state <> 'erased' for key share of c""",
    "anonymous": "select null::uuid as customer_id, null::uuid as recorded_customer_id",
}

# Everything a first report in the accounting currency needs, its event too: a transaction by itself, in one round trip.
# No row comes back if anything is out of the ordinary – customer unknown, currency not the accounting one, purchase known,
# a sku unknown, a date ahead –, and nothing was written: then the careful way finds out which.
_RECORD_ONE = {
    way: f"""
    with f as materialized (select * from json_to_record(%(facts)s::json) as f {FACTS}),
    bought as materialized (
        select l.* from f cross join json_to_recordset(f.lines) as l (line int, sku text, description text, brand text,
            category text, quantity int, unit_price numeric, discount_minor bigint, amount_minor bigint,
            accounting_amount_minor bigint, unit_cost_minor bigint)
    ),
    known as materialized ({known}),
    recorded as (
        insert into purchase ({COLUMNS}, customer_id, recorded_customer_id, recorded_at, historical)
        select {SELECTED}, known.customer_id, known.recorded_customer_id, now(),
            now() - f.occurred_at > make_interval(days => %(window)s::int)
        from f cross join known join accounting a on a.currency = f.currency
        where f.occurred_at <= now() + %(ahead)s::interval
            and not exists (
                select from bought where not exists (select from product where product.sku = bought.sku))
        on conflict (source, external_id) do nothing
        returning purchase_id, customer_id, recorded_customer_id, recorded_at, historical
    ), lines as (
        insert into purchase_line (purchase_id, line, sku, description, brand, category, quantity, unit_price,
            discount_minor, amount_minor, accounting_amount_minor, unit_cost_minor)
        select recorded.purchase_id, bought.* from recorded cross join bought
    ), said as (
        select %(topic)s::text as topic, coalesce(recorded_customer_id, purchase_id)::text as key,
            %(event_id)s::uuid as event_id, %(type)s::text as type,
            %(event)s::jsonb || jsonb_build_object('customer_id', customer_id, 'recorded_customer_id',
                nullif(recorded_customer_id, customer_id), 'recorded_at', recorded_at, 'historical', historical) as data,
            %(traceparent)s::text as traceparent, null::uuid as causation_id
        from recorded
    ), {ANNOUNCE_SAID}
    select customer_id, recorded_customer_id, recorded_at, historical from recorded
    """
    for way, known in _KNOWN.items()
}

_RECORD_MANY = text(
    f"""
    insert into purchase ({COLUMNS}, customer_id, recorded_customer_id, recorded_at, historical)
    select {SELECTED}, f.customer_id, f.recorded_customer_id, cast(:now as timestamptz), f.historical
    from json_to_recordset(cast(:facts as json)) as f {FACTS}
    order by f.source, f.external_id
    on conflict (source, external_id) do nothing
    returning purchase_id
    """
)
# What the database fills in when it records.
_NOT_YET = Known(None, None, datetime.fromtimestamp(0, UTC), False)

_EXISTING = text(
    """
    select p.source, p.external_id, p.purchase_id as id, p.customer_id, p.fingerprint
    from unnest(cast(:sources as text[]), cast(:external_ids as text[])) as n (source, external_id)
    join purchase p using (source, external_id)
    """
)


def record(session: Session, facts: PurchaseFacts) -> Recorded | None:
    """Record one purchase and announce it; None if it was recorded before with the same facts.

    Raises Conflict ``purchase_differs``, Invalid ``customer_unknown``, ``exchange_rate_required``,
    ``occurred_in_the_future`` and what pricing refuses, Gone ``customer_erased``.
    """
    recorded = _record_at_once(session, facts) if facts.exchange_rate is None else None
    if recorded is None and facts.exchange_rate is None and _make_its_customer(session, facts):
        recorded = _record_at_once(session, facts)
    if recorded is None:
        outcome = record_many(session, [facts], session.execute(text("select now()")).scalar_one())[0]
        if outcome.problem is not None:
            raise outcome.problem
        if outcome.recorded is not None:
            recorded = outcome.recorded._replace(lines=purchase_rows.lines(facts, outcome.recorded.amounts))
    return recorded


def record_many(session: Session, facts: Sequence[PurchaseFacts | Reckoned], now: datetime) -> list[Outcome]:
    """Record up to some thousand purchases (recording.record_many); ``recorded`` of a new one is its Recorded."""
    return recording.record_many(session, _PURCHASE, facts, now)


def differs() -> Conflict:
    return Conflict("purchase_differs", "this purchase was recorded with other facts")


def _record_at_once(session: Session, facts: PurchaseFacts) -> Recorded | None:
    if facts.currency not in money.EXPONENTS or len(facts.lines) > SURELY_ANNOUNCEABLE:
        return None
    try:
        amounts = price(facts.lines, money.EXPONENTS[facts.currency])
    except Unpriceable:
        return None
    ref = facts.customer
    way = "anonymous" if ref is None else "by_id" if ref.customer_id is not None else "by_name"
    purchase_id = uuid7()
    lines = purchase_rows.lines(facts, amounts)
    row = columns(facts, amounts, fingerprint(facts))
    row["purchase_id"] = purchase_id
    if ref is not None:
        row["customer_id"] = ref.customer_id
        row["customer_source"], row["customer_external_id"] = ref.source, ref.external_id
    row["lines"] = lines
    parameters = {
        "facts": to_json(row).decode(),
        "window": str(session.info["settings"].historical_after_days),
        "ahead": pricing.LONGEST_AHEAD,
        "topic": PurchaseRecorded.topic,
        "type": PurchaseRecorded.type,
        "event_id": uuid7(),
        "event": purchase_rows.event_data(purchase_id, _NOT_YET, event(facts, amounts)),
        "traceparent": current_traceparent(),
    }
    announce_now(session)  # what this transaction said before, if it did: events of one key keep their order
    found = execute_alone(session, _RECORD_ONE[way], parameters).fetchone()
    if found is None:
        return None
    owner, recorded_id, recorded_at, historical = found
    return Recorded(purchase_id, owner, recorded_id, recorded_at, historical, amounts, lines)


def _make_its_customer(session: Session, facts: PurchaseFacts) -> bool:
    """Whether the purchase's customer was nobody and is somebody now. Whoever refuses the purchase afterwards takes the
    customer back with the transaction."""
    ref = facts.customer
    if not facts.create_customer or ref is None or ref.source is None or ref.external_id is None:
        return False
    return new_customers.make_stranger(session, ref.source, ref.external_id, facts.occurred_at)


def _check_size(facts: PurchaseFacts, amounts: Amounts, now: datetime) -> None:
    if len(facts.lines) > SURELY_ANNOUNCEABLE:
        stand_in = Recorded(
            uuid7(), uuid7(), uuid7(), now, False, amounts, purchase_rows.lines(facts, amounts)
        )
        if len(purchase_rows.event(facts, stand_in).model_dump_json().encode()) > LARGEST:
            raise Invalid("event_too_large", f"a purchase must fit into an event of {LARGEST // 1000} KB")


def _write(
    session: Session, by_id: Mapping[UUID, Candidate[PurchaseFacts]], now: datetime
) -> dict[UUID, Recorded]:
    known = {
        id_: Known(
            one.customer_id,
            one.recorded_customer_id,
            now,
            customers.is_historical(session, one.facts.occurred_at, now),
        )
        for id_, one in by_id.items()
    }
    texts = {
        id_: one.written or written(one.facts, one.amounts, one.fingerprint) for id_, one in by_id.items()
    }
    rows = ",".join(purchase_rows.row(id_, known[id_], told.columns) for id_, told in texts.items())
    inserted = set(session.scalars(_RECORD_MANY, {"facts": f"[{rows}]", "now": now}))
    new = {id_: told for id_, told in texts.items() if id_ in inserted}
    events: list[tuple[str, str]] = []

    def lines() -> Iterator[tuple[UUID, str]]:
        for id_, told in new.items():
            yield id_, told.lines
            # While the database takes the lines.
            key = str(known[id_].recorded_customer_id or id_)
            events.append((key, purchase_rows.event_data(id_, known[id_], told.event)))

    purchase_rows.copy_lines(session, lines())
    products.mention_bought(session, list(new), now)
    announce_data(session, PurchaseRecorded, events)
    return {id_: Recorded(id_, *known[id_], by_id[id_].amounts, []) for id_ in new}


_PURCHASE = Noun(_EXISTING, fingerprint, differs, _check_size, _write)
