"""Why scores and tiers move."""

from dataclasses import dataclass
from datetime import datetime

from shared.events.envelope import Event


@dataclass(frozen=True)
class Cause:
    """Why scores change. ``effective_at`` is the recorded_at of the fact, else the transaction's time; ``review`` the
    as_of of the calibration that reviews tiers."""

    reason: str
    effective_at: datetime
    historical: bool
    initial: bool = False
    review: datetime | None = None
    event: Event | None = None

    def led_to(self, event: Event) -> Event:
        """``event`` as one that follows from this."""
        return event if self.event is None else event.because(self.event)
