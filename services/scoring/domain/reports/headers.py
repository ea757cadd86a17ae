"""What stands above a report: as of when, from which calibration, in which currency."""

from datetime import datetime
from typing import Any

from sqlalchemy import text
from sqlalchemy.orm import Session

from services.scoring.domain.calibrations import Calibration, current
from services.scoring.domain.facts import books


def of_scores(session: Session, calibration: Calibration | None) -> dict[str, Any]:
    """Of a report over scores, which are as of their calibration."""
    return {
        "as_of": calibration.as_of if calibration else None,
        "calibration_id": calibration.id if calibration else None,
        "basis": calibration.basis if calibration else None,
        "currency": books(session).currency,
    }


def of_facts(session: Session, as_of: datetime) -> dict[str, Any]:
    """Of a report over the facts before ``as_of``."""
    open_books = books(session)
    return {"as_of": as_of, "currency": open_books.currency, "time_zone": open_books.time_zone}


def moment(session: Session, as_of: datetime | None) -> datetime:
    """``as_of``, or where none is asked for the one that calibrations are pinned to, or now."""
    if as_of is not None:
        return as_of
    calibration = current(session)
    if calibration is not None and calibration.pinned:
        return calibration.as_of
    now: datetime = session.scalars(text("select now()")).one()
    return now


def share(part: int, whole: int) -> float:
    return round(part / whole, 6) if whole else 0.0
