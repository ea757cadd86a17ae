"""Double opt-in and refreshing by signed links: who holds the link confirms, once and in time."""

import re
from concurrent.futures import ThreadPoolExecutor
from urllib.parse import urlsplit
from uuid import UUID, uuid4

import pytest
from sqlalchemy import text

from services.profile.domain.links import Links
from tests.profile.conftest import code_of
from tests.profile.test_consents import MARKETING, current


@pytest.fixture
def wang(profile):
    return profile.customer(name="王芳", email="wang@example.com", phone="+8613812345678", language="zh-CN")


def ask(profile, customer, **body):
    body = body if body.get("kind") == "refresh" else {"kind": "opt_in", "purposes": ["marketing"]} | body
    return profile.client.post(f"/v1/customers/{customer['id']}/confirmations", json=body)


def path_of(url):
    return urlsplit(url).path.removeprefix("/profile")


def link_of(profile, confirmation):
    """What the sender gets to put into the message."""
    reply = profile.client.post(
        "/v1/confirmation-links/lookup", json={"confirmation_ids": [confirmation["id"], str(uuid4())]}
    )
    assert reply.status_code == 200, reply.text
    [link] = reply.json()["items"]
    return path_of(link["url"])


@pytest.fixture
def stranger(profile):
    return profile.under_test.stranger


@pytest.fixture
def asked(profile, wang):
    reply = ask(profile, wang)
    assert reply.status_code == 201, reply.text
    return reply.json()


def test_asking_announces_neither_the_link_nor_the_address(profile, wang, asked):
    [event] = profile.announced("confirmation_requested")
    assert (event["confirmation_id"], event["kind"], event["channel"]) == (asked["id"], "opt_in", "email")
    assert event["key"] == wang["id"]
    assert "http" not in str(event) and "wang@" not in str(event)
    assert "url" not in asked


def test_a_consent_is_granted_when_the_holder_of_the_link_agrees_and_not_before(
    profile, wang, asked, stranger
):
    path = link_of(profile, asked)
    for _ in range(2):
        page = stranger.get(path)
        assert page.status_code == 200
        assert "同意向我发送优惠信息和新闻" in page.text
    assert current(profile, wang) == {}
    thanks = stranger.post(path)
    assert (thanks.status_code, "谢谢您" in thanks.text) == (200, True)
    assert current(profile, wang) == {MARKETING: "granted"}
    [record] = profile.client.get(f"/v1/customers/{wang['id']}/consents").json()["items"]
    assert (record["collected_where"], record["recorded_by"]) == ("signed link", "customer")
    assert asked["id"] in record["evidence"]
    assert record["text_version"] == asked["purposes"]["marketing"]
    [listed] = profile.client.get(f"/v1/customers/{wang['id']}/confirmations").json()["items"]
    assert listed["state"] == "confirmed"


def test_a_link_works_once(profile, wang, asked, stranger):
    path = link_of(profile, asked)
    assert stranger.post(path).status_code == 200
    profile.client.put(f"/v1/customers/{wang['id']}/consents/{MARKETING}", json={"state": "withdrawn"})
    again = stranger.post(path)
    assert (again.status_code, "您已经确认过了" in again.text) == (409, True)
    assert stranger.get(path).status_code == 200
    assert current(profile, wang) == {MARKETING: "withdrawn"}
    reply = profile.client.post("/v1/confirmation-links/lookup", json={"confirmation_ids": [asked["id"]]})
    assert reply.json()["items"] == []


def test_an_expired_link_says_so_and_grants_nothing(profile, wang, asked, stranger):
    path = link_of(profile, asked)
    with profile.under_test.sessions.begin() as session:
        session.execute(text("update confirmation set expires_at = requested_at"))
    for reply in (stranger.get(path), stranger.post(path)):
        assert (reply.status_code, "该链接已过期" in reply.text) == (410, True)
    assert current(profile, wang) == {}


def test_whoever_has_another_address_by_now_has_confirmed_nothing_about_it(profile, wang, asked, stranger):
    path = link_of(profile, asked)
    profile.customer(email="another@example.com")
    assert stranger.get(path).status_code == 410
    assert stranger.post(path).status_code == 410
    assert current(profile, wang) == {}


def test_a_link_that_nobody_gave_out_is_a_page_that_says_so(profile, asked, stranger):
    settings = profile.under_test.settings
    forger = Links(settings.model_copy(update={"link_key": "another key than the company's"}))
    forged = path_of(forger.to_confirm(UUID(asked["id"])))
    # A link for refreshing does not confirm, though the same key signed it.
    crossed = path_of(Links(settings).to_confirm(UUID(asked["id"]), refresh=True)).replace(
        "refresh", "confirm"
    )
    unheard_of = path_of(Links(settings).to_confirm(uuid4()))
    for path in (forged, crossed, unheard_of, "/confirm/x", "/confirm/" + "a" * 5000, "/confirm/あ"):
        for reply in (stranger.get(path), stranger.post(path)):
            assert reply.status_code == 404, path
            assert "We do not know this link" in reply.text
    assert profile.ask("select * from consent") == []


def test_of_many_at_once_one_confirms(committing):
    customer = committing.customer(email="w@example.com")
    path = link_of(committing, ask(committing, customer).json())
    with ThreadPoolExecutor(8) as pool:
        replies = list(pool.map(lambda _: committing.under_test.stranger.post(path), range(16)))
    assert sorted(reply.status_code for reply in replies) == [200] + [409] * 15
    assert len(committing.announced("consent_changed")) == 1


