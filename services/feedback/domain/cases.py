"""Cases: what a customer brings up, by when we promise to answer, and how it ends."""

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any
from uuid import UUID

from sqlalchemy import Row, func, insert, select, tuple_, update
from sqlalchemy.orm import Session

from services.feedback.domain.customers import tier_of
from services.feedback.rules import deadlines, detractors
from services.feedback.tables import case_message, case_number, customer_case, response_promise
from shared import sealing
from shared.customers import whose
from shared.errors import Conflict, NotFound
from shared.events.envelope import Event
from shared.events.feedback import CaseEvent, CaseOpened, CaseReopened, CaseReplied, CaseResolved
from shared.ids import uuid7
from shared.messaging.outbox import announce

REPLY_CHANNEL = "email"


def open_case(
    session: Session,
    customer_id: UUID,
    *,
    category: str,
    severity: str,
    channel: str,
    subject: str,
    text: str | None,
    purchase_id: UUID | None,
    opened_by: str | None,
    now: datetime,
    recorded_customer_id: UUID | None = None,
    answer_id: UUID | None = None,
    cause: Event | None = None,
) -> Row[Any]:
    """Open a case with the deadline that the customer's tier is promised; ``text`` is the customer's first message."""
    case_id, recorded = uuid7(), recorded_customer_id or customer_id
    tier = tier_of(session, customer_id)
    row = session.execute(
        insert(customer_case)
        .values(
            case_id=case_id,
            number=func.concat("C-", func.nextval(case_number.name)),
            customer_id=customer_id,
            recorded_customer_id=recorded,
            category=category,
            severity=severity,
            channel=channel,
            state="open",
            subject=sealing.seal(session, str(recorded), f"customer_case.subject:{case_id}", subject),
            purchase_id=purchase_id,
            answer_id=answer_id,
            tier=tier,
            opened_at=now,
            opened_by=opened_by,
            first_response_due_at=deadlines.first_response_due_at(now, tier, promises(session)),
            updated_at=now,
        )
        .returning(customer_case)
    ).one()
    if text:
        _write(session, row, "customer", text, None, now)
    opened = _event(CaseOpened, row, now)
    announce(session, opened if cause is None else opened.because(cause))
    return row


def open_for_detractor(
    session: Session,
    invitation: Row[Any],
    answer_id: UUID,
    score: int,
    comment: str,
    language: str,
    now: datetime,
    cause: Event,
) -> Row[Any]:
    """A bad answer is a complaint, whether or not it says so; the comment is its first message."""
    return open_case(
        session,
        invitation.customer_id,
        category="complaint",
        severity=detractors.severity(score),
        channel="survey",
        subject=detractors.subject(score, language),
        text=comment,
        purchase_id=invitation.purchase_id,
        opened_by=None,
        now=now,
        recorded_customer_id=invitation.recorded_customer_id,
        answer_id=answer_id,
        cause=cause,
    )


def promises(session: Session) -> Mapping[str, int]:
    return {row.tier: row.hours for row in session.execute(select(response_promise))}


def find(session: Session, case_id: UUID, *, lock: bool = False) -> Row[Any]:
    query = select(customer_case).where(customer_case.c.case_id == case_id)
    row = session.execute(query.with_for_update(key_share=True) if lock else query).one_or_none()
    if row is None:
        raise NotFound("unknown_case", "this case is not known")
    return row


def listed(
    session: Session,
    *,
    customer_id: UUID | None,
    states: Sequence[str],
    due_before: datetime | None,
    after: tuple[Any, ...] | None,
    most: int,
) -> Sequence[Row[Any]]:
    """Newest first; ``due_before``: only those still without a first response whose deadline lies before it."""
    query = (
        select(customer_case)
        .order_by(customer_case.c.opened_at.desc(), customer_case.c.case_id.desc())
        .limit(most)
    )
    if customer_id:
        query = query.where(customer_case.c.customer_id == customer_id)
    if states:
        query = query.where(customer_case.c.state.in_(states))
    if due_before:
        query = query.where(
            customer_case.c.state == "open",
            customer_case.c.first_responded_at.is_(None),
            customer_case.c.first_response_due_at < due_before,
        )
    if after:
        query = query.where(tuple_(customer_case.c.opened_at, customer_case.c.case_id) < tuple_(*after))
    return session.execute(query).all()


