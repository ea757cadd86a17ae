"""What makes two reports of one purchase the same report.

A fact is immutable: told again in other words (``2.50`` for ``2.5``, another time zone, another order of keys) it is
the same; with any other content it is a conflict.
"""

from collections.abc import Iterable
from datetime import UTC, datetime
from decimal import Decimal
from functools import lru_cache
from hashlib import sha256

from services.profile.rules.facts import LineFacts, MatchedReturnFacts, PurchaseFacts, UnmatchedReturnFacts

# Separators that no accepted text holds (control characters are refused at the door).
_FIELD, _LINE, _PART = "\x1f", "\x1e", "\x1d"
_ABSENT = "\x00"


def fingerprint(facts: PurchaseFacts) -> bytes:
    """SHA-256 over the purchase's facts except its customer, who is compared by id: one customer has several names."""
    head = (
        "purchase",
        _time(facts.occurred_at),
        facts.currency,
        _decimal(facts.exchange_rate),
        _text(facts.channel),
        _text(facts.store),
        _text(facts.staff_id),
        _text(facts.tender),
        _text(facts.campaign_id),
        _LINE.join(facts.coupon_codes),
    )
    return _digest(head, _priced(facts.lines))


def unmatched_return_fingerprint(facts: UnmatchedReturnFacts) -> bytes:
    """The same for a return that names no purchase; its customer is compared by id, too."""
    head = ("unmatched", _time(facts.occurred_at), facts.currency, _decimal(facts.exchange_rate))
    return _digest(head, _priced(facts.lines))


def matched_return_fingerprint(facts: MatchedReturnFacts) -> bytes:
    head = (
        "matched",
        _time(facts.occurred_at),
        facts.purchase_source,
        facts.purchase_external_id,
        *(facts.replacement or (_ABSENT,)),
    )
    return _digest(head, (f"{line.line}{_FIELD}{line.quantity}" for line in facts.lines))


@lru_cache(maxsize=50_000)
def canonical(value: Decimal) -> str:
    """A decimal in the one way that this service writes it: no exponent, no trailing zeros."""
    return format(value.normalize(), "f")


def _priced(lines: tuple[LineFacts, ...]) -> list[str]:
    return [
        _FIELD.join(
            (
                line.sku,
                str(line.quantity),
                canonical(line.unit_price),
                str(line.discount_minor),
                _text(line.description),
                _text(line.brand),
                _text(line.category),
                _ABSENT if line.unit_cost_minor is None else str(line.unit_cost_minor),
            )
        )
        for line in lines
    ]


def _digest(head: tuple[str, ...], lines: Iterable[str]) -> bytes:
    return sha256(_PART.join((_FIELD.join(head), _LINE.join(lines))).encode()).digest()


def _time(value: datetime) -> str:
    return value.astimezone(UTC).isoformat()


def _decimal(value: Decimal | None) -> str:
    return _ABSENT if value is None else canonical(value)


def _text(value: str | None) -> str:
    return _ABSENT if value is None else value
