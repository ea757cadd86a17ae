"""How a return looks on its way into the database and into its event."""

import json
from collections.abc import Sequence
from datetime import datetime
from types import SimpleNamespace
from typing import Any, NamedTuple
from uuid import UUID

from sqlalchemy import Row, text
from sqlalchemy.orm import Session

from services.profile.domain import customers
from services.profile.domain.recording import Candidate
from services.profile.rules.facts import UnmatchedReturnFacts
from services.profile.rules.fingerprint import canonical
from services.profile.rules.returns import ReversedLine
from shared.events.profile import PurchaseReturned, ReturnLine
from shared.messaging.outbox import announce

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
        update purchase_line set returned_quantity = returned_quantity + back.quantity
        from (
            select recorded.purchase_id, lines.line, sum(lines.quantity) as quantity
            from lines join recorded using (return_id) where recorded.purchase_id is not null group by 1, 2
        ) back
        where purchase_line.purchase_id = back.purchase_id and purchase_line.line = back.line
    ), left_over as (
        update purchase set returned_minor = returned_minor + back.amount,
            accounting_returned_minor = accounting_returned_minor + back.accounting_amount
        from (
            select purchase_id, sum(amount_minor) as amount, sum(accounting_amount_minor) as accounting_amount
            from recorded where purchase_id is not null group by 1
        ) back
        where purchase.purchase_id = back.purchase_id
    )
    select return_id from recorded
    """
)


class Told(NamedTuple):
    """What a return is by itself, whatever it takes back."""

    return_id: UUID
    source: str
    external_id: str
    occurred_at: datetime
    fingerprint: bytes


def insert(session: Session, rows: Sequence[dict[str, Any]], now: datetime) -> set[UUID]:
    """Record returns with all that they change of their purchases; the ids of those whose name was free."""
    return set(session.scalars(_RECORD, {"facts": json.dumps(rows), "now": now}))


def tell(session: Session, rows: Sequence[dict[str, Any]], now: datetime) -> None:
    announce(session, *(PurchaseReturned(**said(row, now)) for row in rows))


def of_purchase(
    session: Session,
    told: Told,
    purchase: Row[Any] | SimpleNamespace,
    reversals: Sequence[ReversedLine],
    now: datetime,
    replacement_id: UUID | None = None,
) -> dict[str, Any]:
    """A return that takes ``reversals`` of a locked ``purchase`` back."""
    amount = sum(line.amount_minor for line in reversals)
    accounting_amount = sum(line.accounting_amount_minor for line in reversals)
    return {
        "return_id": str(told.return_id),
        "source": told.source,
        "external_id": told.external_id,
        "purchase_id": str(purchase.purchase_id),
        "customer_id": _text(purchase.customer_id),
        "recorded_customer_id": _text(purchase.recorded_customer_id),
        "occurred_at": told.occurred_at.isoformat(),
        "historical": customers.is_historical(session, told.occurred_at, now),
        "currency": purchase.currency,
        "exchange_rate": None if purchase.exchange_rate is None else canonical(purchase.exchange_rate),
        "amount_minor": amount,
        "accounting_amount_minor": accounting_amount,
        "net_left_minor": purchase.total_minor - purchase.returned_minor - amount,
        "accounting_net_left_minor": (
            purchase.accounting_total_minor - purchase.accounting_returned_minor - accounting_amount
        ),
        "replacement_purchase_id": _text(replacement_id),
        "fingerprint": "\\x" + told.fingerprint.hex(),
        "lines": [{"position": position, **line._asdict()} for position, line in enumerate(reversals, 1)],
    }


def unmatched(
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


def said(row: dict[str, Any], now: datetime) -> dict[str, Any]:
    """What the event of a return carries."""
    moved = row["recorded_customer_id"] != row["customer_id"]
    return {
        "customer_id": row["customer_id"],
        "recorded_customer_id": row["recorded_customer_id"] if moved else None,
        "source": row["source"],
        "external_id": row["external_id"],
        "occurred_at": row["occurred_at"],
        "recorded_at": now,
        "historical": row["historical"],
        "currency": row["currency"],
        "exchange_rate": row["exchange_rate"],
        "return_id": row["return_id"],
        "purchase_id": row.get("purchase_id"),
        "amount_minor": row["amount_minor"],
        "accounting_amount_minor": row["accounting_amount_minor"],
        "net_left_minor": row.get("net_left_minor"),
        "accounting_net_left_minor": row.get("accounting_net_left_minor"),
        "lines": tuple(ReturnLine.model_validate(line) for line in row["lines"]),
        "replacement_purchase_id": row.get("replacement_purchase_id"),
    }


def _text(value: UUID | None) -> str | None:
    return None if value is None else str(value)
