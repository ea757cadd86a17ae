"""A person asks what is known: everything that all four services hold, nobody else's, and only for some days."""

import json
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from types import SimpleNamespace

import pytest
from sqlalchemy import text

from services.profile.app import SERVICE
from services.profile.domain.holdings import HOLDINGS
from services.profile.jobs import rights
from shared import sealing
from shared.jobs import runner
from shared.jobs.schedule import Context
from tests.profile.conftest import Profile, code_of, line


@pytest.fixture
def others() -> Iterator[SimpleNamespace]:
    """scoring, campaigns and feedback on one port: what they hold by customer id, as they answer it."""
    told = SimpleNamespace(held={}, away=set(), asked=[], url="")

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            _, service, _, _, customer_id, _ = self.path.split("/")
            told.asked.append((service, customer_id, self.headers["Authorization"]))
            status, body = 200, {"sections": told.held.get((service, customer_id), {})}
            if service in told.away:
                status, body = 503, {"code": "away"}
            elif (service, customer_id) not in told.held:
                status, body = 404, {"code": "customer_not_found", "detail": ""}
            content = json.dumps(body).encode()
            self.send_response(status)
            self.send_header("Content-Length", str(len(content)))
            self.end_headers()
            self.wfile.write(content)

        def log_message(self, *_: object) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    told.url = f"http://127.0.0.1:{server.server_address[1]}"
    yield told
    server.shutdown()
    server.server_close()


@pytest.fixture
def profile(service, others, monkeypatch):
    monkeypatch.setattr(rights, "PAUSE", 0.01)
    urls = {f"{name}_url": others.url for name in ("scoring", "campaigns", "feedback")}
    return Profile(service(SERVICE, committing=True, service_key="rgl_profile", **urls))


def work(profile, **jobs):
    under = profile.under_test
    context = Context(under.settings, under.sessions, under.engine)
    return runner.run_one(jobs or SERVICE.jobs, context)


def ask_for(profile, customer_id):
    reply = profile.client.post(f"/v1/customers/{customer_id}/access-requests")
    assert reply.status_code == 202, reply.text
    assert reply.headers["location"] == f"/profile/v1/access-requests/{reply.json()['id']}"
    return reply.json()["id"]


def copy_for(profile, customer_id):
    request_id = ask_for(profile, customer_id)
    assert work(profile)
    reply = profile.client.get(f"/v1/access-requests/{request_id}/content")
    assert reply.status_code == 200, (reply.text, profile.client.get(f"/v1/jobs/{request_id}").json())
    return reply.json()


def somebody(profile, number, name):
    customer = profile.customer(
        number,
        name=name,
        email=f"{number}@example.com",
        phone=f"+86138123{number}",
        birth_date="1990-05-01",
        tags=["vip"],
    )
    evidence = {"state": "granted", "evidence": f"{name} said so"}
    profile.client.put(f"/v1/customers/{customer['id']}/consents/marketing/email", json=evidence)
    named = {"customer": {"source": "shop", "external_id": number}}
    assert profile.buy(f"A{number}", line(), line("22752", 2, "7.65"), **named).status_code == 201
    assert profile.bring_back(f"R{number}", f"A{number}", (2, 1)).status_code == 201
    lookup = {"customer_ids": [customer["id"]], "purpose": "marketing", "channel": "email"}
    profile.client.post("/v1/contact-points/lookup", json=lookup)
    return customer["id"]


def test_everything_that_profile_holds_is_in_the_copy(profile):
    wang = somebody(profile, "17850", "王芳")
    copy = copy_for(profile, wang)
    own = copy["services"]["profile"]
    [row] = own["customer"]
    assert (row["name"], row["email"], row["phone"]) == ("王芳", "17850@example.com", "+8613812317850")
    assert row["birth_date"] == "1990-05-01" and row["customer_id"] == wang
    assert [one["external_id"] for one in own["external_ids"]] == ["17850"]
    assert [one["evidence"] for one in own["consents"]] == ["王芳 said so"]
    assert [one["external_id"] for one in own["purchases"]] == ["A17850"]
    assert [one["sku"] for one in own["purchase_lines"]] == ["85123A", "22752"]
    assert [one["quantity"] for one in own["return_lines"]] == [1]
    assert [one["outcome"] for one in own["disclosures"]] == ["disclosed"]
    assert [one["requested_by"] for one in own["access_requests"]] == ["admin"]


