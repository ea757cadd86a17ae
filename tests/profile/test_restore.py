"""An old backup is restored: who was erased since is forgotten again before anything is served."""

import json
import subprocess
import sys
from pathlib import Path

import pytest
from sqlalchemy import make_url, text

from services.profile.app import SERVICE
from shared import erasures, sealing
from shared.database import open_engine, open_sessions
from shared.sealing import Keyring
from tests.profile.conftest import Profile, line

CANARY = "金丝雀王芳"


@pytest.fixture
def profile(service, tmp_path):
    return Profile(service(SERVICE, committing=True, audit_anchors=str(tmp_path / "anchors.jsonl")))


@pytest.fixture
def backup(cluster):
    """``backup(profile)``: a copy of its database as it is now, and sessions over it."""
    made = []

    def copy(profile):
        settings = profile.under_test.settings
        name = make_url(settings.database_url).database
        profile.under_test.engine.dispose()
        cluster.execute(f'create database "{name}_backup" template "{name}"')
        url = cluster.url(f"{name}_backup")
        engine = open_engine(url, pool_size=2)
        made.append((f"{name}_backup", engine))
        return open_sessions(
            engine,
            settings=settings.model_copy(update={"database_url": url}),
            keyring=Keyring(settings.sealing_keys),
        )

    yield copy
    for name, engine in made:
        engine.dispose()
        cluster.execute(f'drop database "{name}" with (force)')


def names(sessions):
    with sessions() as session:
        rows = session.execute(text("select customer_id, name_sealed from customer")).all()
        places = [(str(row[0]), f"customer.name_sealed:{row[0]}", row[1]) for row in rows]
        return {name for name in sealing.unseal_many(session, places) if name}


def test_who_was_erased_after_the_backup_is_forgotten_again_and_nobody_else(profile, backup):
    wang = profile.customer("17850", name=CANARY, email="canary@example.com")
    profile.customer("17851", name="李雷")
    assert profile.buy("A1", line()).status_code == 201
    restored = backup(profile)
    late = profile.customer("17852", name=f"{CANARY}二")
    for customer in (wang, late):
        assert profile.client.post(f"/v1/customers/{customer['id']}/erasure").status_code == 202
    assert names(restored) == {CANARY, "李雷"}, "the backup remembers"

    known = erasures.in_file(profile.under_test.settings)
    assert {str(one.customer_id) for one in known} == {wang["id"], late["id"]}
    assert erasures.reapply(SERVICE, restored, known) == 2
    assert names(restored) == {"李雷"}
    assert erasures.reapply(SERVICE, restored, known) == 0, "done once, and known to be done"
    with restored() as session:
        ask = session.execute(text("select state, count(*) from customer group by 1 order by 1")).all()
        assert ask == [("active", 1), ("erased", 1)]
        assert session.scalar(text("select sum(total_minor) from purchase")) == 1530
        assert session.scalar(text("select count(*) from shared.subject_key where wrapped is not null")) == 1
        # Neither of them can be brought back by a file, not even the one whom the backup never knew.
        fields = text("select field, count(*) from forgotten_name group by field order by field")
        assert session.execute(fields).all() == [
            ("email", 1),
            ("external_name", 2),
            ("identity:email", 1),
        ]
        assert session.scalar(text("select count(*) from suppression where reason = 'erasure'")) == 1


def test_a_line_that_nobody_signed_erases_nobody(profile, backup):
    wang = profile.customer("17850", name=CANARY)
    li = profile.customer("17851", name="李雷")
    profile.client.post(f"/v1/customers/{wang['id']}/erasure")
    lines = Path(profile.under_test.settings.audit_anchors)
    lines.write_text(lines.read_text() + lines.read_text().replace(wang["id"], li["id"]))
    known = erasures.in_file(profile.under_test.settings)
    assert [str(one.customer_id) for one in known] == [wang["id"]]


def test_migrate_does_it_before_anything_is_served(profile, backup):
    wang = profile.customer("17850", name=CANARY)
    restored = backup(profile)
    profile.client.post(f"/v1/customers/{wang['id']}/erasure")
    with restored() as session:
        url = (
            session.connection().engine.url.set(drivername="postgresql").render_as_string(hide_password=False)
        )
    settings = profile.under_test.settings
    environment = {
        "REGULARS_DATABASE_URL": url,
        "REGULARS_KEY_PEPPER": settings.key_pepper,
        "REGULARS_AUDIT_KEY": settings.audit_key,
        "REGULARS_AUDIT_ANCHORS": settings.audit_anchors,
        "REGULARS_SEALING_KEYS": "k1:AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8=",
        "REGULARS_LINK_KEY": "a-link-key-that-only-the-tests-know",
        "REGULARS_BLIND_INDEX_KEY": "a-blind-index-key-that-only-tests-know",
    }
    migrated = subprocess.run(
        [sys.executable, "-m", "services.profile", "migrate"],
        env=environment,
        cwd=Path(__file__).parents[2],
        capture_output=True,
        text=True,
        check=True,
    )
    assert "1 erasures reapplied" in migrated.stdout
    assert names(restored) == set()
    again = subprocess.run(
        [sys.executable, "-m", "services.profile", "reapply-erasures", "--no-bus"],
        env=environment,
        cwd=Path(__file__).parents[2],
        capture_output=True,
        text=True,
        check=True,
    )
    assert json.loads(again.stdout) == {"service": "profile", "erasures_known": 1, "erasures_reapplied": 0}
