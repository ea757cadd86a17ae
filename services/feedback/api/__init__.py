"""Feedback's API."""

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
