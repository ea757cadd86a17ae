"""Every event there is, by its type."""

from shared.events import campaigns, feedback, profile, scoring
from shared.events.envelope import Event

EVENTS: dict[str, type[Event]] = {
    event.type: event
    for events in (profile.EVENTS, scoring.EVENTS, campaigns.EVENTS, feedback.EVENTS)
    for event in events
}
TOPICS: tuple[str, ...] = tuple(sorted({event.topic for event in EVENTS.values()}))
