"""Run steps over and over, and scheduled work at its times, never twice at once."""

import logging
import threading
import time
from collections.abc import Sequence
from datetime import datetime
from zoneinfo import ZoneInfo

from cronsim import CronSim
from sqlalchemy import text
from sqlalchemy.exc import DBAPIError
from sqlalchemy.exc import TimeoutError as PoolTimeout

from shared.jobs import housekeeping
from shared.jobs.schedule import Context, Scheduled, Step

# The database's clock decides what is due; this is how often it is asked.
LOOK_EVERY = 10.0
# After a failure a step waits this long, so that a database that is away is not hammered.
PAUSE_AFTER_FAILURE = 5.0

log = logging.getLogger(__name__)


def run(
    context: Context, steps: Sequence[Step], schedule: Sequence[Scheduled], stop: threading.Event
) -> None:
    """The loop of ``work``: each step when it is due, scheduled work when its time has come, until ``stop``."""
    steps = [*steps, *housekeeping.STEPS]
    due = {step.name: 0.0 for step in steps}
    look_at = 0.0
    while not stop.is_set():
        for step in steps:
            if due[step.name] <= time.monotonic() and not stop.is_set():
                due[step.name] = time.monotonic() + _pause_after(step, context)
        if schedule and look_at <= time.monotonic() and not stop.is_set():
            run_due(context, schedule)
            look_at = time.monotonic() + LOOK_EVERY
        next_at = min([*due.values(), *([look_at] if schedule else [])])
        stop.wait(max(0.0, min(next_at - time.monotonic(), LOOK_EVERY)))


def _pause_after(step: Step, context: Context) -> float:
    try:
        return 0.0 if step.run(context) > 0 else step.every.total_seconds()
    except (DBAPIError, PoolTimeout) as error:
        log.warning("step %s waits for its database: %s", step.name, type(error).__name__, exc_info=True)
    except Exception:
        log.exception("step %s failed", step.name)
    return max(PAUSE_AFTER_FAILURE, step.every.total_seconds())


def run_due(context: Context, schedule: Sequence[Scheduled]) -> list[str]:
    """Run whatever is due by the database's clock; returns the names that ran."""
    ran = []
    for entry in schedule:
        try:
            if _is_due(context, entry) and run_exclusively(context, entry, only_if_due=True):
                ran.append(entry.name)
        except (DBAPIError, PoolTimeout) as error:
            log.warning("scheduled %s waits for its database: %s", entry.name, type(error).__name__)
    return ran


def run_exclusively(context: Context, entry: Scheduled, *, only_if_due: bool = False) -> bool:
    """Run scheduled work under its advisory lock; False if it runs elsewhere at this moment (or is no longer due).

    A failure is logged and recorded, and the next time comes as planned.
    """
    with context.engine.connect() as connection:
        connection = connection.execution_options(isolation_level="AUTOCOMMIT")
        key = f"schedule:{entry.name}"
        if not connection.scalar(
            text("select pg_try_advisory_lock(hashtextextended(:key, 0))"), {"key": key}
        ):
            return False
        try:
            if only_if_due and not _is_due(context, entry):
                return False
            connection.execute(
                text("update shared.schedule set started_at = clock_timestamp() where name = :name"),
                {"name": entry.name},
            )
            outcome = "succeeded"
            try:
                entry.run(context)
            except Exception as error:
                log.exception("scheduled %s failed", entry.name)
                outcome = f"failed: {type(error).__name__}"
            now = connection.scalar(text("select clock_timestamp()"))
            connection.execute(
                text(
                    """
                    insert into shared.schedule (name, due_at, started_at, finished_at, outcome)
                    values (:name, :due_at, :now, :now, :outcome)
                    on conflict (name) do update
                    set due_at = excluded.due_at, finished_at = excluded.finished_at, outcome = excluded.outcome
                    """
                ),
                {
                    "name": entry.name,
                    "due_at": next_after(entry.cron, now, context.settings.zone),
                    "now": now,
                    "outcome": outcome,
                },
            )
            return True
        finally:
            connection.execute(text("select pg_advisory_unlock(hashtextextended(:key, 0))"), {"key": key})


def _is_due(context: Context, entry: Scheduled) -> bool:
    """Whether its time has come; work seen for the first time is due at its next time, not at once."""
    with context.sessions.begin() as session:
        now, due_at = session.execute(
            text("select clock_timestamp(), (select due_at from shared.schedule where name = :name)"),
            {"name": entry.name},
        ).one()
        if due_at is None:
            session.execute(
                text(
                    "insert into shared.schedule (name, due_at) values (:name, :due_at) on conflict do nothing"
                ),
                {"name": entry.name, "due_at": next_after(entry.cron, now, context.settings.zone)},
            )
            return False
        return bool(due_at <= now)


def next_after(cron: str, moment: datetime, zone: ZoneInfo) -> datetime:
    """The first time after ``moment`` that ``cron`` names in ``zone``."""
    return next(CronSim(cron, moment.astimezone(zone)))
