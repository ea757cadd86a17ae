"""What the profile service announces about behaviour, contacts, tags and referrals."""

from typing import Annotated, ClassVar
from uuid import UUID

from pydantic import Field

from shared.events.envelope import CustomerEvent, Event, Timestamp, open_enumeration
from shared.events.profile import CUSTOMER_TOPIC, Part

ACTIVITY_TOPIC = "regulars.profile.activity.v1"

InteractionKind = Annotated[str, open_enumeration("call", "email", "visit", "chat", "letter", "other")]
Direction = Annotated[str, open_enumeration("inbound", "outbound")]
ReferralRole = Annotated[str, open_enumeration("referrer", "referee")]
ReferralState = Annotated[str, open_enumeration("pending", "qualified", "voided")]
ReferralFlag = Annotated[
    str,
    open_enumeration(
        "self_referral",
        "same_device",
        "same_address",
        "same_phone",
        "same_email",
        "existing_customer",
        "over_limit",
    ),
]
ReferralReview = Annotated[str, open_enumeration("required", "approved", "rejected")]


class Activity(Part):
    """One thing that somebody did. ``type`` is built in (product_view, search …) or the company's own; ``properties``
    are numbers, booleans and codes that its definition allows. Never what was searched for, nor on which device."""

    activity_id: UUID
    type: str
    occurred_at: Timestamp
    recorded_at: Timestamp
    historical: bool
    channel: str | None = None
    sku: str | None = None
    category: str | None = None
    page: str | None = None
    quantity: int | None = None
    result_count: int | None = None
    campaign_id: str | None = None
    properties: dict[str, bool | float | str] = Field(default_factory=dict)


class ActivityRecorded(CustomerEvent):
    """What a known customer did, up to 500 activities at once: as they were told, or when somebody logged in on a
    device whose activities had been nobody's until then (``attached``).

    The topic is kept for 30 days: a consumer accepts gaps in it.
    """

    topic: ClassVar[str] = ACTIVITY_TOPIC
    type: ClassVar[str] = "regulars.profile.activity_recorded.v1"
    kept_days: ClassVar[int | None] = 30

    attached: bool = False
    activities: tuple[Activity, ...]


class InteractionRecorded(CustomerEvent):
    """Somebody of the company and the customer were in contact; never what was said."""

    topic: ClassVar[str] = CUSTOMER_TOPIC
    type: ClassVar[str] = "regulars.profile.interaction_recorded.v1"

    interaction_id: UUID
    kind: InteractionKind
    direction: Direction
    channel: str | None = None
    store: str | None = None
    staff_id: str | None = None
    outcome: str | None = None
    case_id: UUID | None = None
    occurred_at: Timestamp
    recorded_at: Timestamp
    historical: bool
    next_step_due_at: Timestamp | None = None


class TagsChanged(CustomerEvent):
    """A customer's tags changed; ``tags`` are all that hold now. ``source`` is hand, bulk, import, merge, expiry or
    ``rule:<name>``."""

    topic: ClassVar[str] = CUSTOMER_TOPIC
    type: ClassVar[str] = "regulars.profile.tags_changed.v1"

    tags: tuple[str, ...]
    added: tuple[str, ...] = ()
    removed: tuple[str, ...] = ()
    source: str
    effective_at: Timestamp


class ReferralRecorded(CustomerEvent):
    """A customer brought another one, or a referral's state changed.

    Announced under both keys; ``role`` says which side ``customer_id`` is on in this copy. ``pending`` until the
    referee's first net purchase, then ``qualified``; ``voided`` when nothing of it is left or a review refused it.
    ``previous_state`` is null at first.
    """

    topic: ClassVar[str] = CUSTOMER_TOPIC
    type: ClassVar[str] = "regulars.profile.referral_recorded.v1"

    referral_id: UUID
    role: ReferralRole
    referrer_id: UUID
    referee_id: UUID
    state: ReferralState
    previous_state: ReferralState | None = None
    flags: tuple[ReferralFlag, ...] = ()
    review: ReferralReview | None = None
    purchase_id: UUID | None = None
    referred_at: Timestamp
    effective_at: Timestamp
    historical: bool = False


EVENTS: tuple[type[Event], ...] = (ActivityRecorded, InteractionRecorded, TagsChanged, ReferralRecorded)
