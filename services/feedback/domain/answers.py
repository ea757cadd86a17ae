"""What customers answer, once per link."""

from dataclasses import dataclass
from datetime import datetime
from typing import Any
from uuid import UUID

from sqlalchemy import Row, func, insert, select
from sqlalchemy.orm import Session

from services.feedback.domain import cases, satisfaction
from services.feedback.rules import nps
from services.feedback.tables import answer, customer, invitation, survey
from shared import sealing
from shared.customers import lock_owners, whose
from shared.errors import Conflict, Gone, NotFound
from shared.events.feedback import SurveyAnswered
from shared.ids import uuid7
from shared.messaging.outbox import announce


@dataclass(frozen=True)
class Asked:
    """An invitation as its link shows it. ``state``: open, answered, expired, or withdrawn (the customer has been
    erased)."""

    invitation: Row[Any]
    state: str
    titles: dict[str, str]
    language: str | None


def asked(session: Session, invitation_id: UUID | None, now: datetime, *, lock: bool = False) -> Asked | None:
    if invitation_id is None:
        return None
    query = (
        select(
            invitation,
            survey.c.titles,
            customer.c.language,
            func.coalesce(customer.c.state, "active").label("customer_state"),
        )
        .join(survey, survey.c.survey_id == invitation.c.survey_id)
        .join(customer, customer.c.customer_id == invitation.c.customer_id, isouter=True)
        .where(invitation.c.invitation_id == invitation_id)
    )
    row = session.execute(
        query.with_for_update(of=invitation, key_share=True) if lock else query
    ).one_or_none()
    if row is None:
        return None
    # A statement of its own, after the lock: what another transaction answered while this one waited is seen here.
    answered = session.scalar(select(answer.c.answer_id).where(answer.c.invitation_id == invitation_id))
    if row.customer_state != "active":
        state = "withdrawn"
    elif answered:
        state = "answered"
    else:
        state = "open" if now < row.expires_at else "expired"
    return Asked(row, state, row.titles, row.language)


def give(
    session: Session, invitation_id: UUID, score: int, comment: str, language: str, now: datetime
) -> UUID:
    """Record the answer of whoever holds the link, and act on it: the customer's satisfaction follows, and a
    detractor (0–6) opens a case. Raises NotFound, Gone (expired, withdrawn) or Conflict (``already_answered``: the
    first answer stays)."""
    recorded = session.scalar(
        select(invitation.c.recorded_customer_id).where(invitation.c.invitation_id == invitation_id)
    )
    # The customer before the invitation, as a merge does, which moves invitations.
    if recorded is not None:
        lock_owners(session, customer, [recorded])
    found = asked(session, invitation_id, now, lock=True)
    if found is None:
        raise NotFound("unknown_invitation", "this invitation is not known")
    if found.state == "answered":
        raise Conflict("already_answered", "this invitation has been answered; the first answer stays")
    if found.state != "open":
        raise Gone(f"invitation_{found.state}", "this invitation can no longer be answered")

    row, answer_id = found.invitation, uuid7()
    sealed = (
        sealing.seal(session, str(row.recorded_customer_id), f"answer.comment:{answer_id}", comment)
        if comment
        else None
    )
    session.execute(
        insert(answer).values(
            answer_id=answer_id,
            invitation_id=invitation_id,
            survey_id=row.survey_id,
            customer_id=row.customer_id,
            recorded_customer_id=row.recorded_customer_id,
            score=score,
            comment=sealed,
            language=language,
            answered_at=now,
        )
    )
    answered = SurveyAnswered(
        **whose(row.customer_id, row.recorded_customer_id),
        answer_id=answer_id,
        invitation_id=invitation_id,
        survey_id=row.survey_id,
        measure="nps",
        score=score,
        effective_at=now,
    )
    announce(session, answered)
    group = satisfaction.record(session, row.customer_id, row.recorded_customer_id, score, now, answered)
    if group == nps.DETRACTOR:
        cases.open_for_detractor(session, row, answer_id, score, comment, language, now, answered)
    return answer_id