def subjects(session: Session, rows: Sequence[Row[Any]]) -> list[str | None]:
    return sealing.unseal_many(
        session,
        [
            (str(row.recorded_customer_id), f"customer_case.subject:{row.case_id}", row.subject)
            for row in rows
        ],
    )


def add_message(
    session: Session, case: Row[Any], kind: str, text: str, author: str, now: datetime
) -> Row[Any]:
    """Write into a locked case. A reply stops the clock of the first response and is announced, so that campaigns
    sends it; a note stays inside; ``customer`` records what the customer said elsewhere."""
    message = _write(session, case, kind, text, author, now)
    changes: dict[str, Any] = {}
    if kind == "reply":
        if case.first_responded_at is None:
            changes["first_responded_at"] = now
        announce(
            session,
            CaseReplied(
                **whose(case.customer_id, case.recorded_customer_id),
                case_id=case.case_id,
                message_id=message.message_id,
                channel=REPLY_CHANNEL,
                effective_at=now,
            ),
        )
    _change(session, case, now, changes)
    return message


def resolve(session: Session, case: Row[Any], now: datetime) -> Row[Any]:
    """Close a locked case as solved; resolving a resolved one changes nothing."""
    if case.state == "resolved":
        return case
    changed = _change(session, case, now, {"state": "resolved", "resolved_at": now})
    announce(session, _event(CaseResolved, changed, now))
    return changed


def reopen(session: Session, case: Row[Any], now: datetime) -> Row[Any]:
    """Open a locked, resolved case again: the clock of the first response starts anew, by the tier of today."""
    if case.state != "resolved":
        raise Conflict("case_not_resolved", "only a resolved case can be reopened")
    tier = tier_of(session, case.customer_id)
    changed = _change(
        session,
        case,
        now,
        {
            "state": "open",
            "resolved_at": None,
            "first_responded_at": None,
            "tier": tier,
            "first_response_due_at": deadlines.first_response_due_at(now, tier, promises(session)),
            "reopened_count": case.reopened_count + 1,
        },
    )
    announce(session, _event(CaseReopened, changed, now))
    return changed


def messages(session: Session, case_id: UUID, after: tuple[Any, ...] | None, most: int) -> Sequence[Row[Any]]:
    """The thread, oldest first."""
    query = (
        select(case_message)
        .where(case_message.c.case_id == case_id)
        .order_by(case_message.c.written_at, case_message.c.message_id)
        .limit(most)
    )
    if after:
        query = query.where(tuple_(case_message.c.written_at, case_message.c.message_id) > tuple_(*after))
    return session.execute(query).all()


def texts(session: Session, rows: Sequence[Row[Any]]) -> list[str | None]:
    return sealing.unseal_many(
        session,
        [(str(row.recorded_customer_id), f"case_message.body:{row.message_id}", row.body) for row in rows],
    )


def replies(session: Session, message_ids: Sequence[UUID]) -> Sequence[Row[Any]]:
    """Those of the messages that are replies to customers, each with its case's number and customer."""
    return session.execute(
        select(case_message, customer_case.c.number, customer_case.c.customer_id)
        .join(customer_case, customer_case.c.case_id == case_message.c.case_id)
        .where(case_message.c.message_id.in_(message_ids), case_message.c.kind == "reply")
        .order_by(case_message.c.message_id)
    ).all()


def _write(
    session: Session, case: Row[Any], kind: str, text: str, author: str | None, now: datetime
) -> Row[Any]:
    message_id = uuid7()
    return session.execute(
        insert(case_message)
        .values(
            message_id=message_id,
            case_id=case.case_id,
            recorded_customer_id=case.recorded_customer_id,
            kind=kind,
            body=sealing.seal(
                session, str(case.recorded_customer_id), f"case_message.body:{message_id}", text
            ),
            author=author,
            written_at=now,
        )
        .returning(case_message)
    ).one()


def _change(session: Session, case: Row[Any], now: datetime, changes: Mapping[str, Any]) -> Row[Any]:
    return session.execute(
        update(customer_case)
        .where(customer_case.c.case_id == case.case_id)
        .values(version=case.version + 1, updated_at=now, **changes)
        .returning(customer_case)
    ).one()


def _event(kind: type[CaseEvent], case: Row[Any], now: datetime) -> CaseEvent:
    return kind(
        **whose(case.customer_id, case.recorded_customer_id),
        case_id=case.case_id,
        category=case.category,
        severity=case.severity,
        channel=case.channel,
        purchase_id=case.purchase_id,
        effective_at=now,
    )
