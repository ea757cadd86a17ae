import os
import signal
import socket
import time

import psycopg
import pytest

from shared.embedded import binaries, postgres


@pytest.fixture
def data(tmp_path):
    yield tmp_path / "postgres"
    if (left := postgres.find_running(tmp_path / "postgres")) is not None:
        left.stop()


def kill(cluster):
    os.kill(cluster.pid, signal.SIGKILL)
    cluster.process.wait()


def test_it_starts_from_nothing_and_keeps_its_data_over_a_restart(data):
    first = postgres.start(data)
    with psycopg.connect(first.url()) as connection:
        connection.execute("create table kept as select 1 as one")
    first.stop()
    assert not postgres.is_alive(first.pid)
    second = postgres.start(data)
    with psycopg.connect(second.url()) as connection:
        assert connection.execute("select one from kept").fetchone() == (1,)
        assert connection.execute("show fsync").fetchone() == ("on",)
        assert connection.execute("select 'ä' collate \"C\" < '中' collate \"C\"").fetchone() == (True,)


def test_one_that_was_left_running_is_adopted(data):
    left = postgres.start(data)
    adopted = postgres.start(data)
    assert (adopted.adopted, adopted.pid, adopted.port) == (True, left.pid, left.port)
    adopted.stop()
    left.process.wait()
    assert postgres.find_running(data) is None


def test_what_was_committed_survives_a_kill(data):
    first = postgres.start(data)
    with psycopg.connect(first.url(), autocommit=True) as connection:
        connection.execute("create table kept as select 1 as one")
        kill(first)  # under an open connection, which lingers on the port
    second = postgres.start(data, port=first.port)
    assert not second.adopted and second.port == first.port
    with psycopg.connect(second.url()) as connection:
        assert connection.execute("select one from kept").fetchone() == (1,)


def test_a_pid_file_that_names_another_process_is_not_believed(data):
    postgres.start(data).stop()
    (data / "postmaster.pid").write_text(f"{os.getpid()}\n{data}\n0\n1\n127.0.0.1\n\n\n")
    assert postgres.find_running(data) is None


def test_data_of_another_major_version_is_told_clearly(data):
    postgres.start(data).stop()
    (data / "PG_VERSION").write_text("12\n")
    with pytest.raises(binaries.NoPostgres, match="made by PostgreSQL 12"):
        postgres.start(data)


def test_a_folder_of_other_files_is_refused_and_left_alone(data):
    data.mkdir()
    (data / "thesis.txt").write_text("mine")
    with pytest.raises(postgres.CannotStart, match="neither empty nor"):
        postgres.start(data)
    assert (data / "thesis.txt").read_text() == "mine"


def test_an_initdb_that_was_killed_half_way_is_begun_again(data):
    (data / "making").mkdir(parents=True)
    (data / "making" / "PG_VERSION").write_text("15")
    (data / "initdb.started").touch()
    cluster = postgres.start(data)
    with psycopg.connect(cluster.url()) as connection:
        assert connection.execute("select 1").fetchone() == (1,)


def test_a_taken_port_is_told(data):
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        with pytest.raises(postgres.CannotStart, match=f"port {port}"):
            postgres.start(data, port=port, within=0.1)


def test_a_process_that_waits_to_be_reaped_is_not_alive():
    child = os.fork()
    if child == 0:
        os._exit(0)
    time.sleep(0.2)
    assert not postgres.is_alive(child)
    os.waitpid(child, 0)


@pytest.mark.skipif(os.geteuid() != 0, reason="only root has directories that nobody else may enter")
def test_as_root_programs_and_data_may_lie_where_only_root_may_enter(tmp_path, monkeypatch):
    wheel = binaries._wheel()
    if not wheel:
        pytest.skip("the wheel is not installed")
    monkeypatch.setattr(postgres, "CACHE", tmp_path / "cache")
    monkeypatch.setattr(postgres, "_nobody_may_pass", lambda path: (tmp_path / "cache") in path.parents)
    tmp_path.chmod(0o755)
    copied = postgres._within_reach(wheel[0])
    assert copied.folder.is_relative_to(tmp_path / "cache")
    assert postgres._within_reach(wheel[0]) == copied
    assert binaries._binaries(copied.folder) == copied
