"""What feedback does when other services speak."""

from services.feedback.domain import customers, invitations, merges
from services.feedback.tables import customer
from shared.customers import REGISTERED, follows
from shared.events.profile import CustomerErased, CustomersMerged, CustomersUnmerged, PurchaseRecorded
from shared.events.scoring import TierChanged
from shared.merges import locks
from shared.messaging.consumer import Consumer

CONSUMER = Consumer(
    "feedback",
    {
        **dict.fromkeys(REGISTERED, follows(customer)),
        CustomersMerged: merges.follow,
        CustomersUnmerged: merges.follow,
        CustomerErased: merges.erase,
        PurchaseRecorded: invitations.after_purchases,
        TierChanged: customers.change_tiers,
    },
    lock=locks(customer),
)
