"""What the scoring service announces."""

from datetime import date
from typing import Annotated, ClassVar
from uuid import UUID

from shared.events.envelope import CustomerEvent, ErasureCompleted, Event, Reason, Timestamp, open_enumeration

CUSTOMER_TOPIC = "regulars.scoring.customer.v1"
MODEL_TOPIC = "regulars.scoring.model.v1"

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


class CalibrationFinished(Event):
    """Everybody is scored by a new calibration, which counted ``counted`` customers as of ``as_of``.

    What it moved: ``scores_moved`` customers into another band, segment or value class, ``stages_moved`` into another
    stage, ``risks_moved`` into another band of the churn risk; ``tiers`` how many were raised, lowered, noticed, kept.
    ``models`` holds the reasons against using each model, none where nothing speaks against it. ``basis`` says whether
    bands come from the company's own customers (population) or from fixed thresholds. Told once, when the last customer
    is done; a calibration that a later one overtook is not told.
    """

    topic: ClassVar[str] = MODEL_TOPIC
    type: ClassVar[str] = "regulars.scoring.calibration_finished.v1"

    calibration_id: UUID
    as_of: Timestamp
    pinned: bool
    initial: bool
    counted: int
    basis: Annotated[str, open_enumeration("population", "fixed")]
    policy_version: int
    scores_moved: int
    stages_moved: int
    risks_moved: int
    tiers: dict[str, int]
    models: dict[str, tuple[str, ...]]
    effective_at: Timestamp
    finished_at: Timestamp

    @property
    def key(self) -> str:
        return str(self.calibration_id)


class AlertRaised(Event):
    """Something changed suddenly against its own usual variation: ``name`` of a ``kind`` of things watched (an own figure of
    the company, a tier, a country, a channel, a product, …).

    ``observed`` and ``expected`` are sums over the open days ``since`` … ``day``, in ``unit``: a number of purchases,
    customers or pieces, or minor units of ``currency``. ``score`` is by how many spreads they deviate. Who is behind it
    stands under the alert's id; ``customers`` are so many. ``historical`` says that the day is older than the trigger's
    window.
    """

    topic: ClassVar[str] = MODEL_TOPIC
    type: ClassVar[str] = "regulars.scoring.alert_raised.v1"

    alert_id: UUID
    kind: Annotated[
        str, open_enumeration("company", "tier", "country", "channel", "product", "churn", "satisfaction")
    ]
    name: str
    direction: Annotated[str, open_enumeration("up", "down")]
    since: date
    day: date
    observed: float
    expected: float
    score: float
    unit: Annotated[str, open_enumeration("count", "minor")]
    currency: str | None
    customers: int
    historical: bool

    @property
    def key(self) -> str:
        return str(self.alert_id)


EVENTS: tuple[type[Event], ...] = (
    TierChanged,
    TierDowngradeDue,
    ScoreUpdated,
    LifecycleStageChanged,
    ChurnRiskChanged,
    ErasureCompletedInScoring,
    CalibrationFinished,
    AlertRaised,
)
