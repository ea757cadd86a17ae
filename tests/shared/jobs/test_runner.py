import threading
from datetime import timedelta

import pytest
from sqlalchemy import text

from shared.errors import Conflict, Refusal
from shared.jobs import jobs, runner, uploads


def new_job(context, kind="count", **more):
    with context.sessions.begin() as session:
        return jobs.create(session, kind, {"to": 5}, **more)


def job_of(context, job_id):
    with context.sessions.begin() as session:
        return jobs.get(session, job_id)


def effects(context):
    with context.sessions.begin() as session:
        return session.scalars(text("select n from effect order by n")).all()


def count(job):
    """Writes 0, 1, 2 … one a chunk."""
    for number in range(job.cursor.get("next", 0), job.parameters["to"]):
        with job.chunk() as chunk:
            chunk.session.execute(text("insert into effect values (:n)"), {"n": number})
            chunk.cursor["next"] = number + 1
            chunk.total = job.parameters["to"]
            chunk.advance(processed=1)
            chunk.report["last"] = number


def test_a_job_commits_effects_cursor_and_progress_together(context):
    job_id = new_job(context)
    assert runner.run_one({"count": count}, context) is True
    done = job_of(context, job_id)
    assert (done["state"], done["processed"], done["total"], done["report"]) == (
        "succeeded",
        5,
        5,
        {"last": 4},
    )
    assert effects(context) == [0, 1, 2, 3, 4]
    assert runner.run_one({"count": count}, context) is False


def test_a_job_that_dies_is_taken_over_where_its_cursor_stands(context):
    job_id = new_job(context)

    class Killed(BaseException):
        pass

    def die_at_3(job):
        for _ in range(3):
            with job.chunk() as chunk:
                number = chunk.cursor.get("next", 0)
                chunk.session.execute(text("insert into effect values (:n)"), {"n": number})
                chunk.cursor["next"] = number + 1
        raise Killed

    with pytest.raises(Killed):
        runner.run_one({"count": die_at_3}, context)
    assert runner.run_one({"count": count}, context) is False, "its lease still holds"
    with context.sessions.begin() as session:
        session.execute(text("update shared.job set lease_until = now() - interval '1 second'"))
    assert runner.run_one({"count": count}, context) is True
    assert job_of(context, job_id)["state"] == "succeeded"
    assert effects(context) == [0, 1, 2, 3, 4]


def test_a_worker_that_slept_through_its_lease_commits_nothing(context):
    job_id = new_job(context)

    def sleep_through(job):
        with job.chunk() as chunk:
            chunk.session.execute(text("insert into effect values (100)"))
            with context.sessions.begin() as other:
                other.execute(text("update shared.job set lease_until = now() - interval '1 second'"))
            assert runner.run_one({"count": count}, context) is True

    runner.run_one({"count": sleep_through}, context)
    assert job_of(context, job_id)["state"] == "succeeded"
    assert effects(context) == [0, 1, 2, 3, 4]


