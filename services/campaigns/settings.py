"""What the environment says about campaigns."""

from collections.abc import Mapping
from datetime import timedelta
from typing import Annotated

from pydantic import BeforeValidator, Field, PositiveInt

from shared.settings import Settings, _json

Tiers = Annotated[Mapping[str, int], BeforeValidator(_json)]


class CampaignsSettings(Settings):
    """The loyalty programme and the way out for messages. Mappings are JSON objects in the environment."""

    points_per_unit: int = Field(
        default=1, ge=0, description="points for a whole unit of the accounting currency"
    )
    multipliers: Tiers = Field(
        default={"standard": 100, "silver": 125, "gold": 150, "platinum": 200},
        description="percent of the points by tier, lowest tier first",
    )
    tier_offers: Tiers = Field(
        default={"silver": 5, "gold": 10, "platinum": 15},
        description="percent off, offered on an upgrade to a tier",
    )
    tier_offer_days: PositiveInt = 30

    smtp_url: str = Field(
        default="", description="smtp://user:password@host:587 (STARTTLS if offered) or smtps://…"
    )
    mail_from: str = "Regulars <no-reply@regulars.localhost>"
    mailbox_dir: str = Field(
        default="", description="without smtp_url, messages are written here as .eml files"
    )
    default_language: str = "en"
    message_valid_hours: PositiveInt = Field(
        default=72, description="an older message is skipped, not sent late"
    )
    delivery_batch: PositiveInt = Field(default=20, le=200)
    delivery_attempts: PositiveInt = 10

    @property
    def tier_offer_validity(self) -> timedelta:
        return timedelta(days=self.tier_offer_days)
