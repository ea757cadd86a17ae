"""Who hears no promotions for now: a detractor, until the case is resolved."""

from collections.abc import Sequence

from sqlalchemy import delete, text
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.orm import Session

from services.campaigns.tables import customer, open_case, promotion_pause
from shared.customers import lock_active
from shared.events.feedback import CaseOpened, CaseReopened, CaseResolved, SatisfactionChanged

DETRACTOR = "detractor"


def follow_satisfaction(session: Session, events: Sequence[SatisfactionChanged]) -> None:
    """A detractor is left in peace; anybody else may hear from us again."""
    active = lock_active(session, customer, {event.customer_id for event in events})
    latest = {event.customer_id: event for event in events if event.customer_id in active}
    if not latest:
        return
    rows = insert(promotion_pause).values(
        [
            {
                "customer_id": customer_id,
                "satisfaction": latest[customer_id].to,
                "paused": latest[customer_id].to == DETRACTOR,
                "changed_at": latest[customer_id].effective_at,
            }
            for customer_id in sorted(latest)
        ]
    )
    session.execute(
        rows.on_conflict_do_update(
            index_elements=["customer_id"],
            set_={name: rows.excluded[name] for name in ("satisfaction", "paused", "changed_at")},
        )
    )


def open_cases(session: Session, events: Sequence[CaseOpened]) -> None:
    _open(session, events)


def reopen_cases(session: Session, events: Sequence[CaseReopened]) -> None:
    """A detractor whose case is open again is left in peace again."""
    reopened = _open(session, events)
    session.execute(_PAUSE, {"customers": [event.customer_id for event in reopened], "detractor": DETRACTOR})


def resolve_cases(session: Session, events: Sequence[CaseResolved]) -> None:
    """With the last open case resolved the customer may hear from us again."""
    active = lock_active(session, customer, {event.customer_id for event in events})
    resolved = [event for event in events if event.customer_id in active]
    session.execute(delete(open_case).where(open_case.c.case_id.in_([event.case_id for event in resolved])))
    session.execute(_RESUME, {"customers": [event.customer_id for event in resolved]})


def _open(
    session: Session, events: Sequence[CaseOpened] | Sequence[CaseReopened]
) -> list[CaseOpened | CaseReopened]:
    active = lock_active(session, customer, {event.customer_id for event in events})
    opened = [event for event in events if event.customer_id in active]
    if opened:
        rows = [{"case_id": event.case_id, "customer_id": event.customer_id} for event in opened]
        session.execute(insert(open_case).values(rows).on_conflict_do_nothing())
    return opened


_PAUSE = text("""
    update promotion_pause set paused = true
    where customer_id = any(cast(:customers as uuid[])) and satisfaction = :detractor and not paused
""")

_RESUME = text("""
    update promotion_pause p set paused = false
    where customer_id = any(cast(:customers as uuid[])) and paused
        and not exists (select from open_case c where c.customer_id = p.customer_id)
""")