def test_two_workers_never_hold_one_job(context):
    ids = [new_job(context) for _ in range(6)]
    taken = []
    start = threading.Barrier(3)

    def work():
        start.wait()
        while runner.run_one({"count": lambda job: taken.append(job.id)}, context):
            pass

    threads = [threading.Thread(target=work) for _ in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(taken) == sorted(ids)


def test_cancelling_stops_between_two_chunks_and_resuming_goes_on(context):
    job_id = new_job(context)

    def cancelled_at_2(job):
        for number in range(job.cursor.get("next", 0), 5):
            with job.chunk() as chunk:
                chunk.session.execute(text("insert into effect values (:n)"), {"n": number})
                chunk.cursor["next"] = number + 1
                if number == 1:
                    with context.sessions.begin() as session:
                        jobs.cancel(session, job_id)

    runner.run_one({"count": cancelled_at_2}, context)
    assert job_of(context, job_id)["state"] == "cancelled"
    assert effects(context) == [0, 1]
    with context.sessions.begin() as session:
        jobs.resume(session, job_id)
    runner.run_one({"count": count}, context)
    assert job_of(context, job_id)["state"] == "succeeded"
    assert effects(context) == [0, 1, 2, 3, 4]


def test_a_queued_job_is_cancelled_at_once_and_a_finished_one_not_at_all(context):
    queued, finished = new_job(context, held=True), new_job(context)
    runner.run_one({"count": count}, context)
    with context.sessions.begin() as session:
        assert jobs.cancel(session, queued)["state"] == "cancelled"
        with pytest.raises(Conflict):
            jobs.cancel(session, finished)
        with pytest.raises(Conflict):
            jobs.resume(session, finished)


def test_a_worker_that_is_told_to_stop_gives_the_job_back(context):
    job_id = new_job(context)
    stop = threading.Event()

    def stopped_at_2(job):
        for number in range(2):
            with job.chunk() as chunk:
                chunk.session.execute(text("insert into effect values (:n)"), {"n": number})
                chunk.cursor["next"] = number + 1
        stop.set()
        with job.chunk():
            raise AssertionError("no chunk begins after the stop")

    runner.run_one({"count": stopped_at_2}, context, stop)
    assert runner.run_one({"count": count}, context) is True, "at once, without waiting for the lease"
    assert job_of(context, job_id)["state"] == "succeeded"
    assert effects(context) == [0, 1, 2, 3, 4]


def test_a_refusal_fails_the_job_with_its_code_and_any_other_error_without_its_text(context):
    def refuse(job):
        raise Refusal("file_unreadable", "the file is not CSV")

    def break_down(job):
        raise RuntimeError("王芳 fang@example.com")

    first, second = new_job(context, "refuse"), new_job(context, "break")
    runner.run_one({"refuse": refuse}, context)
    runner.run_one({"break": break_down}, context)
    told = job_of(context, first)
    assert (told["state"], told["error_code"], told["error_message"]) == (
        "failed",
        "file_unreadable",
        "the file is not CSV",
    )
    broken = job_of(context, second)
    assert (broken["state"], broken["error_code"]) == ("failed", "internal_error")
    assert "fang" not in broken["error_message"]


def test_a_job_that_kills_its_worker_every_time_is_given_up(context):
    job_id = new_job(context)

    class Killed(BaseException):
        pass

    def die(job):
        raise Killed

    for _ in range(runner.MOST_ATTEMPTS):
        with pytest.raises(Killed):
            runner.run_one({"count": die}, context)
        with context.sessions.begin() as session:
            session.execute(text("update shared.job set lease_until = null"))
    runner.run_one({"count": die}, context)
    assert job_of(context, job_id)["error_code"] == "given_up"


def test_refused_rows_are_kept_with_the_chunk_that_found_them(context):
    job_id = new_job(context)

    def find(job):
        with job.chunk() as chunk:
            chunk.error(7, "Quantity", "not_a_number", "is not a whole number")
            chunk.error(None, None, "empty", "has no rows", pointer="/lines")
            chunk.advance(processed=1, failed=2)
        with job.chunk() as chunk:
            chunk.error(8, None, "lost", "is rolled back")
            raise Refusal("enough", "this chunk is given up")

    runner.run_one({"count": find}, context)
    with context.sessions.begin() as session:
        rows = session.execute(
            text("select line, column_name, code, pointer from shared.job_error order by id")
        ).all()
    assert [tuple(row) for row in rows] == [
        (7, "Quantity", "not_a_number", None),
        (None, None, "empty", "/lines"),
    ]
    assert (job_of(context, job_id)["failed"], job_of(context, job_id)["error_code"]) == (2, "enough")


def test_the_lease_is_kept_through_a_chunk_that_takes_longer(context, monkeypatch):
    monkeypatch.setattr(runner, "LEASE", timedelta(seconds=0.6))
    new_job(context)

    def slow(job):
        with job.chunk() as chunk:
            chunk.session.execute(text("select pg_sleep(1.5)"))
            assert runner.run_one({"count": count}, context) is False

    assert runner.run_one({"count": slow}, context) is True


def test_an_upload_is_sealed_read_in_order_and_destroyed_with_its_job(context):
    job_id = new_job(context, held=True)
    blocks = [b"a" * 100, "王芳,fang@example.com".encode(), b"c"]
    for number, block in enumerate(blocks):
        with context.sessions.begin() as session:
            uploads.append(session, job_id, number, block)
    with context.sessions.begin() as session:
        stored = b"".join(session.scalars(text("select sealed from shared.upload_block")))
        jobs.release(session, job_id)
    assert "王芳".encode() not in stored and b"fang" not in stored
    assert list(uploads.read(context.sessions, job_id)) == blocks
    assert list(uploads.read(context.sessions, job_id, 1)) == blocks[1:]

    runner.run_one({"count": count}, context)
    assert list(uploads.read(context.sessions, job_id)) == []
    with context.sessions.begin() as session:
        key = session.scalar(
            text("select wrapped from shared.subject_key where subject = :s"), {"s": f"job:{job_id}"}
        )
    assert key is None


def test_a_held_job_waits_for_its_release(context):
    job_id = new_job(context, held=True)
    assert runner.run_one({"count": count}, context) is False
    with context.sessions.begin() as session:
        jobs.release(session, job_id)
    assert runner.run_one({"count": count}, context) is True
