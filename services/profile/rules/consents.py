"""From when a consent record stands, which of several does, and what may be done without one."""

from collections.abc import Iterable
from datetime import datetime, timedelta
from math import inf
from typing import Protocol, TypeVar

PURPOSES = ("marketing", "profiling", "personalisation", "survey", "sharing")
CHANNELS = ("email", "sms", "phone", "wechat", "push", "in_app")
STATES = ("granted", "denied", "withdrawn")

# Resting on the contract with the customer, not on consent: shipping, an answer to the customer's own question.
CONTRACT_PURPOSES = ("service", "fulfilment")

# The field that holds the address for a channel; the other channels have no address here yet.
ADDRESSES = {"email": "email", "sms": "phone", "phone": "phone"}

_HISTORY = timedelta(days=1)


class Recorded(Protocol):
    """A consent record, as far as what holds depends on it."""

    @property
    def state(self) -> str: ...
    @property
    def in_force_from(self) -> datetime: ...
    @property
    def expires_at(self) -> datetime | None: ...


Record = TypeVar("Record", bound=Recorded)


def in_force_from(state: str, collected_at: datetime, recorded_at: datetime) -> datetime:
    """The time by which records are compared: the latest stands.

    A consent counts from when it was collected, so that an old one told late does not undo a later refusal. A refusal
    counts from when it was recorded: a clock that is behind must not make a withdrawal lose against the consent it
    withdraws. Only one that is plainly history (told more than a day late) counts from then.
    """
    collected_at = min(collected_at, recorded_at)
    if state == "granted" or recorded_at - collected_at > _HISTORY:
        return collected_at
    return recorded_at


def standing(records: Iterable[Record]) -> Record | None:
    """The record that stands, whatever the order in which they are looked at: the latest; of two at once the stricter
    (withdrawn, denied, the grant that ends sooner).

    A note that a grant expired never stands: it says nothing that the grant's own end does not say, and a grant that was
    given in between goes on.
    """
    said = (record for record in records if record.state != "expired")
    return max(said, key=_place, default=None)


def _place(record: Recorded) -> tuple[datetime, bool, str, float]:
    end = -record.expires_at.timestamp() if record.expires_at is not None else -inf
    return record.in_force_from, record.state != "granted", record.state, end


def state_of(record: Recorded | None, at: datetime) -> str | None:
    """What the record that stands means at this moment; None = never spoken of."""
    if record is None:
        return None
    if record.state == "granted" and record.expires_at is not None and record.expires_at <= at:
        return "expired"
    return record.state
