import os
import stat
import subprocess
import sys
from pathlib import Path

import pytest

from shared.auth.keys import hmac_of
from shared.embedded.directory import DataDirectory, Server, bus_of
from shared.embedded.postgres import CannotStart
from shared.embedded.surroundings import is_deployed, surroundings
from shared.settings import Settings


class Signing(Settings):
    link_key: str


KINDS = {"profile": Settings, "feedback": Signing}
SERVER = Server("postgresql://regulars@127.0.0.1:1/postgres", "regulars")


@pytest.fixture
def directory(tmp_path):
    made = DataDirectory(tmp_path / "data")
    made.prepare()
    return made


def test_secrets_are_made_once_and_readable_by_their_owner_only(directory):
    first = directory.secrets(list(KINDS.values()), list(KINDS))
    assert directory.secrets(list(KINDS.values()), list(KINDS)) == first
    assert len(first["REGULARS_LINK_KEY"]) == 64
    for file in (directory.path / "secrets.env", directory.admin_key_file):
        assert stat.S_IMODE(file.stat().st_mode) == 0o600


def test_a_secret_that_a_newer_version_needs_is_added_and_the_others_stay(directory):
    old = directory.secrets([Settings], ["profile"])
    new = directory.secrets(list(KINDS.values()), list(KINDS))
    assert old.items() < new.items()
    assert "REGULARS_LINK_KEY" in new


def test_the_environment_makes_settings_whose_admin_key_is_the_one_in_the_directory(directory):
    environment = directory.environment(SERVER, "kafka://k:1", KINDS, {"REGULARS_PORT": "9000"})
    settings = Signing.from_environment("feedback", environment)
    assert settings.port == 9000
    assert settings.public_url == "http://127.0.0.1:9000"
    assert settings.database_url == "postgresql://regulars@127.0.0.1:1/regulars_feedback"
    key = directory.admin_key_file.read_text().strip()
    assert settings.environment_keys["admin"] == hmac_of(key, settings.key_pepper)
    assert settings.environment_keys["feedback"] == hmac_of(settings.service_key, settings.key_pepper)


def test_what_the_caller_says_wins(directory):
    told = {"REGULARS_CAMPAIGNS_SMTP_URL": "smtp://mail", "REGULARS_PUBLIC_URL": "https://shop.example"}
    environment = directory.environment(SERVER, "kafka://k:1", KINDS, told)
    assert told.items() <= environment.items()


def test_a_second_suite_over_one_directory_is_refused(directory):
    with directory.only_suite():
        assert directory.running_suite() == os.getpid()
        script = f"""
from pathlib import Path
from shared.embedded.directory import DataDirectory
with DataDirectory(Path({str(directory.path)!r})).only_suite():
    pass
"""
        other = subprocess.run(
            [sys.executable, "-c", script], capture_output=True, text=True, cwd=Path(__file__).parents[3]
        )
        assert "a suite is running" in other.stderr
    assert directory.running_suite() is None


def test_a_directory_remembers_its_bus_and_refuses_the_other(directory):
    directory.refuse_other_bus("kafka://a:1")
    directory.remember_bus("postgresql://x/bus")
    directory.refuse_other_bus("postgresql://y/bus")
    with pytest.raises(CannotStart, match="republish"):
        directory.refuse_other_bus("kafka://a:1")


def test_the_bus_is_the_one_that_is_named_else_the_suites_own():
    assert bus_of({"KAFKA": "127.0.0.1:9092"}, SERVER) == "kafka://127.0.0.1:9092"
    assert bus_of({}, SERVER) == "postgresql://regulars@127.0.0.1:1/regulars_bus"


def test_an_unwritable_place_is_told(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(CannotStart, match="REGULARS_DATA_DIR"):
        DataDirectory(tmp_path / "file" / "data").prepare()


def test_the_databases_of_a_given_server_carry_its_databases_name():
    server = Server.given("postgres://me:secret@db.example:5433/crm?sslmode=require")
    assert server.database("profile") == "postgresql://me:secret@db.example:5433/crm_profile?sslmode=require"
    with pytest.raises(CannotStart, match="postgresql"):
        Server.given("mysql://x")


def test_a_server_that_cannot_be_reached_is_told_without_its_password():
    server = Server.given("postgresql://me:s3cret@127.0.0.1:1/crm")
    with pytest.raises(CannotStart) as told:
        server.create_databases(["profile"])
    assert "DATABASE_URL cannot be reached" in str(told.value)
    assert "s3cret" not in str(told.value)


def test_a_deployment_is_recognised_by_its_databases(tmp_path):
    assert is_deployed(KINDS, {f"REGULARS_{name.upper()}_DATABASE_URL": "x" for name in KINDS})
    assert not is_deployed(KINDS, {"REGULARS_DATABASE_URL": "x"})
    assert is_deployed({"profile": Settings}, {"REGULARS_DATABASE_URL": "x"})
    with (
        pytest.raises(CannotStart, match="no suite"),
        surroundings(KINDS, {"REGULARS_DATA_DIR": str(tmp_path / "none")}),
    ):
        pass
