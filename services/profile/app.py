"""The profile service: what it consists of."""

from pathlib import Path

from services.profile.api import (
    access_requests,
    activities,
    addresses,
    api_keys,
    attributes,
    cancellations,
    confirmations,
    consent_texts,
    consents,
    contact_points,
    contacts,
    customer_lists,
    customers,
    duplicates,
    erasures,
    exports,
    fulfilments,
    identities,
    imports,
    interactions,
    merges,
    owned_products,
    pages,
    products,
    purchases,
    referrals,
    regions,
    returns,
    sign_ups,
    suppressions,
    tags,
    timeline,
)
from services.profile.domain.api_keys import active
from services.profile.domain.disclosures import AUDITED_ROWS
from services.profile.domain.erasure import reapply
from services.profile.domain.reach import reaches
from services.profile.jobs import JOBS, SCHEDULE
from services.profile.jobs.consents import STEPS as CONSENT_STEPS
from services.profile.jobs.rights import STEPS
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
        identities.router,
        merges.router,
        duplicates.router,
        contacts.router,
        attributes.router,
        consents.router,
        consent_texts.router,
        confirmations.router,
        sign_ups.router,
        contact_points.router,
        suppressions.router,
        erasures.router,
        access_requests.router,
        products.router,
        purchases.router,
        fulfilments.router,
        cancellations.router,
        returns.router,
        addresses.router,
        owned_products.router,
        activities.router,
        interactions.router,
        referrals.router,
        regions.router,
        tags.router,
        timeline.router,
        imports.router,
        exports.router,
        api_keys.router,
        pages.router,
    ),
    settings=ProfileSettings,
    public_paths=pages.PUBLIC,
    active_keys=active,
    forget=reapply,
    audited_rows=AUDITED_ROWS,
    reaches=reaches,
    consumers=CONSUMERS,
    jobs=JOBS,
    steps=(*STEPS, *CONSENT_STEPS),
    schedule=SCHEDULE,
    state=STATE,
    invariants=INVARIANTS,
)
