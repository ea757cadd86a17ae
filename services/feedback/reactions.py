"""What feedback does when other services speak."""

from services.feedback.domain import customers, invitations
from services.feedback.tables import customer
from shared.customers import FOLLOWED, follows
from shared.events.profile import PurchaseRecorded
from shared.events.scoring import TierChanged
from shared.messaging.consumer import Consumer

CONSUMER = Consumer(
    "feedback",
    {
        **dict.fromkeys(FOLLOWED, follows(customer)),
        PurchaseRecorded: invitations.after_purchases,
        TierChanged: customers.change_tiers,
    },
)
