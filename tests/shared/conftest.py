"""A shop over the foundation: its app, on a database of its own per test, with real commits."""

from collections.abc import Callable, Iterator
from contextlib import ExitStack

import pytest
from starlette.testclient import TestClient

from shared.auth.keys import KeyRing
from shared.database import open_engine, open_sessions
from shared.http.app import new_app
from shared.messaging import outbox
from shared.sealing import Keyring
from tests.conftest import ServiceUnderTest, settings_for
from tests.shared.shop.app import SERVICE


@pytest.fixture
def shop_with(cluster) -> Iterator[Callable[..., ServiceUnderTest]]:
    """``shop_with(**settings)``: the shop, its settings changed."""
    with ExitStack() as open_things:

        def build(*, service=SERVICE, pool_size=8, **more) -> ServiceUnderTest:
            url = open_things.enter_context(cluster.copy(cluster.template("shop", SERVICE.migrations)))
            settings, key = settings_for(service, more.pop("database_url", url), **more)
            engine = open_engine(settings.database_url, pool_size=pool_size, connect_timeout=15, name="tests")
            open_things.callback(engine.dispose)
            sessions = open_sessions(engine, settings=settings, keyring=Keyring(settings.sealing_keys))
            outbox.install(sessions)
            app = new_app(service, settings, sessions, KeyRing(settings, sessions, own=service.active_keys))
            bearer = {"Authorization": f"Bearer {key}"}
            client = open_things.enter_context(
                TestClient(app, "http://testserver/shop", headers=bearer, raise_server_exceptions=False)
            )
            stranger = TestClient(app, "http://testserver/shop", raise_server_exceptions=False)
            return ServiceUnderTest(service, settings, engine, sessions, app, client, stranger, key)

        yield build


@pytest.fixture
def shop(shop_with) -> ServiceUnderTest:
    return shop_with()


@pytest.fixture
def sessions(shop):
    return shop.sessions
