"""Scoring's API: the routes."""

from services.scoring.api import calibrations, manual_tiers, personal_data, policies, reports, scores

ROUTERS = (
    scores.router,
    calibrations.router,
    reports.router,
    personal_data.router,
    policies.router,
    manual_tiers.router,
)
