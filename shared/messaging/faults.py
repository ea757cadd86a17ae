"""Put a fault into words that hold nothing of the event's data, for lists, logs and metrics."""

import traceback
from pathlib import Path

import psycopg
from pydantic import ValidationError
from sqlalchemy.exc import DBAPIError

from shared.errors import Refusal

_HERE = Path(__file__).resolve().parent
_ROOT = _HERE.parents[1]


def describe(error: BaseException) -> str:
    """E.g. ``KeyError at services/scoring/reactions.py:41``; messages of exceptions may quote data and are left out."""
    if isinstance(error, ValidationError):
        faults = [
            f"/{'/'.join(map(str, fault['loc']))}: {fault['type']}"
            for fault in error.errors(include_url=False, include_context=False, include_input=False)[:5]
        ]
        return f"the data do not fit {error.title}: {', '.join(faults)}"
    what = type(error).__name__
    if isinstance(error, Refusal):
        what = f"{what} {error.code}"
    elif isinstance(error, DBAPIError) and isinstance(error.orig, psycopg.Error):
        constraint = error.orig.diag.constraint_name
        what = f"{type(error.orig).__name__} {error.orig.sqlstate or ''}".strip() + (
            f" {constraint}" if constraint else ""
        )
    return f"{what} at {_place(error)}"


def _place(error: BaseException) -> str:
    """The innermost line of our own code that the error came through."""
    frames = traceback.extract_tb(error.__traceback__)
    for frame in reversed(frames):
        path = Path(frame.filename)
        if path.is_relative_to(_ROOT) and ".venv" not in path.parts and path.parent != _HERE:
            return f"{path.relative_to(_ROOT)}:{frame.lineno}"
    return f"{Path(frames[-1].filename).name}:{frames[-1].lineno}" if frames else "an unknown place"
