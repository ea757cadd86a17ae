"""Tags of many customers: rules evaluated, bulk changes carried out, ends that have come. In portions, each committed."""

import logging
from datetime import datetime
from typing import Any
from uuid import UUID

from sqlalchemy import func, select
from sqlalchemy.orm import Session

from services.profile.domain import tag_rules, tags
from services.profile.domain.tag_rules import FIRST, Window
from shared.errors import Refusal
from shared.jobs.runner import RunningJob
from shared.jobs.schedule import Context

log = logging.getLogger(__name__)

# Customers locked and announced in one transaction.
PORTION = 1_000


def change_tags(job: RunningJob, *, portion: int = PORTION) -> None:
    """A bulk change: for the customers of a filter along their ids, or for those that were named."""
    asked = job.parameters
    ends = asked.get("expires_at")
    tagging = (asked["action"], asked["tag"], ends and datetime.fromisoformat(ends))
    by = job.created_by or "job"
    if (conditions := asked.get("conditions")) is None:
        ids = [UUID(each) for each in asked["customer_ids"]]
        with job.chunk() as chunk:
            changed = tag_rules.change_these(chunk.session, ids, tagging, by, _now(chunk.session))
            chunk.total = len(ids)
            chunk.advance(processed=len(ids))
            chunk.report = {"customers_changed": changed}
        return
    _along(
        job,
        lambda session, after: tag_rules.change(
            session, conditions, tagging, by, after, portion, _now(session)
        ),
    )


def evaluate_tag_rule(job: RunningJob, *, portion: int = PORTION) -> None:
    """One rule for all customers."""
    name = job.parameters["name"]
    _along(job, lambda session, after: tag_rules.evaluate(session, name, after, portion, _now(session)))
    with job.chunk() as chunk:
        tag_rules.note_evaluated(chunk.session, name, _now(chunk.session))


def evaluate_tag_rules(context: Context, *, portion: int = PORTION) -> None:
    """Every rule that is on, for all customers; may run again."""
    with context.sessions.begin() as session:
        names = tag_rules.enabled(session)
    for name in names:
        try:
            _evaluate(context, name, portion)
        except Refusal as refusal:
            # What it goes by is gone (an attribute, a region set): its tags stay as they are until somebody looks.
            log.warning("the tag rule %s cannot be evaluated: %s", name, refusal.code)


def _evaluate(context: Context, name: str, portion: int) -> None:
    after: UUID | None = FIRST
    while after is not None:
        with context.sessions.begin() as session:
            after = tag_rules.evaluate(session, name, after, portion, _now(session)).after
    with context.sessions.begin() as session:
        tag_rules.note_evaluated(session, name, _now(session))


def expire_tags(context: Context, *, portion: int = PORTION) -> None:
    """End the tags whose end has come."""
    ended = portion
    while ended:
        with context.sessions.begin() as session:
            ended = tags.expire(session, portion)


def _along(job: RunningJob, step: Any) -> None:
    after: str | None = job.cursor.get("after", str(FIRST))
    while after is not None:
        with job.chunk() as chunk:
            window: Window = step(chunk.session, UUID(after))
            after = None if window.after is None else str(window.after)
            chunk.cursor = {"after": after}
            chunk.advance(processed=window.seen)
            changed = chunk.report.get("customers_changed", 0) + window.changed
            chunk.report = {"customers_changed": changed}


def _now(session: Session) -> datetime:
    now: datetime = session.execute(select(func.now())).scalar_one()
    return now
