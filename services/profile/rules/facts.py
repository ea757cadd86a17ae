"""What the outside world tells about purchases and returns, normalised: the shape that routes and imports share.

Whoever makes these has already checked types and lengths; prices are exact decimals, times are aware.
"""

from datetime import datetime
from decimal import Decimal
from typing import NamedTuple
from uuid import UUID


class CustomerRef(NamedTuple):
    """A customer by its id, or by the name an outside system has for it."""

    customer_id: UUID | None = None
    source: str | None = None
    external_id: str | None = None


class LineFacts(NamedTuple):
    """One line as bought: ``quantity`` pieces at ``unit_price`` whole units of the currency, less ``discount_minor``."""

    sku: str
    quantity: int
    unit_price: Decimal
    discount_minor: int = 0
    description: str | None = None
    brand: str | None = None
    category: str | None = None
    unit_cost_minor: int | None = None


class PurchaseFacts(NamedTuple):
    """A purchase as somebody reports it. ``customer`` None = anonymous.

    ``exchange_rate`` is accounting units per unit of ``currency``. ``create_customer`` is a wish, not a fact: an
    unknown customer is made instead of refused.
    """

    source: str
    external_id: str
    occurred_at: datetime
    currency: str
    lines: tuple[LineFacts, ...]
    customer: CustomerRef | None = None
    exchange_rate: Decimal | None = None
    channel: str | None = None
    store: str | None = None
    staff_id: str | None = None
    tender: str | None = None
    campaign_id: str | None = None
    coupon_codes: tuple[str, ...] = ()
    create_customer: bool = False


class ReturnedLine(NamedTuple):
    """``quantity`` pieces of a purchase's line that came back."""

    line: int
    quantity: int


class UnmatchedReturnFacts(NamedTuple):
    """A return that names no purchase; its lines are priced like a purchase's."""

    source: str
    external_id: str
    occurred_at: datetime
    currency: str
    lines: tuple[LineFacts, ...]
    customer: CustomerRef | None = None
    exchange_rate: Decimal | None = None
    create_customer: bool = False


class MatchedReturnFacts(NamedTuple):
    """A return against the lines of the purchase ``(purchase_source, purchase_external_id)``."""

    source: str
    external_id: str
    occurred_at: datetime
    purchase_source: str
    purchase_external_id: str
    lines: tuple[ReturnedLine, ...]
    replacement: tuple[str, str] | None = None
