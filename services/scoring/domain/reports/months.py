"""Calendar months in the company's time zone."""

from datetime import datetime
from zoneinfo import ZoneInfo


def beginnings(last: datetime, count: int, zone: str) -> list[datetime]:
    """When each of the ``count`` months up to that of ``last`` begins."""
    local = last.astimezone(ZoneInfo(zone))
    months = (local.year * 12 + local.month - 1 - back for back in reversed(range(count)))
    return [datetime(month // 12, month % 12 + 1, 1, tzinfo=ZoneInfo(zone)) for month in months]


def label(beginning: datetime) -> str:
    return f"{beginning:%Y-%m}"
