"""Who hears no promotions for now: a detractor, until the case is resolved.

Kept for each customer by what its own key says, and asked for everybody who is merged into an owner: so the state is the
same in whatever order keys are heard, and after an unmerge each has its own back.
"""

from collections.abc import Sequence
from typing import TypeVar
from uuid import UUID

from sqlalchemy import delete, text
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.orm import Session

from services.campaigns.tables import customer, open_case, promotion_pause
from shared.customers import lock_owners, recorded_customer
from shared.events.envelope import CustomerEvent
from shared.events.feedback import CaseOpened, CaseReopened, CaseResolved, SatisfactionChanged

DETRACTOR = "detractor"
Told = TypeVar("Told", bound=CustomerEvent)


def follow_satisfaction(session: Session, events: Sequence[SatisfactionChanged]) -> None:
    """A detractor is left in peace; anybody else may hear from us again."""
    owners, told = _locked(session, events)
    latest = dict(told)
    if not latest:
        return
    rows = insert(promotion_pause).values(
        [
            {
                "recorded_customer_id": recorded,
                "customer_id": owners[recorded],
                "satisfaction": latest[recorded].to,
                "paused": latest[recorded].to == DETRACTOR,
                "changed_at": latest[recorded].effective_at,
            }
            for recorded in sorted(latest)
        ]
    )
    session.execute(
        rows.on_conflict_do_update(
            index_elements=["recorded_customer_id"],
            set_={name: rows.excluded[name] for name in ("satisfaction", "paused", "changed_at")},
        )
    )


def open_cases(session: Session, events: Sequence[CaseOpened]) -> None:
    _open(session, events)


def reopen_cases(session: Session, events: Sequence[CaseReopened]) -> None:
    """A detractor whose case is open again is left in peace again."""
    session.execute(_PAUSE, {"customers": _open(session, events), "detractor": DETRACTOR})


def resolve_cases(session: Session, events: Sequence[CaseResolved]) -> None:
    """With the last open case resolved the customer may hear from us again."""
    _, told = _locked(session, events)
    session.execute(delete(open_case).where(open_case.c.case_id.in_([event.case_id for _, event in told])))
    session.execute(_RESUME, {"customers": [recorded for recorded, _ in told]})


def _open(session: Session, events: Sequence[CaseOpened] | Sequence[CaseReopened]) -> list[UUID]:
    owners, told = _locked(session, events)
    if told:
        rows = [
            {"case_id": event.case_id, "customer_id": owners[recorded], "recorded_customer_id": recorded}
            for recorded, event in told
        ]
        session.execute(insert(open_case).values(rows).on_conflict_do_nothing())
    return [recorded for recorded, _ in told]


def _locked(session: Session, events: Sequence[Told]) -> tuple[dict[UUID, UUID], list[tuple[UUID, Told]]]:
    """The owners of those who are still there, locked, and their events with the customers they were recorded under."""
    told = [(recorded, event) for event in events if (recorded := recorded_customer(event)) is not None]
    owners = dict(lock_owners(session, customer, {recorded for recorded, _ in told}).active)
    return owners, [each for each in told if each[0] in owners]


_PAUSE = text("""
    update promotion_pause set paused = true
    where recorded_customer_id = any(cast(:customers as uuid[])) and satisfaction = :detractor and not paused
""")

_RESUME = text("""
    update promotion_pause p set paused = false
    where recorded_customer_id = any(cast(:customers as uuid[])) and paused
        and not exists (
            select from open_case c
            where c.customer_id = p.customer_id and c.recorded_customer_id = p.recorded_customer_id)
""")
