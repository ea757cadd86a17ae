"""That a calibration is finished is told once, when the last customer is done, however often it died on the way."""

import pytest

from services.scoring.jobs import calibrate
from shared.jobs.runner import RunningJob
from tests.scoring.test_calibrations import many, one_chunk
from tests.scoring.world import MIDNIGHT, World, days


def test_it_tells_what_it_counted_what_it_moved_and_which_models_may_not_be_used(world: World) -> None:
    many(world)
    job = world.calibrated(MIDNIGHT)
    (told,) = world.announced("calibration_finished")
    assert told["calibration_id"] == str(job.id)
    assert (told["as_of"], told["pinned"], told["initial"]) == ("2026-03-11T00:00:00Z", True, True)
    assert (told["counted"], told["basis"], told["policy_version"]) == (200, "population", 1)
    assert told["tiers"] == job.report["tiers"] == {"raised": 200}
    assert {f"{what}_moved": told[f"{what}_moved"] for what in ("scores", "stages", "risks")} == {
        f"{what}_moved": job.report[f"{what}_moved"] for what in ("scores", "stages", "risks")
    }
    assert told["models"] == dict(sorted(job.report["models"].items()))
    assert told["finished_at"] >= told["effective_at"]


@pytest.mark.parametrize("customers", [0, 120])
def test_killed_after_every_chunk_it_is_told_once(world: World, customers: int) -> None:
    if customers:
        many(world, customers)
    job = world.calibration(MIDNIGHT)
    chunks = 0
    while job.cursor.get("phase") != "done":
        assert world.announced("calibration_finished") == []
        one_chunk(job, calibrate)
        chunks += 1
        job = world.taken_over(job.id, job.parameters, epoch=1 + chunks)
    assert chunks > 4
    calibrate(job)
    assert len(world.announced("calibration_finished")) == 1


def test_one_killed_before_the_last_commit_has_told_nothing_yet(world: World) -> None:
    many(world, 120)
    job = world.calibration(MIDNIGHT)
    while job.cursor.get("phase") != "reband" or job.cursor["after"] is None:
        one_chunk(job, calibrate)
    lost = world.taken_over(job.id, job.parameters, epoch=2)
    with pytest.raises(Exception, match="another worker"):
        calibrate(job)
    assert world.announced("calibration_finished") == []
    calibrate(lost)
    assert len(world.announced("calibration_finished")) == 1


def test_one_that_was_overtaken_tells_nothing(world: World) -> None:
    many(world, 120)
    slow: RunningJob = world.calibration(MIDNIGHT - days(5))
    one_chunk(slow, calibrate)
    fast = world.calibrated(MIDNIGHT)
    calibrate(slow)
    assert slow.report["superseded"] is True
    assert [each["calibration_id"] for each in world.announced("calibration_finished")] == [str(fast.id)]
