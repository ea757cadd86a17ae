"""Scoring's API: the routes."""

from services.scoring.api import calibrations, personal_data, recommendations, reports, scores

ROUTERS = (scores.router, calibrations.router, reports.router, personal_data.router, recommendations.router)
