"""What the campaigns service announces."""

from typing import Annotated, ClassVar
from uuid import UUID

from shared.events.envelope import (
    CustomerEvent,
    ErasureCompleted,
    Event,
    Reason,
    Timestamp,
    open_enumeration,
)
from shared.events.profile import Channel

CUSTOMER_TOPIC = "regulars.campaigns.customer.v1"


class PointsMoved(CustomerEvent):
    """A customer's points moved. ``points`` is positive; ``balance`` the balance after it; ``source`` what moved
    them (``purchase:{purchase_id}``, ``redemption:{redemption_id}``)."""

    topic: ClassVar[str] = CUSTOMER_TOPIC

    entry_id: UUID
    points: int
    balance: int
    source: str
    effective_at: Timestamp
    reason: Reason
    historical: bool


class PointsEarned(PointsMoved):
    """Points came in."""

    type: ClassVar[str] = "regulars.campaigns.points_earned.v1"


class PointsActivated(PointsMoved):
    """Pending points became spendable."""

    type: ClassVar[str] = "regulars.campaigns.points_activated.v1"


class PointsExpired(PointsMoved):
    """Points ran out unspent."""

    type: ClassVar[str] = "regulars.campaigns.points_expired.v1"


class PointsSpent(PointsMoved):
    """Points were spent."""

    type: ClassVar[str] = "regulars.campaigns.points_spent.v1"


class PointsReversed(PointsMoved):
    """Points earned were taken back because what earned them came back; the balance may fall below zero."""

    type: ClassVar[str] = "regulars.campaigns.points_reversed.v1"


class PointsTransferred(PointsMoved):
    """A merge, or its end, handed points over between two customers: this one got them (``in``) or gave them
    (``out``). After an unmerge the balance may be below zero: what was spent while merged stays with who spent it."""

    type: ClassVar[str] = "regulars.campaigns.points_transferred.v1"

    direction: Annotated[str, open_enumeration("in", "out")]


class OfferIssued(CustomerEvent):
    """A customer was given an offer. ``campaign_id`` names what issued it."""

    topic: ClassVar[str] = CUSTOMER_TOPIC
    type: ClassVar[str] = "regulars.campaigns.offer_issued.v1"

    offer_id: UUID
    campaign_id: str
    kind: str
    effective_at: Timestamp
    expires_at: Timestamp | None = None


class RewardRedeemed(CustomerEvent):
    """A customer spent points on a reward."""

    topic: ClassVar[str] = CUSTOMER_TOPIC
    type: ClassVar[str] = "regulars.campaigns.reward_redeemed.v1"

    redemption_id: UUID
    reward_id: UUID
    points: int
    effective_at: Timestamp


class MessageSent(CustomerEvent):
    """A message left for a customer. ``consent_id`` is the proof it rests on, null where the contract is the basis."""

    topic: ClassVar[str] = CUSTOMER_TOPIC
    type: ClassVar[str] = "regulars.campaigns.message_sent.v1"

    message_id: UUID
    campaign_id: str
    channel: Channel
    consent_id: UUID | None
    effective_at: Timestamp


class MessageSkipped(CustomerEvent):
    """A message was not sent, for the reason given (``no_consent``, ``no_contact_point``, ``paused`` …)."""

    topic: ClassVar[str] = CUSTOMER_TOPIC
    type: ClassVar[str] = "regulars.campaigns.message_skipped.v1"

    message_id: UUID
    campaign_id: str
    channel: Channel
    reason: str
    effective_at: Timestamp


class ErasureCompletedInCampaigns(ErasureCompleted):
    """Campaigns has forgotten an erased customer."""

    topic: ClassVar[str] = CUSTOMER_TOPIC
    type: ClassVar[str] = "regulars.campaigns.erasure_completed.v1"


EVENTS: tuple[type[Event], ...] = (
    PointsEarned,
    PointsActivated,
    PointsSpent,
    PointsExpired,
    PointsReversed,
    PointsTransferred,
    OfferIssued,
    RewardRedeemed,
    MessageSent,
    MessageSkipped,
    ErasureCompletedInCampaigns,
)
