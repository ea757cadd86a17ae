"""Surveys: what is asked, of whom, how often, and what came of it."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any
from uuid import UUID

from sqlalchemy import Row, func, insert, select, tuple_, update
from sqlalchemy.orm import Session

from services.feedback.rules import nps
from services.feedback.tables import answer, invitation, survey
from shared.errors import NotFound
from shared.ids import uuid7


def create(session: Session, values: Mapping[str, Any], now: datetime) -> Row[Any]:
    return session.execute(
        insert(survey)
        .values(survey_id=uuid7(), measure="nps", active_since=now, created_at=now, updated_at=now, **values)
        .returning(survey)
    ).one()


def find(session: Session, survey_id: UUID, *, lock: bool = False) -> Row[Any]:
    query = select(survey).where(survey.c.survey_id == survey_id)
    row = session.execute(query.with_for_update(key_share=True) if lock else query).one_or_none()
    if row is None:
        raise NotFound("unknown_survey", "this survey is not known")
    return row


def edit(session: Session, current: Row[Any], changes: Mapping[str, Any], now: datetime) -> Row[Any]:
    """Change a locked survey. One that was paused asks those who buy from now on."""
    values = dict(changes)
    if current.state == "paused" and values.get("state") == "active":
        values["active_since"] = now
    return session.execute(
        update(survey)
        .where(survey.c.survey_id == current.survey_id)
        .values(version=current.version + 1, updated_at=now, **values)
        .returning(survey)
    ).one()


def listed(session: Session, after: tuple[Any, ...] | None, most: int) -> Sequence[Row[Any]]:
    """Newest first; from the one before ``after`` = (created_at, survey_id)."""
    query = select(survey).order_by(survey.c.created_at.desc(), survey.c.survey_id.desc()).limit(most)
    if after:
        query = query.where(tuple_(survey.c.created_at, survey.c.survey_id) < tuple_(*after))
    return session.execute(query).all()


@dataclass(frozen=True)
class Outcome:
    """What came of a survey. ``invitations`` counts those announced, whether or not a message could be sent."""

    results: nps.Results
    invitations: int

    @property
    def response_rate(self) -> float | None:
        return nps.response_rate(self.results.answers, self.invitations)


def outcome(session: Session, survey_id: UUID) -> Outcome:
    """Counted by score, so that what a promoter is stands in one place."""
    counts = dict.fromkeys((nps.PROMOTER, nps.PASSIVE, nps.DETRACTOR), 0)
    scores = (
        select(answer.c.score, func.count()).where(answer.c.survey_id == survey_id).group_by(answer.c.score)
    )
    for score, count in session.execute(scores):
        counts[nps.group(score)] += count
    invitations = session.scalar(
        select(func.count())
        .select_from(invitation)
        .where(invitation.c.survey_id == survey_id, invitation.c.announced)
    )
    results = nps.Results(counts[nps.PROMOTER], counts[nps.PASSIVE], counts[nps.DETRACTOR])
    return Outcome(results, invitations or 0)
