"""The campaigns service: its API, its reactions, its work."""

from pathlib import Path

from services.campaigns.invariants import INVARIANTS, STATE
from services.campaigns.jobs import SCHEDULE, STEPS
from services.campaigns.reactions import CONSUMERS
from services.campaigns.settings import CampaignsSettings
from services.campaigns.tables import metadata
from shared.service import Service

SERVICE = Service(
    name="campaigns",
    metadata=metadata,
    migrations=Path(__file__).parent / "migrations",
    api="services.campaigns.api",
    settings=CampaignsSettings,
    consumers=CONSUMERS,
    steps=STEPS,
    schedule=SCHEDULE,
    state=STATE,
    invariants=INVARIANTS,
)
