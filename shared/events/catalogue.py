"""Every event there is, by its type."""

from shared.events import campaigns, feedback, profile, profile_behaviour, scoring
from shared.events.envelope import Event

EVENTS: dict[str, type[Event]] = {
    event.type: event
    for events in (
        profile.EVENTS,
        profile_behaviour.EVENTS,
        scoring.EVENTS,
        campaigns.EVENTS,
        feedback.EVENTS,
    )
    for event in events
}
TOPICS: tuple[str, ...] = tuple(sorted({event.topic for event in EVENTS.values()}))
# Topics with a finite retention, and how many days they are kept.
KEPT_DAYS: dict[str, int] = {
    event.topic: event.kept_days for event in EVENTS.values() if event.kept_days is not None
}
