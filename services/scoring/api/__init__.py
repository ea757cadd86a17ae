"""Scoring's API: the routes."""

from services.scoring.api import (
    calibrations,
    clusters,
    explanations,
    personal_data,
    recommendations,
    reports,
    scores,
)

ROUTERS = (
    scores.router,
    explanations.router,
    calibrations.router,
    clusters.router,
    reports.router,
    recommendations.router,
    personal_data.router,
)
