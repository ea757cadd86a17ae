"""What the profile service announces."""

from datetime import date
from typing import Annotated, ClassVar
from uuid import UUID

from pydantic import BaseModel, ConfigDict

from shared.events.envelope import CustomerEvent, Event, Timestamp, open_enumeration

CUSTOMER_TOPIC = "regulars.profile.customer.v1"
PRODUCT_TOPIC = "regulars.profile.product.v1"

Kind = Annotated[str, open_enumeration("person", "organisation")]
Purpose = Annotated[str, open_enumeration("marketing", "profiling", "personalisation", "survey", "sharing")]
Channel = Annotated[str, open_enumeration("email", "sms", "phone", "wechat", "push", "in_app")]
ConfirmationKind = Annotated[str, open_enumeration("opt_in", "sign_up", "refresh")]
ConsentState = Annotated[str, open_enumeration("granted", "denied", "withdrawn", "expired")]


class Part(BaseModel):
    """A part of an event's data."""

    model_config = ConfigDict(frozen=True, extra="ignore")


class ExternalId(Part):
    """How an outside system names the customer."""

    source: str
    external_id: str


class CustomerFacts(CustomerEvent):
    """Coarse facts about a customer; never a name, an address or free text.

    ``birth_month_day`` is ``MM-DD``; ``historical`` says that the customer became one (``registered_at``) before the
    trigger's window, so that nobody is welcomed by a migration.
    """

    topic: ClassVar[str] = CUSTOMER_TOPIC

    kind: Kind
    external_ids: tuple[ExternalId, ...] = ()
    country: str | None = None
    region: str | None = None
    language: str | None = None
    time_zone: str | None = None
    birth_month_day: str | None = None
    acquisition_channel: str | None = None
    tags: tuple[str, ...] = ()
    registered_at: Timestamp
    historical: bool = False


class CustomerRegistered(CustomerFacts):
    """A customer became known."""

    type: ClassVar[str] = "regulars.profile.customer_registered.v1"


class CustomerUpdated(CustomerFacts):
    """The coarse facts about a customer changed; carries all of them."""

    type: ClassVar[str] = "regulars.profile.customer_updated.v1"


class CustomersMerged(CustomerEvent):
    """Two records turned out to be one customer: ``loser_id`` answers as ``winner_id`` from now on.

    Announced under both keys; ``customer_id`` is the one whose past this copy moves.
    """

    topic: ClassVar[str] = CUSTOMER_TOPIC
    type: ClassVar[str] = "regulars.profile.customers_merged.v1"

    winner_id: UUID
    loser_id: UUID
    effective_at: Timestamp


class CustomersUnmerged(CustomerEvent):
    """A merge was undone. Announced under both keys, as the merge was."""

    topic: ClassVar[str] = CUSTOMER_TOPIC
    type: ClassVar[str] = "regulars.profile.customers_unmerged.v1"

    winner_id: UUID
    loser_id: UUID
    effective_at: Timestamp


class CustomerErased(CustomerEvent):
    """A customer was erased; every service forgets the person and answers with ``erasure_completed``."""

    topic: ClassVar[str] = CUSTOMER_TOPIC
    type: ClassVar[str] = "regulars.profile.customer_erased.v1"

    erased_at: Timestamp


class ConsentChanged(CustomerEvent):
    """The derived state of one consent (purpose × channel) changed."""

    topic: ClassVar[str] = CUSTOMER_TOPIC
    type: ClassVar[str] = "regulars.profile.consent_changed.v1"

    purpose: Purpose
    channel: Channel
    state: ConsentState
    consent_id: UUID
    effective_at: Timestamp


class ConfirmationRequested(CustomerEvent):
    """A customer is asked something that only whoever holds a signed link can answer: to agree (``opt_in``,
    ``sign_up``) or to bring the own data up to date (``refresh``). The sender asks profile for the link when it sends.
    """

    topic: ClassVar[str] = CUSTOMER_TOPIC
    type: ClassVar[str] = "regulars.profile.confirmation_requested.v1"

    confirmation_id: UUID
    kind: ConfirmationKind
    channel: Channel
    effective_at: Timestamp
    expires_at: Timestamp


class PurchaseEvent(Event):
    """Something that happened to a purchase. An anonymous purchase has no customer, and the purchase's id as its key."""

    topic: ClassVar[str] = CUSTOMER_TOPIC

    customer_id: UUID | None
    recorded_customer_id: UUID | None = None
    source: str
    external_id: str
    occurred_at: Timestamp
    recorded_at: Timestamp
    historical: bool

    @property
    def anonymous_key(self) -> UUID:
        raise NotImplementedError

    @property
    def key(self) -> str:
        return str(self.recorded_customer_id or self.customer_id or self.anonymous_key)