def test_all_sections_have_all_rows_that_the_tables_have(profile):
    """Complete by construction: what is counted in the tables is what the copy has."""
    wang = somebody(profile, "17850", "王芳")
    somebody(profile, "17851", "李雷")
    own = copy_for(profile, wang)["services"]["profile"]
    for holding in HOLDINGS:
        if holding.parent is None and holding.section != "access_requests":
            owned = " and ".join(f"{owner} = :id" for owner in holding.owners)
            [(count,)] = profile.ask(f"select count(*) from {holding.table_name} where {owned}", id=wang)
            rows = own.get(holding.section, [])
            assert len(rows) == count, holding.section
            names = {name for row in rows for name in row}
            assert not rows or len(names) == len(holding.shown), holding.section


def test_other_services_are_asked_with_a_key_of_profiles_own(profile, others):
    wang = somebody(profile, "17850", "王芳")
    others.held["scoring", wang] = {"scores": [{"segment": "champions"}]}
    others.held["feedback", wang] = {"cases": [{"text": "太慢了"}], "answers": []}
    copy = copy_for(profile, wang)
    assert copy["services"]["scoring"] == {"scores": [{"segment": "champions"}]}
    assert copy["services"]["feedback"] == {"cases": [{"text": "太慢了"}]}
    assert {(service, key) for service, _, key in others.asked} == {
        (service, "Bearer rgl_profile") for service in ("scoring", "campaigns", "feedback")
    }
    request_id = profile.ask("select request_id from access_request")[0][0]
    report = profile.client.get(f"/v1/jobs/{request_id}").json()
    assert report["report"]["sections"]["feedback.cases"] == 1
    assert report["progress"]["processed"] == report["progress"]["total"]


def test_two_peoples_data_never_mix(profile, others):
    people = {somebody(profile, f"1785{number}", name): name for number, name in enumerate("王李张刘陈")}
    others.held |= {
        ("feedback", one): {"cases": [{"text": f"case of {name}"}]} for one, name in people.items()
    }
    for one, name in people.items():
        told = json.dumps(copy_for(profile, one), ensure_ascii=False)
        assert name in told and f"case of {name}" in told
        assert not [other for other in people.values() if other != name and other in told]
        assert not [other for other in people if other != one and other in told]


def test_a_person_who_is_one_with_another_gets_both_and_no_more_after_they_are_two(profile):
    wang, li = somebody(profile, "17850", "王芳"), somebody(profile, "17851", "李雷")
    with profile.under_test.sessions.begin() as session:
        session.execute(
            text("update customer set state = 'merged', merged_into = :w where customer_id = :l"),
            {"w": wang, "l": li},
        )
        session.execute(
            text("update purchase set customer_id = :w where customer_id = :l"), {"w": wang, "l": li}
        )
    request_id = ask_for(profile, li)
    assert work(profile)
    path = f"/v1/access-requests/{request_id}/content"
    copy = profile.client.get(path).json()
    assert copy["customer_id"] == wang
    assert {one["name"] for one in copy["services"]["profile"]["customer"]} == {"王芳", "李雷"}
    assert len(copy["services"]["profile"]["purchases"]) == 2
    with profile.under_test.sessions.begin() as session:
        session.execute(
            text("update customer set state = 'active', merged_into = null where customer_id = :l"), {"l": li}
        )
    refused = profile.client.get(path)
    assert (refused.status_code, code_of(refused)) == (409, "customer_changed")


def test_the_copy_lies_sealed_and_is_destroyed_with_its_key(profile):
    wang = somebody(profile, "17850", "王芳")
    copy_for(profile, wang)
    [(request_id,)] = profile.ask("select request_id from access_request")
    blocks = profile.ask("select number, sealed from access_block order by number")
    assert blocks and not [row for row in blocks if "王芳".encode() in bytes(row.sealed)]
    with profile.under_test.sessions.begin() as session:
        session.execute(text("update access_request set expires_at = now()"))
    under = profile.under_test
    path = f"/v1/access-requests/{request_id}"
    assert code_of(profile.client.get(f"{path}/content")) == "access_request_expired"
    assert rights.forget_copies(Context(under.settings, under.sessions, under.engine)) == 1
    assert profile.ask("select count(*) from access_block") == [(0,)]
    with under.sessions() as session:
        place = f"access_block.sealed:{request_id}/{blocks[0].number}"
        assert sealing.unseal(session, f"access:{request_id}", place, blocks[0].sealed) is None
    assert profile.client.get(path).json()["state"] == "destroyed"
    assert profile.client.get(f"{path}/content").status_code == 410


