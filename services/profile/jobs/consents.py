"""What ``work`` does for consents."""

from datetime import timedelta

from services.profile.domain import consents
from shared.jobs.schedule import Context, Step


def expire_consents(context: Context) -> int:
    """Record and announce the grants whose end has come. Nobody waits for it: answers look at the end itself."""
    with context.sessions.begin() as session:
        return consents.expire(session)


STEPS = (Step("expire_consents", expire_consents, timedelta(seconds=30)),)
