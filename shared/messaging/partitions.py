"""The days of the outbox: made ahead, dropped when old.

There is no default partition: a missing day refuses writes loudly instead of collecting rows that would later stand
in the way of the day's own table. So days are made 30 ahead – by migrate, at every start of a relay and hourly.
"""

from datetime import UTC, date, datetime, timedelta

from psycopg.errors import LockNotAvailable, QueryCanceled
from sqlalchemy import Connection, text
from sqlalchemy.exc import OperationalError

AHEAD = 30
KEPT = 14  # days that `republish` can refill an empty bus from

# Two processes making days wait for each other here; the number only has to be ours.
_UPKEEP = 7_348_207_102


def ensure(connection: Connection, ahead: int = AHEAD) -> int:
    """Make the missing days from yesterday to ``ahead`` days from now; returns how many were made.

    A day is made as a table of its own and then attached: ``create table … partition of`` would lock every writer of
    the outbox out. Commits.
    """
    connection.execute(text("select pg_advisory_xact_lock(:lock)"), {"lock": _UPKEEP})
    there = {day for day, _ in _days(connection)}
    today = _today(connection)
    made = 0
    for offset in range(-1, ahead + 1):
        day = today + timedelta(days=offset)
        if day in there:
            continue
        table, start, end = _table(day), _midnight(day), _midnight(day + timedelta(days=1))
        connection.execute(text(f"create table {table} (like shared.outbox including all)"))
        connection.execute(
            text(
                f"alter table shared.outbox attach partition {table} for values from ('{start}') to ('{end}')"
            )
        )
        made += 1
    connection.commit()
    return made


def drop_old(connection: Connection, kept: int = KEPT) -> int:
    """Drop the days older than ``kept`` days that no pending row points into; returns how many went. Commits.

    Dropping locks the whole outbox for a moment, so each drop gives up after a short wait: the next hour tries again.
    """
    oldest = _today(connection) - timedelta(days=kept)
    old = [(day, table) for day, table in _days(connection) if day < oldest]
    connection.commit()
    dropped = 0
    for day, table in old:
        try:
            connection.execute(text("set local lock_timeout = '300ms'"))
            # Nothing can be announced into the day once this lock is held, so the question below has a final answer.
            connection.execute(text("lock table shared.outbox in access exclusive mode"))
            if connection.scalar(
                text(
                    "select exists (select from shared.outbox_pending where created_at >= :start and created_at < :end)"
                ),
                {"start": _midnight(day), "end": _midnight(day + timedelta(days=1))},
            ):
                connection.rollback()
                continue
            connection.execute(text(f"drop table {table}"))
            connection.commit()
            dropped += 1
        except OperationalError as error:
            connection.rollback()
            if not isinstance(error.orig, (LockNotAvailable, QueryCanceled)):
                raise
    return dropped


def _days(connection: Connection) -> list[tuple[date, str]]:
    names = connection.scalars(
        text(
            "select c.relname from pg_inherits i join pg_class c on c.oid = i.inhrelid"
            " where i.inhparent = 'shared.outbox'::regclass order by c.relname"
        )
    )
    return [
        (datetime.strptime(name, "d%Y%m%d").replace(tzinfo=UTC).date(), f"outbox_days.{name}")
        for name in names
    ]


def _today(connection: Connection) -> date:
    today: date = connection.execute(text("select (now() at time zone 'UTC')::date")).scalar_one()
    return today


def _table(day: date) -> str:
    return f"outbox_days.d{day:%Y%m%d}"


def _midnight(day: date) -> datetime:
    return datetime(day.year, day.month, day.day, tzinfo=UTC)
