"""What the scoring service announces."""

from typing import Annotated, ClassVar

from shared.events.envelope import CustomerEvent, ErasureCompleted, Event, Reason, Timestamp, open_enumeration

CUSTOMER_TOPIC = "regulars.scoring.customer.v1"

ValueClass = Annotated[str, open_enumeration("high", "medium", "low")]


class TierChanged(CustomerEvent):
    """A customer's membership tier changed.

    ``previous_tier`` is null at first. ``effective_at`` is the ``recorded_at`` of the fact that caused it, else the
    database time of the transaction that put it in force. ``initial`` marks a first calibration: nobody is
    congratulated on a migration. ``as_of`` is the date the score speaks of.
    """

    topic: ClassVar[str] = CUSTOMER_TOPIC
    type: ClassVar[str] = "regulars.scoring.tier_changed.v1"

    tier: str
    previous_tier: str | None
    effective_at: Timestamp
    reason: Reason
    initial: bool
    historical: bool
    as_of: Timestamp
    policy_version: int


class TierDowngradeDue(CustomerEvent):
    """A customer no longer deserves the tier and loses it at the first review on or after ``due_at``."""

    topic: ClassVar[str] = CUSTOMER_TOPIC
    type: ClassVar[str] = "regulars.scoring.tier_downgrade_due.v1"

    tier: str
    deserved_tier: str
    due_at: Timestamp
    effective_at: Timestamp
    reason: Reason
    historical: bool
    as_of: Timestamp
    policy_version: int


class ScoreUpdated(CustomerEvent):
    """A customer's segment, value class or a band changed. ``value_score`` is 0–100; all null where nothing counts."""

    topic: ClassVar[str] = CUSTOMER_TOPIC
    type: ClassVar[str] = "regulars.scoring.score_updated.v1"

    segment: str | None
    r: int | None
    f: int | None
    m: int | None
    value_score: float | None
    value_class: ValueClass | None
    as_of: Timestamp
    effective_at: Timestamp
    reason: Reason
    initial: bool
    historical: bool


class ErasureCompletedInScoring(ErasureCompleted):
    """Scoring has forgotten an erased customer."""

    topic: ClassVar[str] = CUSTOMER_TOPIC
    type: ClassVar[str] = "regulars.scoring.erasure_completed.v1"


EVENTS: tuple[type[Event], ...] = (TierChanged, TierDowngradeDue, ScoreUpdated, ErasureCompletedInScoring)
