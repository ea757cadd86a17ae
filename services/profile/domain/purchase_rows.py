"""How a purchase looks on its way into the database and into its event."""

import json
from collections.abc import Iterable
from datetime import datetime
from functools import lru_cache
from json.encoder import encode_basestring
from typing import Any, NamedTuple
from uuid import UUID

from sqlalchemy.orm import Session

from services.profile.rules.amounts import Amounts
from services.profile.rules.facts import PurchaseFacts
from services.profile.rules.fingerprint import canonical
from shared.events.profile import PurchaseRecorded


class Recorded(NamedTuple):
    """A purchase just recorded, as the database has it; ``lines`` only where somebody asks for one purchase."""

    purchase_id: UUID
    customer_id: UUID | None
    recorded_customer_id: UUID | None
    recorded_at: datetime
    historical: bool
    amounts: Amounts
    lines: list[dict[str, Any]]


class Known(NamedTuple):
    """What the database adds to a purchase's facts."""

    customer_id: UUID | None
    recorded_customer_id: UUID | None
    recorded_at: datetime
    historical: bool


# The columns that a report of a purchase fills, as one JSON object per purchase: one parameter of one type, whatever
# is absent, so that the statement stays prepared.
FACTS = """(purchase_id uuid, source text, external_id text, occurred_at timestamptz, currency text,
    exchange_rate numeric, channel text, store text, staff_id text, tender text, campaign_id text, coupon_codes text[],
    total_minor bigint, accounting_total_minor bigint, fingerprint bytea, customer_id uuid, recorded_customer_id uuid,
    customer_source text, customer_external_id text, historical boolean, lines json)"""
COLUMNS = """purchase_id, source, external_id, occurred_at, currency, exchange_rate, channel, store, staff_id, tender,
    campaign_id, coupon_codes, total_minor, accounting_total_minor, fingerprint"""
SELECTED = ", ".join(f"f.{name.strip()}" for name in COLUMNS.split(","))

_COPY_LINES = """copy purchase_line (purchase_id, line, sku, description, brand, category, quantity, unit_price,
    discount_minor, amount_minor, accounting_amount_minor, unit_cost_minor) from stdin (format binary)"""
_LINE_TYPES = [
    "uuid",
    "int4",
    "text",
    "text",
    "text",
    "text",
    "int4",
    "numeric",
    "int8",
    "int8",
    "int8",
    "int8",
]


def row(
    purchase_id: UUID, facts: PurchaseFacts, amounts: Amounts, print_: bytes, customer_id: UUID | None
) -> dict[str, Any]:
    """A purchase as the statements read it (``FACTS``)."""
    return {
        "purchase_id": str(purchase_id),
        "source": facts.source,
        "external_id": facts.external_id,
        "occurred_at": facts.occurred_at.isoformat(),
        "currency": facts.currency,
        "exchange_rate": None if facts.exchange_rate is None else canonical(facts.exchange_rate),
        "channel": facts.channel,
        "store": facts.store,
        "staff_id": facts.staff_id,
        "tender": facts.tender,
        "campaign_id": facts.campaign_id,
        "coupon_codes": facts.coupon_codes,
        "total_minor": amounts.total,
        "accounting_total_minor": amounts.accounting_total,
        "fingerprint": "\\x" + print_.hex(),
        "customer_id": None if customer_id is None else str(customer_id),
    }


def lines(facts: PurchaseFacts, amounts: Amounts) -> list[dict[str, Any]]:
    return [
        {
            "line": number,
            "sku": line.sku,
            "description": line.description,
            "brand": line.brand,
            "category": line.category,
            "quantity": line.quantity,
            "unit_price": canonical(line.unit_price),
            "discount_minor": line.discount_minor,
            "amount_minor": amount,
            "accounting_amount_minor": accounting_amount,
            "unit_cost_minor": line.unit_cost_minor,
        }
        for number, (line, amount, accounting_amount) in enumerate(
            zip(facts.lines, amounts.lines, amounts.accounting_lines, strict=True), 1
        )
    ]


