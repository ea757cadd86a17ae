"""Who belongs to the suite."""

from functools import cache

from shared.service import Service
from shared.settings import Settings

NAMES = ("profile", "scoring", "campaigns", "feedback")


@cache
def services() -> tuple[Service, ...]:
    """The four services. Importing them takes a second: only who needs them calls this."""
    from services.campaigns.app import SERVICE as CAMPAIGNS
    from services.feedback.app import SERVICE as FEEDBACK
    from services.profile.app import SERVICE as PROFILE
    from services.scoring.app import SERVICE as SCORING

    return PROFILE, SCORING, CAMPAIGNS, FEEDBACK


def kinds() -> dict[str, type[Settings]]:
    """Each service's settings class, by its name."""
    return {service.name: service.settings for service in services()}
