"""What can be said of a purchase's way to its customer."""

from collections.abc import Mapping
from datetime import date, datetime
from typing import Any
from zoneinfo import ZoneInfo


class Impossible(ValueError):  # noqa: N818 - an answer, not an error of ours
    """It cannot have been so: ``code`` says why, ``field`` where. ``settled`` = it was told otherwise before."""

    def __init__(self, code: str, field: str, message: str, *, settled: bool = False) -> None:
        super().__init__(message)
        self.code = code
        self.field = field
        self.settled = settled


def told(before: Mapping[str, Any], given: Mapping[str, Any]) -> dict[str, Any]:
    """What is known after ``given`` was told: absent stays, None removes. Raises Impossible.

    A delivery is announced once and starts things; so its time stays what it was.
    """
    after = {**before, **given}
    shipped, delivered = after.get("shipped_at"), after.get("delivered_at")
    if before.get("delivered_at") not in (None, delivered):
        raise Impossible(
            "fulfilment_differs", "delivered_at", "it was told to have arrived at another time", settled=True
        )
    if shipped is not None and delivered is not None and delivered < shipped:
        raise Impossible("delivered_before_shipped", "delivered_at", "it cannot arrive before it left")
    return after


def day_of(moment: datetime, zone: str) -> date:
    """The business day of a moment."""
    return moment.astimezone(ZoneInfo(zone)).date()


def is_late(promised_on: date | None, delivered_on: date | None, today: date) -> bool | None:
    """Whether it came, or still has not come, after the day promised; None without a promise."""
    return None if promised_on is None else (delivered_on or today) > promised_on
