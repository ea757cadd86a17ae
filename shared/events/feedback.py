"""What the feedback service announces."""

from typing import Annotated, ClassVar
from uuid import UUID

from pydantic import ConfigDict, Field

from shared.events.envelope import CustomerEvent, ErasureCompleted, Event, Timestamp, open_enumeration
from shared.events.profile import Channel

CUSTOMER_TOPIC = "regulars.feedback.customer.v1"

Measure = Annotated[str, open_enumeration("nps", "csat", "ces")]
Satisfaction = Annotated[str, open_enumeration("promoter", "passive", "detractor", "unknown")]
Severity = Annotated[str, open_enumeration("low", "normal", "high", "urgent")]


class SurveyInvited(CustomerEvent):
    """A customer is to be asked. The link is a credential and never in an event: campaigns asks feedback for it
    when it sends."""

    topic: ClassVar[str] = CUSTOMER_TOPIC
    type: ClassVar[str] = "regulars.feedback.survey_invited.v1"

    invitation_id: UUID
    survey_id: UUID
    channel: Channel
    effective_at: Timestamp


class SurveyAnswered(CustomerEvent):
    """A customer answered; ``score`` on the scale of ``measure`` (NPS 0–10). No free text."""

    topic: ClassVar[str] = CUSTOMER_TOPIC
    type: ClassVar[str] = "regulars.feedback.survey_answered.v1"

    answer_id: UUID
    invitation_id: UUID | None
    survey_id: UUID
    measure: Measure
    score: int
    effective_at: Timestamp


class SatisfactionChanged(CustomerEvent):
    """What the customer last told us moved them to another group. ``from`` is the group before."""

    model_config = ConfigDict(serialize_by_alias=True, validate_by_name=True)

    topic: ClassVar[str] = CUSTOMER_TOPIC
    type: ClassVar[str] = "regulars.feedback.satisfaction_changed.v1"

    from_: Satisfaction = Field(alias="from")
    to: Satisfaction
    measure: Measure
    effective_at: Timestamp


class CaseEvent(CustomerEvent):
    """A case moved. ``purchase_id`` is the purchase it is about, where it is about one."""

    topic: ClassVar[str] = CUSTOMER_TOPIC

    case_id: UUID
    category: str
    severity: Severity
    channel: str
    purchase_id: UUID | None = None
    effective_at: Timestamp


class CaseOpened(CaseEvent):
    """A complaint, a question or a request was opened."""

    type: ClassVar[str] = "regulars.feedback.case_opened.v1"


class CaseResolved(CaseEvent):
    """A case was resolved."""

    type: ClassVar[str] = "regulars.feedback.case_resolved.v1"


class CaseReopened(CaseEvent):
    """A resolved case was opened again."""

    type: ClassVar[str] = "regulars.feedback.case_reopened.v1"


class CaseReplied(CustomerEvent):
    """Staff answered a case; campaigns asks feedback for the text when it sends it."""

    topic: ClassVar[str] = CUSTOMER_TOPIC
    type: ClassVar[str] = "regulars.feedback.case_replied.v1"

    case_id: UUID
    message_id: UUID
    channel: Channel
    effective_at: Timestamp


class ErasureCompletedInFeedback(ErasureCompleted):
    """Feedback has forgotten an erased customer."""

    topic: ClassVar[str] = CUSTOMER_TOPIC
    type: ClassVar[str] = "regulars.feedback.erasure_completed.v1"


EVENTS: tuple[type[Event], ...] = (
    SurveyInvited,
    SurveyAnswered,
    SatisfactionChanged,
    CaseOpened,
    CaseResolved,
    CaseReopened,
    CaseReplied,
    ErasureCompletedInFeedback,
)
