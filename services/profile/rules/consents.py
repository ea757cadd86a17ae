"""From when a consent record stands, and what may be done without one."""

from datetime import datetime, timedelta

PURPOSES = ("marketing", "profiling", "personalisation", "survey", "sharing")
CHANNELS = ("email", "sms", "phone", "wechat", "push", "in_app")
STATES = ("granted", "denied", "withdrawn")

# Resting on the contract with the customer, not on consent: shipping, an answer to the customer's own question.
CONTRACT_PURPOSES = ("service", "fulfilment")

# The field that holds the address for a channel; the other channels have no address here yet.
ADDRESSES = {"email": "email", "sms": "phone", "phone": "phone"}

_HISTORY = timedelta(days=1)


def in_force_from(state: str, collected_at: datetime, now: datetime) -> datetime:
    """The time by which records are compared: the latest stands.

    A consent counts from when it was collected, so that an old one told late does not undo a later refusal. A refusal
    counts from now: a clock that is behind must not make a withdrawal lose against the consent it withdraws. Only one
    that is plainly history (told more than a day late) counts from then.
    """
    collected_at = min(collected_at, now)
    if state == "granted" or now - collected_at > _HISTORY:
        return collected_at
    return now
