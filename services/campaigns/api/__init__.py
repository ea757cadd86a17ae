"""Campaigns's API: the routes."""

from services.campaigns.api import messages, offers, personal_data, points, reports, rewards

ROUTERS = (
    points.router,
    rewards.router,
    offers.router,
    messages.router,
    reports.router,
    personal_data.router,
)
