import threading
import time
from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo

from sqlalchemy import text

from shared.jobs import scheduler
from shared.jobs.schedule import Scheduled, Step


def due(context, name):
    with context.sessions.begin() as session:
        session.execute(
            text(
                "insert into shared.schedule (name, due_at) values (:name, now() - interval '1 hour')"
                " on conflict (name) do update set due_at = excluded.due_at"
            ),
            {"name": name},
        )


def test_work_seen_for_the_first_time_waits_for_its_next_time_and_a_missed_time_is_made_up_for_once(context):
    ran = []
    entry = Scheduled("nightly", "0 3 * * *", ran.append)
    assert scheduler.run_due(context, [entry]) == []
    due(context, "nightly")
    assert scheduler.run_due(context, [entry]) == ["nightly"]
    assert scheduler.run_due(context, [entry]) == []
    assert ran == [context]


def test_two_runs_of_one_job_stay_apart(context):
    started, finish = threading.Event(), threading.Event()

    def slow(_):
        started.set()
        finish.wait(10)

    entry = Scheduled("nightly", "0 3 * * *", slow)
    first = threading.Thread(target=scheduler.run_exclusively, args=(context, entry))
    first.start()
    assert started.wait(10)
    assert scheduler.run_exclusively(context, entry) is False
    finish.set()
    first.join()
    assert scheduler.run_exclusively(context, entry) is True


def test_a_run_that_fails_is_recorded_and_the_next_one_comes_as_planned(context):
    def fail(_):
        raise RuntimeError("no")

    entry = Scheduled("nightly", "0 3 * * *", fail)
    due(context, "nightly")
    assert scheduler.run_due(context, [entry]) == ["nightly"]
    with context.sessions.begin() as session:
        outcome, due_at, now = session.execute(
            text("select outcome, due_at, now() from shared.schedule")
        ).one()
    assert outcome == "failed: RuntimeError"
    assert due_at > now


def test_times_are_those_of_the_deployments_zone_across_a_change_of_the_clocks():
    london = ZoneInfo("Europe/London")
    winter = datetime(2026, 1, 15, 12, tzinfo=UTC)
    summer = datetime(2026, 7, 15, 12, tzinfo=UTC)
    assert scheduler.next_after("0 3 * * *", winter, london).astimezone(UTC).hour == 3
    assert scheduler.next_after("0 3 * * *", summer, london).astimezone(UTC).hour == 2


def test_a_step_is_run_again_at_once_while_it_finds_work_and_rests_when_it_fails(context, monkeypatch):
    monkeypatch.setattr(scheduler, "PAUSE_AFTER_FAILURE", 0.2)
    left = [3, 2, 1, 0]
    failures = []
    stop = threading.Event()

    def work(_):
        return left.pop(0) if left else 0

    def fail(_):
        failures.append(time.monotonic())
        raise ValueError

    steps = [Step("work", work, timedelta(seconds=60)), Step("fail", fail, timedelta(milliseconds=10))]
    loop = threading.Thread(target=scheduler.run, args=(context, steps, [], stop))
    loop.start()
    time.sleep(0.9)
    stop.set()
    loop.join(5)
    assert not loop.is_alive()
    assert left == []
    assert 2 <= len(failures) <= 6
