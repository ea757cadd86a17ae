"""Tiers held by hand: given with a reason, for a while or until they are released, and then judged by the rules again.

While one is held the customer has exactly that tier: scores move on, the tier does not. When it ends, everything is as if a
grace had just run out: the tier rises, stays or falls at once as a review decides (rules/tiers.decide). It belongs to the
customer for whom it was set, and rests and wakes with that customer's tier where it takes part in a merge (domain/merges.py).
"""

from collections.abc import Sequence
from datetime import datetime
from typing import NamedTuple
from uuid import UUID

from sqlalchemy import text
from sqlalchemy.orm import Session

from services.scoring.domain import calibrations, scores, tier_changes
from services.scoring.domain.calibrations import Calibration
from services.scoring.domain.causes import Cause
from services.scoring.domain.tier_changes import Change
from services.scoring.rules.tiers import Decision, Standing
from services.scoring.tables import customer
from shared import audit
from shared.customers import lock_active, owner_of
from shared.errors import Conflict, Fault, Invalid
from shared.messaging.outbox import announce


class _Held(NamedTuple):
    customer_id: UUID
    tier: str | None
    as_of: datetime
    deserved: int | None = None


def hold(
    session: Session, customer_id: UUID, tier: str, reason: str, until: datetime | None, by: str
) -> UUID:
    """Give a customer exactly this tier, until ``until`` or a release; gives the owner: a merged customer's winner.

    Holding the same again changes nothing but reason and end. Raises as ``customers.owner_of``, Conflict ``no_calibration``
    before the first, Invalid ``unknown_tier``.
    """
    owner, calibration = _enter(session, customer_id)
    codes = [level.code for level in calibration.policy.tiers]
    if tier not in codes:
        fault = Fault("/tier", "unknown_tier", f"the tiers are {', '.join(codes)}")
        raise Invalid("unknown_tier", "the policy in force has no such tier", faults=[fault])
    scores.catch_up(session, calibration, [owner])
    held = _tier_of(session, owner, calibration)
    _keep(session, calibration, held, codes.index(tier))
    session.execute(
        text("update tier set manual = true, downgrade_due_at = null where customer_id = :id"), {"id": owner}
    )
    session.execute(
        text("""
            insert into manual_tier as m (customer_id, tier, reason, until, set_by)
            values (:id, :tier, :reason, :until, :by)
            on conflict (customer_id) do update set tier = excluded.tier, reason = excluded.reason,
                until = excluded.until, set_by = excluded.set_by, set_at = now()
        """),
        {"id": owner, "tier": tier, "reason": reason, "until": until, "by": by},
    )
    end = None if until is None else until.isoformat()
    audit.record(session, "tier_held", by=by, subject=str(owner), tier=tier, until=end)
    return owner


def release(session: Session, customer_id: UUID, by: str) -> None:
    """Let the rules judge again; where nothing is held, nothing changes. Raises as ``hold``."""
    owner, calibration = _enter(session, customer_id)
    _let_go(session, calibration, [owner], by)


def expired(session: Session, size: int) -> Sequence[UUID]:
    """Customers whose manual tier has ended by the database's clock, by the index of those that end."""
    return session.scalars(
        text(
            "select customer_id from manual_tier where until <= now() order by until, customer_id limit :size"
        ),
        {"size": size},
    ).all()


def expire(session: Session, customer_ids: Sequence[UUID]) -> None:
    """Release those of these customers (locked, behind the gate) whose manual tier has ended."""
    calibration = calibrations.current(session)
    if calibration is None:
        return
    ended = session.scalars(
        text(
            "select customer_id from manual_tier where until <= now() and customer_id = any(cast(:ids as uuid[]))"
        ),
        {"ids": list(customer_ids)},
    ).all()
    _let_go(session, calibration, sorted(ended), "expiry")


def _enter(session: Session, customer_id: UUID) -> tuple[UUID, Calibration]:
    calibrations.enter(session)
    owner = owner_of(session, customer, customer_id)
    if owner not in lock_active(session, customer, [owner]):
        owner = owner_of(session, customer, customer_id)  # merged or erased while this waited
        lock_active(session, customer, [owner])
    calibration = calibrations.current(session)
    if calibration is None:
        raise Conflict("no_calibration", "nobody has a tier before the first calibration")
    return owner, calibration


def _let_go(session: Session, calibration: Calibration, customer_ids: Sequence[UUID], by: str) -> None:
    active = sorted(lock_active(session, customer, customer_ids))
    scores.catch_up(session, calibration, active)
    released = session.scalars(
        text("delete from manual_tier where customer_id = any(cast(:ids as uuid[])) returning customer_id"),
        {"ids": list(customer_ids)},
    ).all()
    # The grace is over: what is deserved is given by the review that follows, or when a tier that rests is in force again.
    for name in ("tier", "tier_resting"):
        session.execute(
            text(f"""
                update {name} set manual = false, downgrade_due_at = now()
                where customer_id = any(cast(:ids as uuid[])) and manual
            """),
            {"ids": released},
        )
    for each in sorted(released):
        audit.record(session, "tier_released", by=by, subject=str(each))
    active = [each for each in active if each in released]
    if not active:
        return
    now = session.scalars(text("select now()")).one()
    cause = Cause(reason="manual", effective_at=now, historical=False, review=now)
    scores.score_customers(session, calibration, active, lambda _: cause)
    # Whoever never bought is not scored, and has the lowest.
    unscored = session.scalars(
        text("""
            select customer_id from tier where customer_id = any(cast(:ids as uuid[])) and downgrade_due_at is not null
                and not exists (select from metrics m where m.customer_id = tier.customer_id)
        """),
        {"ids": active},
    ).all()
    for each in unscored:
        _keep(session, calibration, _tier_of(session, each, calibration), 0)


def _tier_of(session: Session, owner: UUID, calibration: Calibration) -> _Held:
    row = session.execute(
        text("""
            select t.tier, s.as_of from (select cast(:id as uuid) as customer_id) c
            left join tier t using (customer_id) left join score s using (customer_id)
        """),
        {"id": owner},
    ).one()
    return _Held(owner, row.tier, row.as_of or calibration.as_of)


def _keep(session: Session, calibration: Calibration, held: _Held, level: int) -> None:
    """Put a tier in force and tell, if it is another than before."""
    now = session.scalars(text("select now()")).one()
    cause = Cause(reason="manual", effective_at=now, historical=False)
    changed = held.tier != calibration.policy.tiers[level].code
    decision = Decision(Standing(level), "raised" if changed else "kept")
    tier_changes.keep(
        session, calibration, [Change(held.customer_id, held.tier, decision, cause, held.as_of)], False
    )
    announce(session, *tier_changes.events(held, held.tier, decision, calibration, cause))
