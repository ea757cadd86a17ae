"""What profile does when other services speak."""

from collections.abc import Callable, Sequence
from typing import Any

from sqlalchemy.orm import Session

from services.profile.domain import erasure
from shared.events.campaigns import ErasureCompletedInCampaigns
from shared.events.envelope import ErasureCompleted
from shared.events.feedback import ErasureCompletedInFeedback
from shared.events.scoring import ErasureCompletedInScoring
from shared.messaging.consumer import Consumer


def receipts_of(service: str) -> Callable[[Session, Sequence[Any]], None]:
    def note(session: Session, events: Sequence[ErasureCompleted]) -> None:
        erasure.note_receipts(session, service, {event.customer_id: event.completed_at for event in events})

    return note


CONSUMERS = (
    Consumer(
        "profile.receipts",
        {
            ErasureCompletedInScoring: receipts_of("scoring"),
            ErasureCompletedInCampaigns: receipts_of("campaigns"),
            ErasureCompletedInFeedback: receipts_of("feedback"),
        },
    ),
)
