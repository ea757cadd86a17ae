"""The four services, for tests that look at all of them."""

from services.campaigns.app import SERVICE as CAMPAIGNS
from services.feedback.app import SERVICE as FEEDBACK
from services.profile.app import SERVICE as PROFILE
from services.scoring.app import SERVICE as SCORING

SERVICES = (PROFILE, SCORING, CAMPAIGNS, FEEDBACK)
