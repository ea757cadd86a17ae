"""The profile service: what it consists of."""

from pathlib import Path

from services.profile.api import (
    activities,
    api_keys,
    attributes,
    cancellations,
    consents,
    contact_points,
    contacts,
    customer_lists,
    customers,
    erasures,
    fulfilments,
    imports,
    interactions,
    merges,
    products,
    purchases,
    returns,
    suppressions,
    tags,
    timeline,
)
from services.profile.domain.api_keys import active
from services.profile.jobs import JOBS, SCHEDULE
from services.profile.reactions import CONSUMERS
from services.profile.settings import ProfileSettings
from services.profile.tables import metadata
from services.profile.verification import INVARIANTS, STATE
from shared.service import Service

SERVICE = Service(
    name="profile",
    metadata=metadata,
    migrations=Path(__file__).parent / "migrations",
    routers=(
        customer_lists.router,
        customers.router,
        merges.router,
        contacts.router,
        attributes.router,
        consents.router,
        contact_points.router,
        suppressions.router,
        erasures.router,
        products.router,
        purchases.router,
        fulfilments.router,
        cancellations.router,
        returns.router,
        activities.router,
        interactions.router,
        tags.router,
        timeline.router,
        imports.router,
        api_keys.router,
    ),
    settings=ProfileSettings,
    active_keys=active,
    consumers=CONSUMERS,
    jobs=JOBS,
    schedule=SCHEDULE,
    state=STATE,
    invariants=INVARIANTS,
)