class PurchaseFact(PurchaseEvent):
    """What a purchase is worth, or no longer worth."""

    currency: str
    exchange_rate: str | None = None


class PurchaseLine(Part):
    """One line of a purchase. ``unit_price`` is a decimal string in ``currency``; amounts are minor units, net of the
    discount; ``accounting_…`` the same in the accounting currency."""

    line: int
    sku: str
    brand: str | None = None
    category: str | None = None
    quantity: int
    unit_price: str
    discount_minor: int = 0
    amount_minor: int
    accounting_amount_minor: int
    unit_cost_minor: int | None = None


class PurchaseRecorded(PurchaseFact):
    """Somebody bought something."""

    type: ClassVar[str] = "regulars.profile.purchase_recorded.v1"

    purchase_id: UUID
    channel: str | None = None
    store: str | None = None
    staff_id: str | None = None
    total_minor: int
    accounting_total_minor: int
    coupon_codes: tuple[str, ...] = ()
    campaign_id: str | None = None
    lines: tuple[PurchaseLine, ...]

    @property
    def anonymous_key(self) -> UUID:
        return self.purchase_id


class ReturnLine(Part):
    """One line of a return; ``line`` names the purchase's line, null where no purchase is named."""

    line: int | None = None
    sku: str
    quantity: int
    amount_minor: int
    accounting_amount_minor: int


class PurchaseReturned(PurchaseFact):
    """Something bought came back.

    ``purchase_id`` null = a return that names no purchase. ``amount_minor`` is what is reversed (positive);
    ``net_left_minor`` what the purchase is worth after it, null without a purchase.
    """

    type: ClassVar[str] = "regulars.profile.purchase_returned.v1"

    return_id: UUID
    purchase_id: UUID | None = None
    amount_minor: int
    accounting_amount_minor: int
    net_left_minor: int | None = None
    accounting_net_left_minor: int | None = None
    lines: tuple[ReturnLine, ...] = ()
    replacement_purchase_id: UUID | None = None

    @property
    def anonymous_key(self) -> UUID:
        return self.purchase_id or self.return_id


class PurchaseCancelled(PurchaseFact):
    """A purchase was called off; ``amount_minor`` is what is reversed (positive)."""

    type: ClassVar[str] = "regulars.profile.purchase_cancelled.v1"

    purchase_id: UUID
    amount_minor: int
    accounting_amount_minor: int

    @property
    def anonymous_key(self) -> UUID:
        return self.purchase_id


class ReturnMatched(PurchaseReturned):
    """A return that had named no purchase was found to belong to one.

    It replaces what ``purchase_returned`` said under the same ``return_id``: then ``unmatched_amount_minor`` was
    reversed without a purchase, now ``amount_minor`` of this one is.
    """

    type: ClassVar[str] = "regulars.profile.return_matched.v1"

    unmatched_amount_minor: int
    accounting_unmatched_amount_minor: int


class PurchaseDelivered(PurchaseEvent):
    """A purchase reached its customer, at ``occurred_at``; ``late`` says that it came after the day promised."""

    type: ClassVar[str] = "regulars.profile.purchase_delivered.v1"

    purchase_id: UUID
    carrier: str | None = None
    shipped_at: Timestamp | None = None
    promised_on: date | None = None
    late: bool | None = None

    @property
    def anonymous_key(self) -> UUID:
        return self.purchase_id


class ProductChanged(Event):
    """A product of the catalogue is new or changed; carries all of it.

    ``category`` is a path, ``Home/Kitchen``; ``complete`` is false for one that only a purchase spoke of so far.
    """

    topic: ClassVar[str] = PRODUCT_TOPIC
    type: ClassVar[str] = "regulars.profile.product_changed.v1"

    product_id: UUID
    sku: str
    name_zh: str | None = None
    name_en: str | None = None
    brand: str | None = None
    category: str | None = None
    price_minor: int | None = None
    currency: str | None = None
    stock: int | None = None
    replenishable: bool = False
    accessory_of: str | None = None
    active: bool = True
    complete: bool
    effective_at: Timestamp

    @property
    def key(self) -> str:
        return str(self.product_id)


EVENTS: tuple[type[Event], ...] = (
    CustomerRegistered,
    CustomerUpdated,
    CustomersMerged,
    CustomersUnmerged,
    CustomerErased,
    ConsentChanged,
    ConfirmationRequested,
    PurchaseRecorded,
    PurchaseReturned,
    ReturnMatched,
    PurchaseCancelled,
    PurchaseDelivered,
    ProductChanged,
)
