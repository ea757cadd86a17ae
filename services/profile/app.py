"""The profile service: what it consists of."""

from pathlib import Path

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
    api="services.profile.api",
    settings=ProfileSettings,
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
