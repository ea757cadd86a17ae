"""Scoring's API: the routes."""

from services.scoring.api import (
    acquisition,
    alerts,
    calibrations,
    clusters,
    explanations,
    manual_tiers,
    personal_data,
    policies,
    recommendations,
    reports,
    scores,
)

ROUTERS = (
    scores.router,
    explanations.router,
    calibrations.router,
    clusters.router,
    policies.router,
    manual_tiers.router,
    *reports.ROUTERS,
    recommendations.router,
    alerts.router,
    acquisition.router,
    personal_data.router,
)
