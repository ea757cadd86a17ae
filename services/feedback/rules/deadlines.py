"""By when a customer must have heard from us."""

from collections.abc import Mapping
from datetime import datetime, timedelta

NO_TIER = "none"


def first_response_due_at(
    opened_at: datetime, tier: str | None, hours_by_tier: Mapping[str, int]
) -> datetime:
    """``opened_at`` plus the hours that the tier is promised; a tier without a promise of its own, and a customer
    without a tier, get the one of ``none``. Around the clock: calendars are not known yet."""
    hours = hours_by_tier.get(tier or NO_TIER, hours_by_tier[NO_TIER])
    return opened_at + timedelta(hours=hours)
