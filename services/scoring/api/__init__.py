"""Scoring's API: the routes."""

from services.scoring.api import calibrations, clusters, personal_data, reports, scores

ROUTERS = (scores.router, calibrations.router, reports.router, personal_data.router, clusters.router)
