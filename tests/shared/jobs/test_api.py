import csv
import io

from shared.jobs import jobs, runner
from shared.jobs.schedule import Context


def started(shop, *, kind="count", **parameters):
    with shop.sessions.begin() as session:
        return jobs.create(session, kind, parameters, created_by="tests", held=parameters.pop("held", False))


def run(shop, function):
    assert runner.run_one({"count": function}, Context(shop.settings, shop.sessions, shop.engine))


def find_faults(job):
    with job.chunk() as chunk:
        chunk.total = 3
        chunk.advance(processed=1, failed=2)
        chunk.report["rows"] = 3
        chunk.error(2, "Quantity", "not_a_number", "is not a whole number")
        chunk.error(3, "=cmd()", "missing", "is missing", pointer="/unit_price")


def test_a_job_says_how_far_it_is_and_what_it_refused(shop):
    job_id = started(shop)
    assert shop.client.get(f"/v1/jobs/{job_id}").json()["state"] == "queued"
    run(shop, find_faults)
    told = shop.client.get(f"/v1/jobs/{job_id}").json()
    assert (told["state"], told["progress"], told["report"]) == (
        "succeeded",
        {"total": 3, "processed": 1, "failed": 2},
        {"rows": 3},
    )
    page = shop.client.get(f"/v1/jobs/{job_id}/errors", params={"limit": 1}).json()
    assert [item["line"] for item in page["items"]] == [2]
    rest = shop.client.get(
        f"/v1/jobs/{job_id}/errors", params={"limit": 1, "cursor": page["next_cursor"]}
    ).json()
    assert [item["pointer"] for item in rest["items"]] == ["/unit_price"]
    assert rest["next_cursor"] is None


def test_errors_are_a_file_too_and_its_cells_are_inert(shop):
    job_id = started(shop)
    run(shop, find_faults)
    for asked in ({"headers": {"Accept": "text/csv"}}, {"params": {"format": "csv"}}):
        reply = shop.client.get(f"/v1/jobs/{job_id}/errors", **asked)
        assert reply.headers["Content-Type"].startswith("text/csv")
        rows = list(csv.DictReader(io.StringIO(reply.text)))
        assert [(row["line"], row["column"]) for row in rows] == [("2", "Quantity"), ("3", "'=cmd()")]


def test_jobs_are_listed_newest_first_by_state_and_kind(shop):
    ids = [str(started(shop)) for _ in range(3)]
    other = str(started(shop, kind="other"))
    listed = shop.client.get("/v1/jobs").json()["items"]
    assert [item["id"] for item in listed] == [other, *reversed(ids)]
    assert len(shop.client.get("/v1/jobs", params={"kind": "other"}).json()["items"]) == 1
    assert shop.client.get("/v1/jobs", params={"state": ["failed", "running"]}).json()["items"] == []


def test_a_job_is_cancelled_and_resumed_by_whoever_may(shop):
    job_id = started(shop)
    assert shop.client.post(f"/v1/jobs/{job_id}/cancel").json()["state"] == "cancelled"
    assert shop.client.post(f"/v1/jobs/{job_id}/resume").json()["state"] == "queued"
    run(shop, lambda job: None)
    reply = shop.client.post(f"/v1/jobs/{job_id}/cancel")
    assert (reply.status_code, reply.json()["code"]) == (409, "job_finished")
    assert shop.stranger.post(f"/v1/jobs/{job_id}/cancel").status_code == 401


def test_a_job_that_does_not_exist_is_404(shop):
    reply = shop.client.get("/v1/jobs/01890000-0000-7000-8000-000000000000/errors")
    assert (reply.status_code, reply.json()["code"]) == (404, "job_not_found")
