"""What happens to invitations, answers and cases when customers are merged, unmerged or erased.

What was asked and said goes to whom it belongs now; numbers and deadlines of cases stay as they were promised.
"""

from collections.abc import Sequence
from uuid import UUID

from sqlalchemy import text
from sqlalchemy.orm import Session

from services.feedback.domain import cases
from services.feedback.tables import customer
from shared import merges
from shared.customers import lock_owners
from shared.events.feedback import ErasureCompletedInFeedback
from shared.events.profile import CustomerErased
from shared.merges import Merge

FACTS = ("invitation", "answer", "customer_case", "satisfaction")


def follow(session: Session, events: Sequence[Merge]) -> None:
    moves = merges.follow(session, customer, events)
    if moves is not None:
        merges.move(session, FACTS, moves)


def erase(session: Session, events: Sequence[CustomerErased]) -> None:
    """Scores and counts stay, as nobody's; texts cannot be read any more, links are closed, cases are over."""
    owners = lock_owners(session, customer, {event.customer_id for event in events})
    erased = merges.erase(session, customer, events)
    ids: dict[str, list[UUID]] = {
        "ids": erased,
        "owners": [owner for each in erased if (owner := owners.counted(each)) is not None],
    }
    session.execute(_FORGET_COMMENTS, ids)
    session.execute(_CLOSE_LINKS, ids)
    session.execute(_FORGET_SATISFACTION, ids)
    session.execute(_FORGET_TIERS, ids)
    now = session.scalars(text("select now()")).one()
    for row in session.execute(_OPEN_CASES, ids).all():
        cases.resolve(session, cases.find(session, row.case_id, lock=True), now)
    merges.announce_erased(session, ErasureCompletedInFeedback, events, erased)


_THEIRS = "customer_id = any(cast(:owners as uuid[])) and recorded_customer_id = any(cast(:ids as uuid[]))"

_FORGET_COMMENTS = text(f"update answer set comment = null where {_THEIRS} and comment is not null")

_CLOSE_LINKS = text(f"""
    update invitation i set expires_at = least(expires_at, now())
    where {_THEIRS} and not exists (select from answer a where a.invitation_id = i.invitation_id)
""")

_FORGET_SATISFACTION = text("delete from satisfaction where recorded_customer_id = any(cast(:ids as uuid[]))")

_FORGET_TIERS = text("delete from customer_tier where customer_id = any(cast(:ids as uuid[]))")

_OPEN_CASES = text(
    f"select case_id from customer_case where {_THEIRS} and state = 'open' order by case_id for no key update"
)
