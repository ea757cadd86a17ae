"""What campaigns does when other services speak."""

from collections.abc import Sequence
from uuid import UUID

from sqlalchemy.orm import Session

from services.campaigns.domain import deliveries, earning, merges, offers, pauses, rating
from services.campaigns.domain.deliveries import CASE_REPLY, CONFIRMATIONS, SURVEY_INVITATION, Delivery
from services.campaigns.tables import customer
from shared.customers import REGISTERED, follows, lock_owners, recorded_customer
from shared.events.envelope import CustomerEvent
from shared.events.feedback import (
    CaseOpened,
    CaseReopened,
    CaseReplied,
    CaseResolved,
    SatisfactionChanged,
    SurveyInvited,
)
from shared.events.profile import (
    ConfirmationRequested,
    CustomerErased,
    CustomersMerged,
    CustomersUnmerged,
    PurchaseCancelled,
    PurchaseRecorded,
    PurchaseReturned,
    ReturnMatched,
)
from shared.events.scoring import TierChanged
from shared.merges import locks
from shared.messaging.consumer import Consumer


def earn_points(session: Session, events: Sequence[PurchaseRecorded]) -> None:
    earning.earn(session, events)


def reverse_points(session: Session, events: Sequence[PurchaseReturned]) -> None:
    earning.take_back(session, events)


def match_returns(session: Session, events: Sequence[ReturnMatched]) -> None:
    earning.match(session, events)


def cancel_points(session: Session, events: Sequence[PurchaseCancelled]) -> None:
    earning.call_off(session, events)


def follow_tier(session: Session, events: Sequence[TierChanged]) -> None:
    rating.follow_tiers(session, events)
    offers.congratulate(session, events)


def invite_to_survey(session: Session, events: Sequence[SurveyInvited]) -> None:
    _plan(
        session,
        SURVEY_INVITATION,
        "survey",
        [(event, event.invitation_id, event.channel) for event in events],
    )


def send_case_reply(session: Session, events: Sequence[CaseReplied]) -> None:
    _plan(session, CASE_REPLY, "service", [(event, event.message_id, event.channel) for event in events])


def ask_to_confirm(session: Session, events: Sequence[ConfirmationRequested]) -> None:
    """On the contract, not on consent: the message is what somebody asked for in the customer's name."""
    for kind, campaign_id in CONFIRMATIONS.items():
        told = [(event, event.confirmation_id, event.channel) for event in events if event.kind == kind]
        if told:
            _plan(session, campaign_id, "service", told)


def _plan(
    session: Session, campaign_id: str, purpose: str, told: Sequence[tuple[CustomerEvent, UUID, str]]
) -> None:
    """A message about each subject, on the channel that was asked for, to those who are still there."""
    named = [(recorded, each) for each in told if (recorded := recorded_customer(each[0])) is not None]
    owners = lock_owners(session, customer, {recorded for recorded, _ in named}).active
    deliveries.plan(
        session,
        [
            Delivery(
                campaign_id,
                owners[recorded],
                recorded,
                str(subject_id),
                channel,
                purpose,
                subject_id,
                event.id,
            )
            for recorded, (event, subject_id, channel) in named
            if recorded in owners
        ],
    )


CONSUMERS = (
    Consumer(
        "campaigns",
        dict.fromkeys(REGISTERED, follows(customer))
        | {
            CustomersMerged: merges.follow,
            CustomersUnmerged: merges.follow,
            CustomerErased: merges.erase,
            PurchaseRecorded: earn_points,
            PurchaseReturned: reverse_points,
            ReturnMatched: match_returns,
            PurchaseCancelled: cancel_points,
            TierChanged: follow_tier,
            SatisfactionChanged: pauses.follow_satisfaction,
            CaseOpened: pauses.open_cases,
            CaseReopened: pauses.reopen_cases,
            CaseResolved: pauses.resolve_cases,
            SurveyInvited: invite_to_survey,
            CaseReplied: send_case_reply,
            ConfirmationRequested: ask_to_confirm,
        },
        lock=locks(customer),
    ),
)
