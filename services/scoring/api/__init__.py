"""Scoring's API: the routes."""

from services.scoring.api import acquisition, alerts, calibrations, personal_data, reports, scores

ROUTERS = (
    scores.router,
    calibrations.router,
    reports.router,
    personal_data.router,
    alerts.router,
    acquisition.router,
)
