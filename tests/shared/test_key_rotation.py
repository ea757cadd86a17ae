"""The key of the environment is replaced while everything goes on, and nothing sealed is lost."""

import pytest
from sqlalchemy import text

from shared import sealing
from shared.jobs import runner
from shared.jobs.schedule import Context
from shared.key_rotation import KIND, rotate_keys
from shared.sealing import Keyring, SealBroken

OLD, NEW = bytes(range(32)), bytes(range(1, 33))
PLACE = "customer.name:1"


@pytest.fixture
def sealed(shop):
    """25 subjects under the old key; the shop then restarts with the new one in front."""
    with shop.sessions.begin() as session:
        values = sealing.seal_many(session, [(f"s{n}", PLACE, f"name {n}") for n in range(25)])
        sealing.destroy(session, "gone")
    shop.sessions.configure(info=shop.sessions.kw["info"] | {"keyring": Keyring({"k2": NEW, "k1": OLD})})
    return values


def work(shop, portion=10):
    context = Context(shop.settings, shop.sessions, shop.engine)
    return runner.run_one({KIND: lambda job: rotate_keys(job, portion=portion)}, context)


def test_every_data_key_is_wrapped_anew_and_the_old_key_can_go(shop, sealed):
    assert shop.client.get("/v1/sealing-keys").json() == {"current": "k2", "wrapped": {"k1": 25}}
    reply = shop.client.post("/v1/sealing-keys/rotation")
    assert reply.status_code == 202
    assert work(shop)
    job = shop.client.get(f"/v1/jobs/{reply.json()['id']}").json()
    assert (job["state"], job["report"]) == ("succeeded", {"key": "k2", "rewrapped": 25})
    assert job["progress"] == {"total": 25, "processed": 25, "failed": 0}
    assert shop.client.get("/v1/sealing-keys").json() == {"current": "k2", "wrapped": {"k2": 25}}
    with shop.sessions() as session:
        session.info["keyring"] = Keyring({"k2": NEW})
        opened = sealing.unseal_many(session, [(f"s{n}", PLACE, sealed[n]) for n in range(25)])
        assert opened == [f"name {n}" for n in range(25)]
        session.info["keyring"] = Keyring({"k1": OLD})
    with shop.sessions() as session:
        session.info["keyring"] = Keyring({"k1": OLD})
        with pytest.raises(SealBroken):
            sealing.unseal(session, "s0", PLACE, sealed[0])


def test_a_rotation_that_was_killed_goes_on_where_it_stood(shop, sealed, monkeypatch):
    job_id = shop.client.post("/v1/sealing-keys/rotation").json()["id"]
    rewrap, calls = sealing.rewrap, []

    def dies(session, limit):
        calls.append(limit)
        if len(calls) == 2:
            raise RuntimeError
        return rewrap(session, limit)

    monkeypatch.setattr(sealing, "rewrap", dies)
    assert work(shop)
    assert shop.client.get(f"/v1/jobs/{job_id}").json()["progress"]["processed"] == 10
    assert shop.client.get("/v1/sealing-keys").json()["wrapped"] == {"k1": 15, "k2": 10}
    assert shop.client.post(f"/v1/jobs/{job_id}/resume").status_code == 200
    assert work(shop)
    job = shop.client.get(f"/v1/jobs/{job_id}").json()
    assert (job["state"], job["report"]["rewrapped"]) == ("succeeded", 25)


def test_data_keys_that_are_in_use_are_waited_for(shop, sealed, monkeypatch):
    monkeypatch.setattr("shared.key_rotation.job.PAUSE", 0.01)
    shop.client.post("/v1/sealing-keys/rotation")
    with shop.sessions() as busy:
        busy.execute(text("select from shared.subject_key where subject = 's3' for update"))
        real = sealing.rewrap
        done = []

        def let_go_later(session, limit):
            done.append(real(session, limit))
            if len(done) == 5:
                busy.rollback()
            return done[-1]

        monkeypatch.setattr(sealing, "rewrap", let_go_later)
        assert work(shop)
    assert shop.client.get("/v1/sealing-keys").json()["wrapped"] == {"k2": 25}


def test_it_is_in_the_audit_log(shop, sealed):
    shop.client.post("/v1/sealing-keys/rotation")
    assert work(shop)
    entries = shop.client.get("/v1/audit").json()["items"]
    assert [entry["action"] for entry in entries] == ["key_rotation_completed", "key_rotation_started"]
    assert entries[0]["facts"] == {"key": "k2", "rewrapped": 25}
