"""/reports: how the customers are spread, how they move, what they bring."""

from services.scoring.api.reports import cohorts, groups, movements, spread, value

ROUTERS = (spread.router, movements.router, cohorts.router, value.router, groups.router)
