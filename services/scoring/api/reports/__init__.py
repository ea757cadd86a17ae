"""/reports: how the customers are spread, how they move, what they bring."""

from services.scoring.api.reports import spread

ROUTERS = (spread.router,)
