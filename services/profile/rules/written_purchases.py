"""A purchase as it is written: its row, its lines and its event, as far as what it says tells.

All is put together as text by hand: of a file of half a million lines it is most of what there is to do (541,909 rows:
0.9 s of CPU against 4.4 s through a model of each event).
"""

import json
from collections.abc import Sequence
from functools import lru_cache
from json.encoder import encode_basestring
from typing import Any, NamedTuple

from services.profile.rules.amounts import Amounts
from services.profile.rules.facts import LineFacts, PurchaseFacts
from services.profile.rules.fingerprint import canonical

# Of a COPY of lines, after the purchase's id.
LINE_COLUMNS = (
    "line, sku, description, brand, category, quantity, unit_price, discount_minor, amount_minor,"
    " accounting_amount_minor, unit_cost_minor"
)


class Written(NamedTuple):
    """``columns`` and ``event`` are the inside of JSON objects, to which ids, times and owners are added; no event carries
    descriptions. ``lines`` are those of a COPY in text format (``LINE_COLUMNS``), a line break between."""

    columns: str
    event: str
    lines: str


def written(facts: PurchaseFacts, amounts: Amounts, fingerprint: bytes) -> Written:
    priced = list(zip(facts.lines, amounts.lines, amounts.accounting_lines, strict=True))
    return Written(
        _encode(columns(facts, amounts, fingerprint))[1:-1], event(facts, amounts, priced), _lines(priced)
    )


def told(facts: PurchaseFacts, amounts: Amounts) -> dict[str, Any]:
    """What row, event and answer say alike of a purchase, as JSON has it."""
    return {
        "source": facts.source,
        "external_id": facts.external_id,
        "occurred_at": facts.occurred_at.isoformat().replace("+00:00", "Z"),
        "currency": facts.currency,
        "exchange_rate": None if facts.exchange_rate is None else canonical(facts.exchange_rate),
        "channel": facts.channel,
        "store": facts.store,
        "staff_id": facts.staff_id,
        "campaign_id": facts.campaign_id,
        "coupon_codes": facts.coupon_codes,
        "total_minor": amounts.total,
        "accounting_total_minor": amounts.accounting_total,
    }


def columns(facts: PurchaseFacts, amounts: Amounts, fingerprint: bytes) -> dict[str, Any]:
    """The columns of a purchase's row that follow from what it says."""
    return told(facts, amounts) | {"tender": facts.tender, "fingerprint": "\\x" + fingerprint.hex()}


def event(
    facts: PurchaseFacts, amounts: Amounts, priced: Sequence[tuple[LineFacts, int, int]] | None = None
) -> str:
    """What PurchaseRecorded says of these facts; ``priced`` are the lines with their amounts in both currencies."""
    text = _json_text
    lines = ",".join(
        [
            f'{{"line":{number},"sku":{text(line.sku)},"brand":{text(line.brand)},"category":{text(line.category)},'
            f'"quantity":{line.quantity},"unit_price":"{canonical(line.unit_price)}",'
            f'"discount_minor":{line.discount_minor},"amount_minor":{amount},"accounting_amount_minor":{accounting},'
            f'"unit_cost_minor":{"null" if line.unit_cost_minor is None else line.unit_cost_minor}}}'
            for number, (line, amount, accounting) in enumerate(
                priced or zip(facts.lines, amounts.lines, amounts.accounting_lines, strict=True), 1
            )
        ]
    )
    return f'{_encode(told(facts, amounts))[1:-1]},"lines":[{lines}]'


def _lines(priced: Sequence[tuple[LineFacts, int, int]]) -> str:
    text = _copy_text
    return "\n".join(
        [
            f"{number}\t{text(line.sku)}\t{text(line.description)}\t{text(line.brand)}\t{text(line.category)}"
            f"\t{line.quantity}\t{line.unit_price}\t{line.discount_minor}\t{amount}\t{accounting}"
            f"\t{_NULL if line.unit_cost_minor is None else line.unit_cost_minor}"
            for number, (line, amount, accounting) in enumerate(priced, 1)
        ]
    )


_encode = json.JSONEncoder(ensure_ascii=False, separators=(",", ":"), check_circular=False).encode
_NULL = "\\N"
_ESCAPES = str.maketrans({"\\": "\\\\", "\t": "\\t", "\n": "\\n", "\r": "\\r"})


# The same codes, brands and descriptions stand in many lines.
@lru_cache(maxsize=50_000)
def _json_text(text: str | None) -> str:
    return "null" if text is None else encode_basestring(text)


@lru_cache(maxsize=50_000)
def _copy_text(text: str | None) -> str:
    return _NULL if text is None else text.translate(_ESCAPES)
