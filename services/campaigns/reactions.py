"""What campaigns does when other services speak."""

from collections.abc import Sequence

from sqlalchemy.orm import Session

from services.campaigns.domain import deliveries, earning, offers, pauses
from services.campaigns.domain.deliveries import CASE_REPLY, SURVEY_INVITATION, Delivery
from services.campaigns.tables import customer
from shared.customers import FOLLOWED, follows, lock_active
from shared.events.feedback import (
    CaseOpened,
    CaseReopened,
    CaseReplied,
    CaseResolved,
    SatisfactionChanged,
    SurveyInvited,
)
from shared.events.profile import PurchaseCancelled, PurchaseRecorded, PurchaseReturned
from shared.events.scoring import TierChanged
from shared.messaging.consumer import Consumer


def earn_points(session: Session, events: Sequence[PurchaseRecorded]) -> None:
    earning.earn(session, events)


def reverse_points(session: Session, events: Sequence[PurchaseReturned]) -> None:
    earning.take_back(session, events)


def cancel_points(session: Session, events: Sequence[PurchaseCancelled]) -> None:
    earning.call_off(session, events)


def follow_tier(session: Session, events: Sequence[TierChanged]) -> None:
    earning.follow_tiers(session, events)
    offers.congratulate(session, events)


def invite_to_survey(session: Session, events: Sequence[SurveyInvited]) -> None:
    active = lock_active(session, customer, {event.customer_id for event in events})
    deliveries.plan(
        session,
        [
            Delivery(
                SURVEY_INVITATION,
                event.customer_id,
                str(event.invitation_id),
                event.channel,
                "survey",
                event.invitation_id,
                event.id,
            )
            for event in events
            if event.customer_id in active
        ],
    )


def send_case_reply(session: Session, events: Sequence[CaseReplied]) -> None:
    active = lock_active(session, customer, {event.customer_id for event in events})
    deliveries.plan(
        session,
        [
            Delivery(
                CASE_REPLY,
                event.customer_id,
                str(event.message_id),
                event.channel,
                "service",
                event.message_id,
                event.id,
            )
            for event in events
            if event.customer_id in active
        ],
    )


CONSUMERS = (
    Consumer(
        "campaigns",
        {event: follows(customer) for event in FOLLOWED}
        | {
            PurchaseRecorded: earn_points,
            PurchaseReturned: reverse_points,
            PurchaseCancelled: cancel_points,
            TierChanged: follow_tier,
            SatisfactionChanged: pauses.follow_satisfaction,
            CaseOpened: pauses.open_cases,
            CaseReopened: pauses.reopen_cases,
            CaseResolved: pauses.resolve_cases,
            SurveyInvited: invite_to_survey,
            CaseReplied: send_case_reply,
        },
    ),
)
