"""Changes of tiers: told and kept."""

from collections.abc import Sequence
from datetime import datetime
from typing import Any, NamedTuple, Protocol
from uuid import UUID

from sqlalchemy import Row, text
from sqlalchemy.orm import Session

from services.scoring.domain.calibrations import Calibration
from services.scoring.domain.causes import Cause
from services.scoring.rules.tiers import Decision
from shared.events.envelope import Event
from shared.events.scoring import TierChanged, TierDowngradeDue

_MOVED = ("raised", "lowered")


class Change(NamedTuple):
    """What was decided about a customer's tier; ``previous`` is null for the first one."""

    customer_id: UUID
    previous: str | None
    decision: Decision
    cause: Cause
    as_of: datetime


class Judged(Protocol):
    """A customer whose tier was decided about, and what is deserved."""

    @property
    def customer_id(self) -> UUID: ...
    @property
    def deserved(self) -> int | None: ...
    @property
    def as_of(self) -> datetime: ...


def events(
    row: Judged | Row[Any], previous: str | None, decision: Decision, calibration: Calibration, cause: Cause
) -> list[Event]:
    """What a decision has to tell: that a tier changed, or that a downgrade will be due."""
    policy = calibration.policy
    level = decision.standing.level
    if level is None or decision.kind == "kept":
        return []
    if decision.kind == "noticed" and not policy.notice:
        return []
    if decision.kind == "noticed" and decision.standing.downgrade_due_at is not None:
        return [
            TierDowngradeDue(
                customer_id=row.customer_id,
                tier=policy.tiers[level].code,
                deserved_tier=policy.tiers[row.deserved or 0].code,
                due_at=decision.standing.downgrade_due_at,
                effective_at=cause.effective_at,
                reason=cause.reason,
                historical=cause.historical,
                as_of=calibration.as_of,
                policy_version=policy.version,
            )
        ]
    return [
        TierChanged(
            customer_id=row.customer_id,
            tier=policy.tiers[level].code,
            previous_tier=previous,
            effective_at=cause.effective_at,
            reason=cause.reason,
            initial=cause.initial,
            historical=cause.historical,
            as_of=row.as_of,
            policy_version=policy.version,
        )
    ]


_KEEP_TIERS = text("""
    insert into tier (customer_id, tier, since, policy_version, downgrade_due_at)
    select customer_id, tier, since, :policy_version, due from unnest(
        cast(:customers as uuid[]), cast(:tiers as text[]), cast(:since as timestamptz[]), cast(:due as timestamptz[]))
        as t (customer_id, tier, since, due)
    on conflict (customer_id) do update set
        tier = excluded.tier, policy_version = excluded.policy_version, downgrade_due_at = excluded.downgrade_due_at,
        since = case when tier.tier = excluded.tier then tier.since else excluded.since end
""")

_KEEP_CHANGES = text("""
    insert into tier_change (
        customer_id, tier, previous_tier, effective_at, reason, initial, historical, as_of, policy_version)
    select customer_id, tier, previous, effective_at, reason, initial, historical, as_of, :policy_version from unnest(
        cast(:customers as uuid[]), cast(:tiers as text[]), cast(:previous as text[]),
        cast(:effective as timestamptz[]), cast(:reasons as text[]), cast(:initial as boolean[]),
        cast(:historical as boolean[]), cast(:as_of as timestamptz[]))
        with ordinality as t (customer_id, tier, previous, effective_at, reason, initial, historical, as_of, ord)
    order by ord
""")


def keep(session: Session, calibration: Calibration, changes: Sequence[Change], quietly: bool) -> None:
    """Write where everybody stands after ``changes``, and, unless ``quietly``, what changed. In order per customer."""
    if not changes:
        return
    tiers = [level.code for level in calibration.policy.tiers]

    def code(decision: Decision) -> str:
        return tiers[decision.standing.level or 0]

    last = {change.customer_id: change for change in changes}
    moved_at = {
        change.customer_id: change.cause.effective_at for change in changes if change.decision.kind in _MOVED
    }
    session.execute(
        _KEEP_TIERS,
        {
            "policy_version": calibration.policy.version,
            "customers": list(last),
            "tiers": [code(change.decision) for change in last.values()],
            "since": [moved_at.get(customer, change.cause.effective_at) for customer, change in last.items()],
            "due": [change.decision.standing.downgrade_due_at for change in last.values()],
        },
    )
    moved = [change for change in changes if change.decision.kind in _MOVED]
    if moved and not quietly:
        session.execute(
            _KEEP_CHANGES,
            {
                "policy_version": calibration.policy.version,
                "customers": [change.customer_id for change in moved],
                "tiers": [code(change.decision) for change in moved],
                "previous": [change.previous for change in moved],
                "effective": [change.cause.effective_at for change in moved],
                "reasons": [change.cause.reason for change in moved],
                "initial": [change.cause.initial for change in moved],
                "historical": [change.cause.historical for change in moved],
                "as_of": [change.as_of for change in moved],
            },
        )
