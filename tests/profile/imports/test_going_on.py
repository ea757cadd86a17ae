"""Interrupted, killed, cancelled: an import goes on where it stood."""

import multiprocessing
import os
import signal
import time

import pytest

from services.profile.app import SERVICE
from shared.database import open_engine, open_sessions
from shared.messaging import outbox
from shared.sealing import Keyring
from shared.settings import Settings
from tests.profile.conftest import while_erased
from tests.profile.imports.conftest import Imports, StopAfter, bought, csv_of
from tests.profile.imports.test_importing import TRAPS


def comparable(report: dict[str, object]) -> dict[str, object]:
    return {name: value for name, value in report.items() if name != "mapping"}


@pytest.mark.parametrize("dry_run", [False, True])
def test_shut_down_before_any_chunk_it_ends_as_if_nothing_had_happened(
    imports: Imports, dry_run: bool
) -> None:
    unbroken = imports.run([*TRAPS, bought("9", quantity="x")], dry_run=dry_run, source="unbroken")
    for chunks in range(1, 40):
        source = f"broken-{chunks}"
        imports.save(source, source=source)
        job_id = imports.start(csv_of([*TRAPS, bought("9", quantity="x")]), source, dry_run=dry_run)
        assert imports.work(StopAfter(chunks))
        finished = imports.job(job_id)["state"] == "succeeded"
        if not finished:
            assert imports.work()
        job = imports.job(job_id)
        assert job["state"] == "succeeded"
        assert (job["progress"], comparable(job["report"])) == (
            unbroken["progress"],
            comparable(unbroken["report"]),
        )
        assert imports.errors(job_id) == imports.errors(unbroken["id"])
        assert imports.facts(source) == imports.facts("unbroken")
        if finished:
            break
    assert finished and chunks > 5


def test_shut_down_before_every_chunk_it_still_arrives(imports: Imports) -> None:
    imports.save()
    job_id = imports.start(csv_of(TRAPS))
    for _ in range(60):
        imports.work(StopAfter(1))
        if imports.job(job_id)["state"] == "succeeded":
            break
    assert imports.job(job_id)["report"]["rows"]["recorded"] == 18


def test_cancelled_it_stops_between_chunks_and_resumed_it_goes_on(imports: Imports) -> None:
    imports.save()
    job_id = imports.start(csv_of(TRAPS))
    imports.work(StopAfter(8))
    assert imports.job(job_id)["state"] == "running"
    assert imports.client.post(f"/v1/jobs/{job_id}/cancel").status_code < 300
    imports.work()
    assert imports.job(job_id)["state"] == "cancelled"
    assert not imports.work()
    assert imports.client.post(f"/v1/jobs/{job_id}/resume").status_code < 300
    imports.work()
    job = imports.job(job_id)
    assert job["state"] == "succeeded"
    assert job["report"]["rows"] == {"read": 21, "recorded": 18, "unchanged": 0, "skipped": 3, "rejected": 0}


def test_a_file_that_cannot_be_read_fails_with_its_reason(imports: Imports) -> None:
    imports.save()
    for body, code in (
        (b"a,b\n1,2\n", "missing_column"),
        (b"\x1f\x8bnot really gzip", "damaged_gzip"),
    ):
        job_id = imports.start(body)
        imports.work()
        job = imports.job(job_id)
        assert (job["state"], job["error"]["code"]) == ("failed", code)


def _work_slowly(settings: Settings) -> None:
    engine = open_engine(settings.database_url, pool_size=4)
    sessions = open_sessions(engine, settings=settings, keyring=Keyring(settings.sealing_keys))
    outbox.install(sessions)

    class UnderTest:
        pass

    under_test = UnderTest()
    under_test.settings, under_test.sessions, under_test.engine = settings, sessions, engine  # type: ignore[attr-defined]
    Imports(under_test, {"rows_read": 50, "rows_recorded": 40, "beside_from": 0}).work()


def test_killed_at_any_moment_another_worker_ends_it_as_if_unbroken(committing: Imports) -> None:
    rows = [
        bought(str(number // 3), sku=f"S{number % 7}", customer=f"c{number // 9 % 11}.0")
        for number in range(900)
    ]
    rows += [bought(f"C{number}", quantity=-1, customer="c1") for number in range(40)]
    committing.chunks = {"rows_read": 50, "rows_recorded": 40}
    unbroken = committing.run(rows, source="unbroken")
    committing.save("killed", source="killed")
    job_id = committing.start(csv_of(rows), "killed")
    spawn = multiprocessing.get_context("spawn")
    for share in (0.02, 0.3, 0.6, 0.9):
        worker = spawn.Process(target=_work_slowly, args=(committing.under_test.settings,))
        worker.start()
        end = time.monotonic() + 30
        while time.monotonic() < end and committing.job(job_id)["progress"]["processed"] < share * len(rows):
            time.sleep(0.005)
        assert worker.pid is not None
        os.kill(worker.pid, signal.SIGKILL)
        worker.join()
        with committing.under_test.sessions.begin() as session:  # as if the lease of the dead had lapsed
            session.connection().exec_driver_sql(
                "update shared.job set lease_until = null where state = 'running'"
            )
    committing.work()
    job = committing.job(job_id)
    assert job["state"] == "succeeded"
    assert (job["progress"], comparable(job["report"])) == (
        unbroken["progress"],
        comparable(unbroken["report"]),
    )
    assert committing.facts("killed") == committing.facts("unbroken")
    assert committing.ask(
        "select count(*), count(distinct (topic, key, sequence)) from shared.outbox where type like '%purchase%'"
    ) == [(2 * 340, 2 * 340)]
    assert SERVICE.name == "profile"


def test_an_import_that_comes_upon_an_erasure_refuses_that_persons_orders_alone(committing: Imports) -> None:
    known = committing.client.put(
        "/v1/customers/by-external-id/shop/17850", json={"name": "Wang Fang"}
    ).json()
    committing.save()
    job_id = committing.start(csv_of([bought(f"{n}", customer=("17850", "17851")[n % 2]) for n in range(6)]))
    while_erased(committing.under_test, known["id"], committing.work)
    job = committing.job(job_id)
    assert (job["state"], job["report"]["rows"]["recorded"], job["report"]["rows"]["rejected"]) == (
        "succeeded",
        3,
        3,
    )
    assert {code for _, _, code in committing.errors(job_id)} == {"customer_erased"}
    assert committing.ask("select external_id from customer_external_id") == [("17851",)]
