"""A statement that is a transaction by itself, and the connection that it leaves behind."""

import pytest
from sqlalchemy import text
from sqlalchemy.exc import DBAPIError

from shared.database import execute_alone, open_engine, open_sessions

PUT = "insert into thing (name) values (%s) returning name"


@pytest.fixture
def sessions(empty_database):
    engine = open_engine(empty_database, pool_size=1)
    with engine.begin() as connection:
        connection.execute(text("create table thing (name text primary key)"))
    yield open_sessions(engine)
    engine.dispose()


def names(sessions):
    with sessions() as session:
        return session.scalars(text("select name from thing order by 1")).all()


def test_what_a_statement_did_alone_is_committed_when_it_returns(sessions):
    with sessions() as session:
        assert execute_alone(session, PUT, ("a",)).fetchone() == ("a",)
        assert not session.in_transaction()
        session.rollback()
    assert names(sessions) == ["a"]


def test_in_a_transaction_that_has_begun_it_is_part_of_that(sessions):
    with sessions() as session:
        session.execute(text("select 1"))
        execute_alone(session, PUT, ("a",))
        session.rollback()
    assert names(sessions) == []


@pytest.mark.parametrize("fails", [False, True])
def test_who_gets_its_connection_next_has_to_commit(sessions, fails):
    with sessions() as session:
        execute_alone(session, PUT, ("a",))
        if fails:
            with pytest.raises(DBAPIError) as refused:
                execute_alone(session, PUT, ("a",))
            assert "UniqueViolation" in type(refused.value.orig).__name__
            assert not refused.value.connection_invalidated
    with sessions() as session:
        session.execute(text("insert into thing values ('b')"))
        session.rollback()
    assert names(sessions) == ["a"]


def test_a_lost_connection_is_noticed_and_replaced(sessions):
    with sessions() as session:
        with pytest.raises(DBAPIError) as lost:
            execute_alone(session, "select pg_terminate_backend(pg_backend_pid())", ())
        assert lost.value.connection_invalidated
        execute_alone(session, PUT, ("a",))
    assert names(sessions) == ["a"]