def test_an_erasure_destroys_the_copies_too(profile):
    wang = somebody(profile, "17850", "王芳")
    copy_for(profile, wang)
    open_request = ask_for(profile, wang)
    assert profile.client.post(f"/v1/customers/{wang}/erasure").status_code == 202
    assert profile.ask("select count(*) from access_block") == [(0,)]
    assert profile.ask("select count(*) from access_request where destroyed_at is null") == [(0,)]
    assert work(profile)
    assert profile.client.get(f"/v1/jobs/{open_request}").json()["state"] == "failed"
    assert profile.ask("select count(*) from access_block") == [(0,)]
    assert profile.client.post(f"/v1/customers/{wang}/access-requests").status_code == 410


def test_a_service_that_is_away_is_waited_for_and_the_job_goes_on_where_it_stood(profile, others):
    wang = somebody(profile, "17850", "王芳")
    others.held["feedback", wang] = {"cases": [{"text": "太慢了"}]}
    others.away.add("feedback")
    request_id = ask_for(profile, wang)
    assert work(profile)
    job = profile.client.get(f"/v1/jobs/{request_id}").json()
    assert (job["state"], job["error"]["code"]) == ("failed", "feedback_unavailable")
    assert profile.client.get(f"/v1/access-requests/{request_id}").json()["state"] == "failed"
    refused = profile.client.get(f"/v1/access-requests/{request_id}/content")
    assert (refused.status_code, code_of(refused)) == (409, "access_request_not_ready")
    asked = len(others.asked)
    others.away.clear()
    assert profile.client.post(f"/v1/jobs/{request_id}/resume").status_code == 200
    assert work(profile)
    assert len(others.asked) == asked + 1, "scoring and campaigns are not asked again"
    copy = profile.client.get(f"/v1/access-requests/{request_id}/content").json()
    assert copy["services"]["feedback"]["cases"] == [{"text": "太慢了"}]
    assert len(copy["services"]["profile"]["customer"]) == 1


def test_many_rows_are_gathered_in_portions(profile):
    wang = somebody(profile, "17850", "王芳")
    named = {"customer": {"source": "shop", "external_id": "17850"}}
    for number in range(7):
        assert profile.buy(f"B{number}", line(), **named).status_code == 201
    request_id = ask_for(profile, wang)
    assert work(profile, access_request=lambda job: rights.gather_personal_data(job, rows=3))
    own = profile.client.get(f"/v1/access-requests/{request_id}/content").json()["services"]["profile"]
    assert len({one["external_id"] for one in own["purchases"]}) == len(own["purchases"]) == 8
    assert len(own["purchase_lines"]) == 9
    counts = profile.client.get(f"/v1/jobs/{request_id}").json()["report"]["sections"]
    assert (counts["profile.purchases"], counts["profile.purchase_lines"]) == (8, 9)


def test_the_copy_can_be_read_as_a_page_in_both_languages_and_nothing_in_it_is_markup(profile):
    wang = somebody(profile, "17850", "<script>王芳</script>")
    request_id = ask_for(profile, wang)
    assert work(profile)
    path = f"/v1/access-requests/{request_id}/content"
    zh = profile.client.get(path, params={"format": "html", "language": "zh"})
    assert zh.headers["content-type"] == "text/html; charset=utf-8"
    assert "attachment" in zh.headers["content-disposition"] and zh.headers["cache-control"] == "no-store"
    assert "客户档案" in zh.text and "&lt;script&gt;王芳" in zh.text and "<script" not in zh.text
    assert "The data we hold about you" in profile.client.get(path, params={"format": "html"}).text


def test_it_is_in_the_audit_log_who_asked_and_who_took_it(profile):
    wang = somebody(profile, "17850", "王芳")
    copy_for(profile, wang)
    entries = profile.client.get("/v1/audit", params={"subject": wang}).json()["items"]
    assert {entry["action"] for entry in entries} >= {"access_requested", "personal_data_handed_out"}