def event(facts: PurchaseFacts, recorded: Recorded) -> PurchaseRecorded:
    moved = recorded.recorded_customer_id != recorded.customer_id
    return PurchaseRecorded(
        customer_id=recorded.customer_id,
        recorded_customer_id=recorded.recorded_customer_id if moved else None,
        source=facts.source,
        external_id=facts.external_id,
        occurred_at=facts.occurred_at,
        recorded_at=recorded.recorded_at,
        historical=recorded.historical,
        currency=facts.currency,
        exchange_rate=None if facts.exchange_rate is None else canonical(facts.exchange_rate),
        purchase_id=recorded.purchase_id,
        channel=facts.channel,
        store=facts.store,
        staff_id=facts.staff_id,
        total_minor=recorded.amounts.total,
        accounting_total_minor=recorded.amounts.accounting_total,
        coupon_codes=facts.coupon_codes,
        campaign_id=facts.campaign_id,
        lines=recorded.lines,  # parsed by the event, which leaves the descriptions out
    )


def event_data(id_: UUID, facts: PurchaseFacts, amounts: Amounts, known: Known) -> str:
    """The data of ``event`` as JSON, for those who tell many: a fifth of the time that validating and dumping the event
    takes (541,909 rows: 0.9 s of CPU against 4.4 s). A test holds the two together."""
    moved = known.recorded_customer_id != known.customer_id
    data = {
        "customer_id": _text(known.customer_id),
        "recorded_customer_id": _text(known.recorded_customer_id) if moved else None,
        "source": facts.source,
        "external_id": facts.external_id,
        "occurred_at": _moment(facts.occurred_at),
        "recorded_at": _moment(known.recorded_at),
        "historical": known.historical,
        "currency": facts.currency,
        "exchange_rate": None if facts.exchange_rate is None else canonical(facts.exchange_rate),
        "purchase_id": str(id_),
        "channel": facts.channel,
        "store": facts.store,
        "staff_id": facts.staff_id,
        "total_minor": amounts.total,
        "accounting_total_minor": amounts.accounting_total,
        "coupon_codes": facts.coupon_codes,
        "campaign_id": facts.campaign_id,
    }
    return f'{_encode(data)[:-1]},"lines":[{_lines_data(facts, amounts)}]}}'


def _lines_data(facts: PurchaseFacts, amounts: Amounts) -> str:
    """The lines as JSON, put together by hand: most of an import's CPU would go into a dictionary for each."""
    text = _json_text
    return ",".join(
        [
            f'{{"line":{number},"sku":{text(line.sku)},"brand":{text(line.brand)},"category":{text(line.category)},'
            f'"quantity":{line.quantity},"unit_price":"{canonical(line.unit_price)}",'
            f'"discount_minor":{line.discount_minor},"amount_minor":{amount},"accounting_amount_minor":{accounting},'
            f'"unit_cost_minor":{"null" if line.unit_cost_minor is None else line.unit_cost_minor}}}'
            for number, (line, amount, accounting) in enumerate(
                zip(facts.lines, amounts.lines, amounts.accounting_lines, strict=True), 1
            )
        ]
    )


@lru_cache(maxsize=50_000)
def _json_text(text: str | None) -> str:
    """The same codes and brands stand in many lines."""
    return "null" if text is None else encode_basestring(text)


_encode = json.JSONEncoder(ensure_ascii=False, separators=(",", ":"), check_circular=False).encode


def _moment(value: datetime) -> str:
    return value.isoformat().replace("+00:00", "Z")


def _text(value: UUID | None) -> str | None:
    return None if value is None else str(value)


def copy_lines(session: Session, told: Iterable[tuple[UUID, PurchaseFacts, Amounts]]) -> None:
    """COPY, because lines are most of what an import writes (facts: 341k rows/s against 71-134k by unnest)."""
    connection: Any = session.connection().connection.driver_connection
    with connection.cursor() as cursor, cursor.copy(_COPY_LINES) as copy:
        copy.set_types(_LINE_TYPES)
        write = copy.write_row
        for purchase_id, facts, amounts in told:
            priced = zip(facts.lines, amounts.lines, amounts.accounting_lines, strict=True)
            for number, (line, amount, accounting_amount) in enumerate(priced, 1):
                write(
                    (
                        purchase_id,
                        number,
                        line.sku,
                        line.description,
                        line.brand,
                        line.category,
                        line.quantity,
                        line.unit_price,
                        line.discount_minor,
                        amount,
                        accounting_amount,
                        line.unit_cost_minor,
                    )
                )
