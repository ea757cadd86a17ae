"""The profile service: what it consists of."""

from pathlib import Path

from services.profile.api import (
    activities,
    api_keys,
    consents,
    contact_points,
    customers,
    imports,
    products,
    purchases,
    returns,
    suppressions,
)
from services.profile.domain.api_keys import active
from services.profile.jobs import JOBS, SCHEDULE
from services.profile.settings import ProfileSettings
from services.profile.tables import metadata
from services.profile.verification import INVARIANTS, STATE
from shared.service import Service

SERVICE = Service(
    name="profile",
    metadata=metadata,
    migrations=Path(__file__).parent / "migrations",
    routers=(
        customers.router,
        consents.router,
        contact_points.router,
        suppressions.router,
        products.router,
        purchases.router,
        returns.router,
        activities.router,
        imports.router,
        api_keys.router,
    ),
    settings=ProfileSettings,
    active_keys=active,
    jobs=JOBS,
    schedule=SCHEDULE,
    state=STATE,
    invariants=INVARIANTS,
)
