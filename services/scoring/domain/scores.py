"""Scores and tiers: everybody who is touched is placed in the distributions of the calibration in force, set-based.

SQL (domain/placement.py) counts and compares (bands, score, what tier is deserved); the few whose bands or tier move come back and rules/tiers
decides. A run of purchases is scored after each of its events, from running sums, so that what is announced does not depend
on how the events were cut into batches.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Any
from uuid import UUID

from sqlalchemy import Row, text
from sqlalchemy.orm import Session

from services.scoring.domain import outlooks, placement, tier_changes
from services.scoring.domain.calibrations import Calibration
from services.scoring.domain.causes import Cause
from services.scoring.domain.facts import RECORD_PURCHASES, Purchase, purchase_parameters
from services.scoring.domain.tier_changes import Change
from services.scoring.rules.tiers import Standing, decide, standing_of
from shared.events.envelope import Event
from shared.events.scoring import ScoreUpdated
from shared.messaging.outbox import announce


@dataclass
class Moves:
    """How many scores and tiers a statement moved, and how many customers are heading elsewhere."""

    scores: int = 0
    tiers: dict[str, int] = field(default_factory=dict)
    heading: outlooks.Moves = field(default_factory=outlooks.Moves)


_RECORD = RECORD_PURCHASES + "select count(*) from fresh"


def record_purchases(
    session: Session,
    calibration: Calibration | None,
    purchases: Sequence[Purchase],
    time_zone: str,
    cause: Callable[[int], Cause],
) -> None:
    """Record a run of purchases, move the metrics and, once there is a calibration, the scores after each of them.

    ``time_zone`` is that of the books, ``cause(i)`` why ``purchases[i]`` changes a score. Recording a purchase again changes
    nothing.
    """
    facts = purchase_parameters(purchases, time_zone)
    if calibration is None:
        session.connection().exec_driver_sql(_RECORD, facts)
        return
    statement = placement.of_purchases(calibration.policy)
    rows = _scored(session, statement, facts | placement.parameters(session, calibration))
    _settle(session, calibration, rows, lambda row: cause(row.ord - 1))
    last = {purchase.customer_id: i for i, purchase in enumerate(purchases)}
    outlooks.refresh(session, calibration, {customer_id: cause(i) for customer_id, i in last.items()})


def score_customers(
    session: Session,
    calibration: Calibration,
    customer_ids: Sequence[UUID],
    cause: Callable[[UUID], Cause],
    *,
    raise_quietly: bool = False,
) -> Moves:
    """Score these customers (locked) by their metrics as they are. ``raise_quietly``: tiers rise and the caller tells."""
    parameters = {"customers": list(customer_ids)} | placement.parameters(session, calibration)
    rows = _scored(session, placement.of_customers(calibration.policy), parameters)
    moves = _settle(session, calibration, rows, lambda row: cause(row.customer_id), raise_quietly)
    moves.heading = outlooks.refresh(session, calibration, {each: cause(each) for each in customer_ids})
    return moves


def reband(session: Session, calibration: Calibration, customer_ids: Sequence[UUID]) -> Moves:
    """Score these customers (locked) by a calibration that has taken effect, and review their tiers."""
    now = session.scalars(text("select now()")).one()
    window = timedelta(days=session.info["settings"].historical_after_days)
    cause = Cause(
        reason=calibration.reason,
        effective_at=now,
        historical=now - calibration.as_of > window,
        initial=calibration.initial,
        review=calibration.as_of,
    )
    return score_customers(session, calibration, customer_ids, lambda _: cause)


def catch_up(session: Session, calibration: Calibration, customer_ids: Sequence[UUID]) -> None:
    """Re-band those of these customers (locked) whom the calibration in force has not reached yet, before anything new
    happens to them: so a purchase made meanwhile never takes the credit for a migration."""
    behind = session.scalars(
        text("""
            select m.customer_id from metrics m left join score s using (customer_id)
            where m.customer_id = any(cast(:customers as uuid[])) and s.calibration_id is distinct from :id
        """),
        {"customers": list(customer_ids), "id": calibration.id},
    ).all()
    if behind:
        reband(session, calibration, behind)


def _scored(session: Session, statement: str, parameters: dict[str, Any]) -> Sequence[Row[Any]]:
    return session.connection().exec_driver_sql(statement, parameters).all()


def _settle(
    session: Session,
    calibration: Calibration,
    rows: Sequence[Row[Any]],
    cause_of: Callable[[Row[Any]], Cause],
    quietly: bool = False,
) -> Moves:
    """Announce the scores that moved, decide and announce tiers. Rows come in order per customer."""
    policy = calibration.policy
    codes = [level.code for level in policy.tiers]
    held: dict[UUID, tuple[str | None, Standing]] = {}
    changes: list[Change] = []
    events: list[Event] = []
    moves = Moves()
    for row in rows:
        cause = cause_of(row)
        if row.moved:
            moves.scores += 1
            events.append(cause.led_to(_score_updated(row, calibration, cause)))
        if row.manual:
            continue
        standing, deserved = standing_of(codes, row.tier, row.deserved, row.downgrade_due_at)
        previous, before = held.get(row.customer_id, (row.tier, standing))
        decision = decide(
            before, deserved, cause.review, timedelta(days=policy.grace_days), one_step=policy.one_step
        )
        if decision.kind == "unchanged":
            continue
        moves.tiers[decision.kind] = moves.tiers.get(decision.kind, 0) + 1
        held[row.customer_id] = (codes[decision.standing.level or 0], decision.standing)
        changes.append(Change(row.customer_id, previous, decision, cause, row.as_of))
        if not quietly:
            told = tier_changes.events(row, previous, decision, calibration, cause)
            events.extend(cause.led_to(each) for each in told)
    tier_changes.keep(session, calibration, changes, quietly)
    announce(session, *events)
    return moves


def _score_updated(row: Row[Any], calibration: Calibration, cause: Cause) -> Event:
    return ScoreUpdated(
        customer_id=row.customer_id,
        segment=row.segment,
        r=row.r,
        f=row.f,
        m=row.m,
        value_score=value_score(row.numerator, calibration.counted),
        value_class=row.value_class,
        as_of=row.as_of,
        effective_at=cause.effective_at,
        reason=cause.reason,
        initial=cause.initial,
        historical=cause.historical,
    )


def value_score(numerator: int | None, counted: int) -> float | None:
    """0–100; the numerator is exact, this is for people."""
    return None if numerator is None else round(int(numerator) / counted, 4)
