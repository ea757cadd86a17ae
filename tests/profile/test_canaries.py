"""Personal data lie sealed in every table of profile, and after an erasure in none, whoever has all the keys."""

import pytest
from sqlalchemy import text

from services.profile.app import SERVICE
from services.profile.jobs import rights
from shared.jobs import runner
from shared.jobs.schedule import Context
from tests.canaries import dump, phone_of, phones_in, song_in, tell
from tests.profile.conftest import Profile

PEOPLE = 20


@pytest.fixture
def profile(service, tmp_path):
    return Profile(service(SERVICE, committing=True, audit_anchors=str(tmp_path / "anchors.jsonl")))


def found_in(tables):
    phones = [phone_of(number) for number in range(PEOPLE)]
    return [name for name, content in tables.items() if song_in(content) or phones_in(content, phones)]


def test_canaries_are_found_in_no_table_and_after_their_erasure_in_nothing(profile, capfd, monkeypatch):
    def request(method, path, body):
        reply = profile.client.request(
            method, f"/v1{path}", json=body, headers={"Idempotency-Key": f"{method}{path}{hash(str(body))}"}
        )
        assert reply.status_code < 300, (path, reply.text)
        return reply.json()

    people = [tell(request, number) for number in range(PEOPLE)]
    monkeypatch.setattr(rights, "TRIES", 1)
    copy = profile.client.post(f"/v1/customers/{people[0]}/access-requests").json()["id"]
    under = profile.under_test
    assert runner.run_one(SERVICE.jobs, Context(under.settings, under.sessions, under.engine))
    assert profile.client.get(f"/v1/access-requests/{copy}").json()["state"] == "failed", (
        "nobody else is there"
    )

    told = dump(under.settings.database_url)
    assert found_in(told) == []
    assert sum(map(len, told.values())) > 100_000, "there was something to find"
    assert found_in({"log": "".join(capfd.readouterr()).encode()}) == []
    with open(under.settings.audit_anchors, "rb") as lines:  # noqa: PTH123
        assert found_in({"anchors": lines.read()}) == []

    keys = profile.ask("select subject from shared.subject_key where wrapped is not null")
    assert len(keys) > PEOPLE
    for customer in people:
        assert profile.client.post(f"/v1/customers/{customer}/erasure").status_code == 202
    with under.sessions() as session:
        left = session.scalars(text("select subject from shared.subject_key where wrapped is not null")).all()
    assert [subject for subject in left if subject in people or subject.startswith("access:")] == []
    sealed = [
        (table, column)
        for table in SERVICE.metadata.tables.values()
        for column in table.columns
        if column.name.endswith("sealed") and table.name != "customer"
    ]
    assert len(sealed) > 10
    for table, column in sealed:
        count = f"select count(*) from {table.name} where {column.name} is not null"
        assert profile.ask(count) == [(0,)], f"{table.name}.{column.name}"
    assert found_in(dump(under.settings.database_url)) == []
