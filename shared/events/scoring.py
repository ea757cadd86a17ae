"""What the scoring service announces."""

from typing import Annotated, ClassVar

from shared.events.envelope import CustomerEvent, ErasureCompleted, Event, Reason, Timestamp, open_enumeration

CUSTOMER_TOPIC = "regulars.scoring.customer.v1"

ValueClass = Annotated[str, open_enumeration("high", "medium", "low")]
Stage = Annotated[
    str,
    open_enumeration("prospect", "acquired", "growing", "mature", "declining", "dormant", "lost", "won_back"),
]
ChurnBand = Annotated[str, open_enumeration("low", "medium", "high")]


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


class LifecycleStageChanged(CustomerEvent):
    """A customer entered another stage of the life with the company; ``previous_stage`` is null at first.

    Told once for all facts of a customer that were heard together. ``reason`` is review where time alone moved them.
    """

    topic: ClassVar[str] = CUSTOMER_TOPIC
    type: ClassVar[str] = "regulars.scoring.lifecycle_stage_changed.v1"

    stage: Stage
    previous_stage: Stage | None
    effective_at: Timestamp
    reason: Reason
    initial: bool
    historical: bool
    as_of: Timestamp


class ChurnRiskChanged(CustomerEvent):
    """The risk that a customer does not come back moved into another band; both are null where nothing counts any more, or
    did before.

    ``churn_probability`` is null where no model could be made: the band then comes from the silence alone.
    """

    topic: ClassVar[str] = CUSTOMER_TOPIC
    type: ClassVar[str] = "regulars.scoring.churn_risk_changed.v1"

    band: ChurnBand | None
    previous_band: ChurnBand | None
    churn_probability: float | None
    effective_at: Timestamp
    reason: Reason
    initial: bool
    historical: bool
    as_of: Timestamp


class ErasureCompletedInScoring(ErasureCompleted):
    """Scoring has forgotten an erased customer."""

    topic: ClassVar[str] = CUSTOMER_TOPIC
    type: ClassVar[str] = "regulars.scoring.erasure_completed.v1"


EVENTS: tuple[type[Event], ...] = (
    TierChanged,
    TierDowngradeDue,
    ScoreUpdated,
    LifecycleStageChanged,
    ChurnRiskChanged,
    ErasureCompletedInScoring,
)
