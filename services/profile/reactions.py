"""What profile does when other services speak."""

from collections.abc import Callable, Sequence
from typing import Any

from sqlalchemy import func, select
from sqlalchemy.orm import Session

from services.profile.domain import erasure, referrals, tiers
from shared.events.campaigns import ErasureCompletedInCampaigns
from shared.events.envelope import ErasureCompleted
from shared.events.feedback import ErasureCompletedInFeedback
from shared.events.profile import (
    CustomersMerged,
    CustomersUnmerged,
    PurchaseCancelled,
    PurchaseFact,
    PurchaseRecorded,
    PurchaseReturned,
    ReturnMatched,
)
from shared.events.scoring import ErasureCompletedInScoring, TierChanged
from shared.messaging.consumer import Consumer


def receipts_of(service: str) -> Callable[[Session, Sequence[Any]], None]:
    def note(session: Session, events: Sequence[ErasureCompleted]) -> None:
        erasure.note_receipts(session, service, {event.customer_id: event.completed_at for event in events})

    return note


def qualify_referrals(session: Session, events: Sequence[PurchaseFact]) -> None:
    """What somebody bought or brought back may qualify or void the referral by which they came. The facts are in this
    database before they are told: the reaction only says whose referrals to look at again."""
    causes = {}
    for event in events:
        if (whose := event.recorded_customer_id or event.customer_id) is not None:
            causes[whose] = event
    ids = referrals.concerned(session, causes)
    referrals.derive(session, ids, session.execute(select(func.now())).scalar_one(), causes)


def follow_merges(session: Session, events: Sequence[CustomersMerged | CustomersUnmerged]) -> None:
    """Purchases have moved with their customers, and both sides of a referral may be one customer, or two again."""
    whose = {each for event in events for each in (event.winner_id, event.loser_id)}
    ids = referrals.concerned(session, whose)
    referrals.derive(session, ids, session.execute(select(func.now())).scalar_one())


def keep_tiers(session: Session, events: Sequence[TierChanged]) -> None:
    """Events of one key are in order: the last one holds."""
    tiers.follow(session, {event.customer_id: event.tier for event in events})


# One consumer for all of it: each takes a connection of the suite's, and these seldom have much to do.
CONSUMERS = (
    Consumer(
        "profile",
        {
            TierChanged: keep_tiers,
            PurchaseRecorded: qualify_referrals,
            PurchaseReturned: qualify_referrals,
            ReturnMatched: qualify_referrals,
            PurchaseCancelled: qualify_referrals,
            CustomersMerged: follow_merges,
            CustomersUnmerged: follow_merges,
            ErasureCompletedInScoring: receipts_of("scoring"),
            ErasureCompletedInCampaigns: receipts_of("campaigns"),
            ErasureCompletedInFeedback: receipts_of("feedback"),
        },
    ),
)
