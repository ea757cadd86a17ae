"""Real commits, several connections at once."""

import threading
from collections.abc import Callable
from typing import Any

from sqlalchemy import text

from services.scoring.app import SERVICE
from services.scoring.domain.scores import score_customers
from tests.scoring.test_calibrations import many
from tests.scoring.world import MIDNIGHT, NOON, World, days


def test_reactions_during_calibrations_end_with_the_scores_of_a_quiet_recomputation(
    service: Callable[..., Any], monkeypatch: Any
) -> None:
    monkeypatch.setattr("services.scoring.jobs.calibration.REBANDED_AT_ONCE", 7)
    world = World(service(SERVICE, committing=True))
    many(world)
    batches = [
        [
            world.purchase(f"c{(i * 7 + k) % 200:03}", f"race{i}-{k}", 1_000 + i, NOON - days(k))
            for k in range(5)
        ]
        for i in range(60)
    ]
    newcomers = [[world.registered(f"new{i}"), world.purchase(f"new{i}", f"n{i}", 500)] for i in range(60)]
    failures: list[BaseException] = []

    def play(part: list[Any]) -> None:
        try:
            for events in part:
                world.happens(*events)
        except BaseException as error:
            failures.append(error)

    threads = [
        threading.Thread(target=play, args=(part,)) for part in (batches[::2], batches[1::2], newcomers)
    ]
    for thread in threads:
        thread.start()
    world.calibrated(MIDNIGHT - days(1))
    world.calibrated(MIDNIGHT)
    for thread in threads:
        thread.join()
    assert failures == []

    with world.scoring.sessions() as session:
        stale = text("""
            select count(*) from metrics m left join score s using (customer_id)
            where s.calibration_id is distinct from (select calibration_id from calibration where state = 'current')
        """)
        assert session.scalar(stale) == 0
    before = world.state(["scores"])
    rescore_everybody(world)
    assert world.state(["scores"]) == before
    world.assert_sound()


def rescore_everybody(world: World) -> None:
    from services.scoring.domain import calibrations
    from services.scoring.domain.causes import Cause

    with world.scoring.sessions.begin() as session:
        calibration = calibrations.current(session)
        ids = session.scalars(text("select customer_id from metrics")).all()
        score_customers(session, calibration, ids, lambda _: Cause("review", NOON, historical=True))
