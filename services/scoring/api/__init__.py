"""Scoring's API: the routes."""

from services.scoring.api import calibrations, personal_data, reports, scores

ROUTERS = (scores.router, calibrations.router, *reports.ROUTERS, personal_data.router)
