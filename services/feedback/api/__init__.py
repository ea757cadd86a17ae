"""Feedback's API: the routes, and what anybody may open of them."""

from services.feedback.api import cases, customers, lookups, pages, personal_data, reports, surveys

ROUTERS = (
    surveys.router,
    customers.router,
    cases.router,
    lookups.router,
    reports.router,
    personal_data.router,
    pages.router,
)
PUBLIC_PATHS = ("/s/{token}",)
