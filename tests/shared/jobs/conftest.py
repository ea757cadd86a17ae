"""A service's `work`, on a database of its own per test."""

import pytest
from sqlalchemy import text

from shared.database import open_engine, open_sessions
from shared.jobs.schedule import Context
from shared.messaging import outbox
from shared.sealing import Keyring
from shared.settings import Settings
from tests.shared.shop.app import SERVICE


@pytest.fixture
def url(cluster):
    with cluster.copy(cluster.template("shop", SERVICE.migrations)) as url:
        yield url


@pytest.fixture
def context(url):
    settings = Settings.model_validate(
        {
            "service": "test",
            "database_url": url,
            "key_pepper": "p" * 16,
            "sealing_keys": {"k1": bytes(32)},
            "audit_key": "a" * 16,
        }
    )
    engine = open_engine(url, pool_size=8)
    with engine.begin() as connection:
        connection.execute(text("create table effect (n int)"))
    sessions = open_sessions(engine, keyring=Keyring(settings.sealing_keys), settings=settings)
    outbox.install(sessions)
    yield Context(settings, sessions, engine)
    engine.dispose()
