"""How a purchase looks on its way into the database and into its event."""

from collections.abc import Iterable
from datetime import datetime
from typing import Any, NamedTuple
from uuid import UUID

from sqlalchemy.orm import Session

from services.profile.rules.amounts import Amounts
from services.profile.rules.facts import PurchaseFacts
from services.profile.rules.fingerprint import canonical
from services.profile.rules.written_purchases import LINE_COLUMNS
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

_COPY_LINES = f"copy purchase_line (purchase_id, {LINE_COLUMNS}) from stdin"


def row(id_: UUID, known: Known, columns: str) -> str:
    """A purchase as ``FACTS`` reads it, ``columns`` as written_purchases writes them."""
    return (
        f'{{"purchase_id":"{id_}","customer_id":{_quoted(known.customer_id)},'
        f'"recorded_customer_id":{_quoted(known.recorded_customer_id)},'
        f'"historical":{_BOOLEAN[known.historical]},{columns}}}'
    )


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


def event_data(id_: UUID, known: Known, said: str) -> str:
    """The data of ``event`` as JSON, for those who tell many; ``said`` as written_purchases writes it. A test holds the
    two together."""
    moved = known.recorded_customer_id if known.recorded_customer_id != known.customer_id else None
    recorded_at = known.recorded_at.isoformat().replace("+00:00", "Z")
    return (
        f'{{"purchase_id":"{id_}","customer_id":{_quoted(known.customer_id)},"recorded_customer_id":{_quoted(moved)},'
        f'"recorded_at":"{recorded_at}","historical":{_BOOLEAN[known.historical]},{said}}}'
    )


_BOOLEAN = {True: "true", False: "false"}


def _quoted(id_: UUID | None) -> str:
    return "null" if id_ is None else f'"{id_}"'


def copy_lines(session: Session, told: Iterable[tuple[UUID, str]]) -> None:
    """The lines of purchases, as written_purchases writes them. COPY, because lines are most of what an import writes (facts:
    341k rows/s against 71-134k by unnest)."""
    connection: Any = session.connection().connection.driver_connection
    with connection.cursor() as cursor, cursor.copy(_COPY_LINES) as copy:
        for purchase_id, rows in told:
            copy.write(f"{purchase_id}\t" + rows.replace("\n", f"\n{purchase_id}\t") + "\n")
