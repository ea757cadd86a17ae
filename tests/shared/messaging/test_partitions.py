"""The outbox has a table per day: made ahead, dropped when old, never while something in it waits."""

from datetime import UTC, datetime, timedelta

import pytest
from sqlalchemy import text
from sqlalchemy.exc import IntegrityError

from shared import migrate
from shared.messaging import partitions


def days(world):
    return world.scalar("select count(*) from pg_inherits where inhparent = 'shared.outbox'::regclass")


def upkeep(world):
    with world.engine.connect() as connection:
        return partitions.ensure(connection), partitions.drop_old(connection)


def add_day(world, ago):
    day = (datetime.now(UTC) - timedelta(days=ago)).date()
    world.run(
        f"create table outbox_days.d{day:%Y%m%d} partition of shared.outbox"
        f" for values from ('{day} 00:00+00') to ('{day + timedelta(days=1)} 00:00+00')"
    )
    return day


def test_thirty_days_are_there_ahead_and_are_made_again_where_they_miss(world):
    assert upkeep(world) == (0, 0)
    missing = datetime.now(UTC).date() + timedelta(days=12)
    world.run(f"drop table outbox_days.d{missing:%Y%m%d}")
    assert upkeep(world) == (1, 0)
    assert days(world) == 32
    assert migrate.check(world.url, migrate.SHARED) == []


def test_old_days_are_dropped_but_never_one_with_an_event_that_waits(world, vocabulary):
    world.announce(vocabulary.happened(subject="a", number=1))
    free, waiting, young = add_day(world, 20), add_day(world, 16), add_day(world, 13)
    assert days(world) == 35
    world.run(
        "insert into shared.outbox_pending values (4711, cast(:day as date) + interval '3 hours')",
        day=waiting,
    )
    assert upkeep(world) == (0, 1)
    names = world.scalar(
        "select array_agg(relname::text) from pg_class where relnamespace = 'outbox_days'::regnamespace"
    )
    assert f"d{free:%Y%m%d}" not in names
    assert {f"d{waiting:%Y%m%d}", f"d{young:%Y%m%d}"} < set(names)
    world.run("delete from shared.outbox_pending where id = 4711")
    assert upkeep(world) == (0, 1)


def test_a_day_in_use_is_dropped_another_time(world):
    add_day(world, 20)
    with world.engine.connect() as reader:
        reader.execute(text("select count(*) from shared.outbox"))
        assert upkeep(world) == (0, 0)
        reader.rollback()
    assert upkeep(world) == (0, 1)


def test_without_its_day_an_event_is_refused_and_not_lost(world, vocabulary):
    world.run(f"drop table outbox_days.d{datetime.now(UTC):%Y%m%d}")
    with pytest.raises(IntegrityError, match="no partition"):
        world.announce(vocabulary.happened(subject="a", number=1))
    upkeep(world)
    world.announce(vocabulary.happened(subject="a", number=2))
    assert [row.sequence for row in world.outbox()] == [1]
