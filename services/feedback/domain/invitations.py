"""Whom we ask, and when."""

from collections import defaultdict
from collections.abc import Collection, Mapping, Sequence
from datetime import datetime, timedelta
from typing import Any, cast
from uuid import UUID

from sqlalchemy import ARRAY, Row, bindparam, func, insert, select, tuple_, update
from sqlalchemy.orm import Session

from services.feedback.domain import held_back
from services.feedback.rules import throttle
from services.feedback.tables import answer, customer, invitation, survey
from shared.customers import lock_owners, recorded_customer, whose
from shared.database import Uuid
from shared.events.feedback import SurveyInvited
from shared.events.profile import PurchaseRecorded
from shared.ids import uuid7
from shared.messaging.outbox import announce

PURCHASE = "purchase"
CHANNEL = "email"  # campaigns is the sender, and e-mail the one channel it has


def after_purchases(session: Session, events: Sequence[PurchaseRecorded]) -> None:
    """Ask the buyers, each survey within its throttle. Old purchases ask nobody, and are counted, whether or not a
    survey was waiting for them; anonymous ones have nobody to ask."""
    owned = [event for event in events if event.customer_id is not None]
    held_back.count(session, PURCHASE, "historical", sum(event.historical for event in owned))
    fresh = [event for event in owned if not event.historical]
    if not fresh:
        return
    # The lock under which two purchases at once make one invitation: what follows sees what the other one decided.
    recorded = {under for event in fresh if (under := recorded_customer(event)) is not None}
    owners = lock_owners(session, customer, recorded).active
    active = session.execute(
        select(survey)
        .where(survey.c.state == "active", survey.c.trigger == PURCHASE)
        .order_by(survey.c.survey_id)
    ).all()
    for asking in active:
        buyers: dict[UUID, list[PurchaseRecorded]] = defaultdict(list)
        for event in fresh:
            owner = owners.get(_under(event))
            if owner is not None and event.recorded_at >= asking.active_since:
                buyers[owner].append(event)
        if buyers:
            _invite(session, asking, buyers)


def _under(event: PurchaseRecorded) -> UUID:
    """Under whom it was recorded; asked only of a purchase that somebody made."""
    return cast("UUID", recorded_customer(event))


def _invite(session: Session, asking: Row[Any], buyers: Mapping[UUID, Sequence[PurchaseRecorded]]) -> None:
    last = _last_invited(session, asking.survey_id, buyers)
    gap = timedelta(days=asking.throttle_days)
    admitted = [
        (customer_id, event)
        for customer_id, own in buyers.items()
        for event, may in zip(
            own, throttle.admitted(last.get(customer_id), (e.recorded_at for e in own), gap), strict=True
        )
        if may
    ]
    held_back.count(session, PURCHASE, "throttled", sum(map(len, buyers.values())) - len(admitted))
    if not admitted:
        return
    rows = [_row(asking, owner, event) for owner, event in admitted]
    session.execute(insert(invitation), rows)
    if asking.delay_minutes == 0:
        told = zip(rows, admitted, strict=True)
        announce(session, *(_invited(row).because(event) for row, (_, event) in told))


def _last_invited(
    session: Session, survey_id: UUID, customer_ids: Collection[UUID]
) -> Mapping[UUID, datetime]:
    rows = session.execute(
        select(invitation.c.customer_id, func.max(invitation.c.invited_at).label("invited_at"))
        .where(
            invitation.c.customer_id == func.any(bindparam("ids", list(customer_ids), type_=ARRAY(Uuid))),
            invitation.c.survey_id == survey_id,
        )
        .group_by(invitation.c.customer_id)
    )
    return {row.customer_id: row.invited_at for row in rows}


def _row(asking: Row[Any], owner: UUID, event: PurchaseRecorded) -> dict[str, Any]:
    due_at = event.recorded_at + timedelta(minutes=asking.delay_minutes)
    return {
        "invitation_id": uuid7(),
        "survey_id": asking.survey_id,
        "customer_id": owner,
        "recorded_customer_id": _under(event),
        "purchase_id": event.purchase_id,
        "channel": CHANNEL,
        "invited_at": event.recorded_at,
        "due_at": due_at,
        "expires_at": due_at + timedelta(days=asking.answer_days),
        "announced": asking.delay_minutes == 0,
    }


def _invited(row: Mapping[str, Any]) -> SurveyInvited:
    return SurveyInvited(
        **whose(row["customer_id"], row["recorded_customer_id"]),
        invitation_id=row["invitation_id"],
        survey_id=row["survey_id"],
        channel=row["channel"],
        effective_at=row["due_at"],
    )


def announce_due(session: Session, most: int = 500) -> int:
    """Announce the invitations whose delay has passed; a paused survey's wait. Returns how many there were."""
    due = (
        select(invitation.c.invitation_id)
        .join(survey, survey.c.survey_id == invitation.c.survey_id)
        .where(
            ~invitation.c.announced,
            invitation.c.due_at <= func.now(),
            invitation.c.expires_at > func.now(),
            survey.c.state == "active",
            ~select(customer.c.customer_id)
            .where(customer.c.customer_id == invitation.c.customer_id, customer.c.state != "active")
            .exists(),
        )
        .order_by(invitation.c.due_at)
        .limit(most)
        .with_for_update(of=invitation, skip_locked=True, key_share=True)
    )
    rows = session.execute(
        update(invitation)
        .where(invitation.c.invitation_id.in_(due.scalar_subquery()))
        .values(announced=True)
        .returning(invitation)
    ).all()
    announce(session, *(_invited(dict(row._mapping)) for row in rows))
    return len(rows)


def of_customer(
    session: Session, customer_id: UUID, after: tuple[Any, ...] | None, most: int
) -> Sequence[Any]:
    """A customer's invitations, newest first, each with when it was answered; from the one before ``after``."""
    query = (
        select(invitation, survey.c.name.label("survey_name"), answer.c.answered_at)
        .join(survey, survey.c.survey_id == invitation.c.survey_id)
        .join(answer, answer.c.invitation_id == invitation.c.invitation_id, isouter=True)
        .where(invitation.c.customer_id == customer_id)
        .order_by(invitation.c.invited_at.desc(), invitation.c.invitation_id.desc())
        .limit(most)
    )
    if after:
        query = query.where(tuple_(invitation.c.invited_at, invitation.c.invitation_id) < tuple_(*after))
    return session.execute(query).all()


def languages_of(session: Session, invitation_ids: Sequence[UUID]) -> Sequence[Any]:
    """Those invitations that can still be answered, each with its customer's language."""
    return session.execute(
        select(invitation.c.invitation_id, customer.c.language)
        .join(customer, customer.c.customer_id == invitation.c.customer_id, isouter=True)
        .join(answer, answer.c.invitation_id == invitation.c.invitation_id, isouter=True)
        .where(
            invitation.c.invitation_id.in_(invitation_ids),
            invitation.c.expires_at > func.now(),
            answer.c.answer_id.is_(None),
            func.coalesce(customer.c.state, "active") == "active",
        )
        .order_by(invitation.c.invitation_id)
    ).all()