def test_nobodys_mailbox_is_filled_by_asking_again_and_again(profile, wang, asked):
    again = ask(profile, wang)
    assert (again.status_code, code_of(again)) == (409, "asked_recently")


@pytest.mark.parametrize(
    ("body", "status", "code"),
    [
        ({"purposes": []}, 422, "validation_failed"),
        ({"kind": "refresh", "purposes": ["marketing"]}, 422, "validation_failed"),
        ({"kind": "sign_up"}, 422, "validation_failed"),
        ({"purposes": ["service"]}, 422, "validation_failed"),
    ],
)
def test_what_cannot_be_asked_is_refused(profile, wang, body, status, code):
    reply = ask(profile, wang, **body)
    assert (reply.status_code, code_of(reply)) == (status, code)


def test_whoever_has_no_address_cannot_be_asked(profile):
    reply = ask(profile, profile.customer("nowhere"))
    assert (reply.status_code, code_of(reply)) == (409, "no_contact_point")


def test_the_page_shows_the_text_that_was_in_use_when_the_customer_was_asked(profile, wang, stranger):
    def publish(version, words, **more):
        body = {"texts": {"en": words, "zh": f"{words}（中文）"}} | more
        return profile.client.put(f"/v1/consent-texts/marketing/{version}", json=body)

    assert publish("2026-01", "First text", valid_days=30).status_code == 201
    asked = ask(profile, wang).json()
    assert asked["purposes"] == {"marketing": "2026-01"}
    assert publish("2026-02", "Second text").status_code == 201
    assert (publish("2026-01", "Other text").status_code, publish("2026-02", "Second text").status_code) == (
        409,
        200,
    )
    path = link_of(profile, asked)
    assert "First text（中文）" in stranger.get(path).text
    stranger.post(path)
    [record] = profile.client.get(f"/v1/customers/{wang['id']}/consents").json()["items"]
    assert record["text_version"] == "2026-01"
    assert record["expires_at"] is not None
    versions = [item["version"] for item in profile.client.get("/v1/consent-texts").json()["items"]]
    assert versions == ["2026-01", "2026-02"]


def test_the_link_of_an_erased_customer_is_no_longer_valid(profile, wang, asked, stranger):
    path = link_of(profile, asked)
    with profile.under_test.sessions.begin() as session:
        session.execute(text("update customer set state = 'erased'"))
    assert (stranger.get(path).status_code, stranger.post(path).status_code) == (410, 410)


# Refreshing the own data


@pytest.fixture
def refreshing(profile, wang):
    return link_of(profile, ask(profile, wang, kind="refresh").json())


FINE = {
    "name": "王 芳",
    "phone": "+86 139 8765 4321",
    "birth_date": "1990-04-23",
    "region": "上海",
    "language": "en",
}


def test_a_customer_corrects_the_own_data_and_the_link_is_used_up(profile, wang, refreshing, stranger):
    page = stranger.get(refreshing)
    assert page.status_code == 200
    assert 'value="王芳"' in page.text and 'value="+8613812345678"' in page.text
    assert stranger.post(refreshing, data=FINE).status_code == 200
    found = profile.client.get(f"/v1/customers/{wang['id']}").json()
    assert (found["name"], found["phone"], found["birth_date"], found["region"], found["language"]) == (
        "王 芳",
        "+8613987654321",
        "1990-04-23",
        "上海",
        "en",
    )
    assert found["email"] == "wang@example.com"
    assert stranger.post(refreshing, data=FINE | {"name": "Eve"}).status_code == 409
    assert (
        "王" not in stranger.get(refreshing).text.replace("王芳", "")
        and "1990" not in stranger.get(refreshing).text
    )


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("phone", "call me"),
        ("birth_date", "23.4.1990"),
        ("birth_date", "1990-02-30"),
        ("name", "x" * 201),
        ("region", "x" * 101),
        ("language", "<b>"),
    ],
)
def test_what_cannot_be_taken_comes_back_and_the_link_still_works(
    profile, wang, refreshing, stranger, field, value
):
    page = stranger.post(refreshing, data=FINE | {field: value})
    assert page.status_code == 422
    assert f'href="#{field}"' in page.text and 'role="alert"' in page.text
    assert 'value="+86 139 8765 4321"' in page.text or field == "phone"
    assert profile.client.get(f"/v1/customers/{wang['id']}").json()["name"] == "王芳"
    assert stranger.post(refreshing, data=FINE).status_code == 200


def test_an_empty_field_removes_what_was_known(profile, wang, refreshing, stranger):
    assert stranger.post(refreshing, data=FINE | {"phone": "", "name": " "}).status_code == 200
    found = profile.client.get(f"/v1/customers/{wang['id']}").json()
    assert (found["phone"], found["name"]) == (None, None)


def test_a_form_of_a_public_page_is_short(profile, refreshing, stranger):
    reply = stranger.post(refreshing, data=FINE | {"name": "x" * 70_000})
    assert (reply.status_code, code_of(reply)) == (413, "body_too_large")


def test_hosted_pages_load_nothing_run_nothing_and_tell_nobody(profile, asked, stranger):
    page = stranger.get(link_of(profile, asked))
    assert "default-src 'none'" in page.headers["Content-Security-Policy"]
    assert page.headers["Referrer-Policy"] == "no-referrer"
    assert page.headers["Cache-Control"] == "no-store"
    assert "<script" not in page.text
    assert re.findall(r"""(?:src|href|action)=["']?(?:https?:)?//""", page.text) == []
