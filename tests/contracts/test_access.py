"""Nobody gets in: every operation of every service, with every credential that is not good there."""

import asyncio
import time
from uuid import uuid4

import pytest

from shared.auth.keys import hmac_of, new_key
from tests.conftest import PEPPER
from tests.contracts.members import SERVICES
from tests.identity_provider import forgeries

MINE, OTHERS = str(uuid4()), str(uuid4())


@pytest.fixture(params=SERVICES, ids=lambda service: service.name)
def guarded(request, service, idp):
    """A service, its operations that are not for everybody, and a key that it knows but that may do nothing."""
    powerless, digest = new_key(PEPPER)
    under_test = service(request.param, **idp.settings)
    settings = under_test.settings.model_copy(
        update={"environment_keys": {**under_test.settings.environment_keys, "nobody": digest}}
    )
    under_test = service(request.param, **idp.settings, environment_keys=settings.environment_keys)
    operations = [
        operation for operation in under_test.app.inner.operations.all if not operation.access.public
    ]
    assert len(operations) > 10
    return under_test, operations, powerless


def path_of(operation, customer_id=OTHERS):
    """The operation's path, about somebody's customer where it is about a customer."""
    path = operation.template
    for name in operation.pattern.groupindex:
        path = path.replace(f"{{{name}}}", customer_id if name.endswith("id") else "shop")
    return path


def ask(under_test, operation, credential, customer_id=OTHERS):
    headers = {} if credential is None else {"Authorization": f"Bearer {credential}"}
    url = f"http://testserver{path_of(operation, customer_id)}"
    return under_test.stranger.request(operation.method, url, headers=headers).status_code


def wrong_answers(under_test, operations, credentials, right):
    return [
        (name, operation.method, operation.template, status)
        for name, credential in credentials.items()
        for operation in operations
        if (status := ask(under_test, operation, credential)) not in right
    ]


def test_a_stranger_is_asked_for_a_credential_everywhere(guarded, idp):
    under_test, operations, _ = guarded
    unknown, _ = new_key(PEPPER)
    other_pepper = hmac_of(unknown, "another-pepper-than-the-tests")
    credentials = {"none": None, "unknown key": unknown, "a hash for a key": f"rgl_{other_pepper}"}
    assert wrong_answers(under_test, operations, credentials | forgeries(idp), {401}) == []


def test_a_good_credential_without_the_scope_is_refused_everywhere(guarded, idp):
    under_test, operations, powerless = guarded
    credentials = {
        "a key without scopes": powerless,
        "a token without scopes": idp.token(""),
        "a token with another scope": idp.token("nothing:read"),
        "a token with half a scope": idp.token("profile scoring campaigns feedback points: :read **"),
    }
    assert wrong_answers(under_test, operations, credentials, {403}) == []


def test_another_customers_token_is_refused_everywhere(guarded, idp):
    under_test, operations, _ = guarded
    credentials = {"another customer's token": idp.token("*", customer_id=MINE)}
    assert wrong_answers(under_test, operations, credentials, {403, 404}) == []


def test_a_customers_own_token_comes_in_where_the_document_says_so(guarded, idp):
    under_test, operations, _ = guarded
    own = idp.token("*", customer_id=MINE)
    for operation in operations:
        if operation.access.owner is not None and operation.method == "GET":
            assert ask(under_test, operation, own, MINE) not in (401, 403), operation.template


def test_a_member_of_staff_with_a_portfolio_is_refused_wherever_it_could_show_others_customers(guarded, idp):
    under_test, operations, _ = guarded
    limited = {"somebody's keeper": idp.token("*", staff_id="somebody")}
    reaching = [operation for operation in operations if operation.access.reach is None]
    assert len(reaching) > len(operations) / 2
    assert wrong_answers(under_test, reaching, limited, {403}) == []
    for operation in operations:
        assert operation.access.reach is None or "customer_id" not in operation.pattern.groupindex


def test_of_a_strangers_body_nothing_is_read(guarded, idp):
    under_test, operations, powerless = guarded
    refused = {"none": None, "expired": idp.token(exp=int(time.time()) - 3600), "powerless": powerless}
    for operation in operations:
        for name, credential in refused.items():
            status, headers, read = asyncio.run(send_13_mb(under_test.app, operation, credential))
            assert (status in (401, 403), read) == (True, 0), (name, operation.method, operation.template)
            assert headers[b"connection"] == b"close"


async def send_13_mb(app, operation, credential):
    """Announce a long body and count how often the application asks for a part of it."""
    read, sent = 0, []

    async def receive():
        nonlocal read
        read += 1
        return {"type": "http.request", "body": b"x" * 2**20, "more_body": True}

    async def send(message):
        sent.append(message)

    path = path_of(operation)
    headers = [(b"host", b"x"), (b"content-length", b"13631488"), (b"content-type", b"application/json")]
    if credential:
        headers.append((b"authorization", f"Bearer {credential}".encode()))
    scope = {
        "type": "http", "asgi": {"version": "3.0"}, "http_version": "1.1", "scheme": "http", "method": operation.method,
        "path": path, "raw_path": path.encode(), "query_string": b"", "root_path": "", "headers": headers,
        "client": ("127.0.0.1", 1), "server": ("127.0.0.1", 80),
    }  # fmt: skip
    await app(scope, receive, send)
    return sent[0]["status"], dict(sent[0]["headers"]), read
