"""Tier histories, and the policy that tiers follow."""

from collections.abc import Sequence
from typing import Any
from uuid import UUID

from sqlalchemy import Row, text
from sqlalchemy.orm import Session

from services.scoring.tables import customer
from shared.customers import owner_of


def history(session: Session, customer_id: UUID, before: int | None, size: int) -> Sequence[Row[Any]]:
    """The changes of a customer's tier, the latest first; a merged customer's are its winner's. Raises as
    ``customers.owner_of``."""
    owner = owner_of(session, customer, customer_id)
    return session.execute(
        text("""
            select tier_change_id, tier, previous_tier, effective_at, reason, initial, historical, as_of, policy_version
            from tier_change where customer_id = :id and tier_change_id < coalesce(:before, 9223372036854775807)
            order by tier_change_id desc limit :size
        """),
        {"id": owner, "before": before, "size": size},
    ).all()


def latest_policy(session: Session) -> Row[Any]:
    """The policy that the next calibration follows."""
    return session.execute(
        text(
            "select version, content, created_at from policy where version is not null order by version desc limit 1"
        )
    ).one()
