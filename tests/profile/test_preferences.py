"""The preference page and unsubscribing by signed links, as a browser without JavaScript gets them."""

import re
from datetime import UTC, datetime, timedelta
from urllib.parse import urlsplit
from uuid import UUID, uuid4

import pytest
from sqlalchemy import text

from services.profile.domain.links import Links
from tests.profile.test_consents import MARKETING, current, say
from tests.profile.test_contact_points import ask

HAN = re.compile(r"[一-鿿]")


def path_of(url):
    return urlsplit(url).path.removeprefix("/profile")


@pytest.fixture
def wang(profile):
    return profile.customer(name="王芳", email="wang@example.com", language="zh-CN")


@pytest.fixture
def stranger(profile):
    return profile.under_test.stranger


@pytest.fixture
def page(profile, wang):
    """The path of the customer's own preference page."""
    reply = profile.client.post(f"/v1/customers/{wang['id']}/preference-links")
    assert reply.status_code == 200, reply.text
    return path_of(reply.json()["url"])


def ticked(html):
    return set(re.findall(r'value="([a-z]+\.[a-z_]+)" checked', html))


def test_the_page_shows_each_topic_by_channel_in_the_customers_language(profile, wang, page, stranger):
    say(profile, wang, "granted")
    say(profile, wang, "denied", "survey/sms")
    shown = stranger.get(page, headers={"Accept-Language": "en"})
    assert (shown.status_code, shown.headers["Content-Language"]) == (200, "zh")
    assert '<html lang="zh-CN">' in shown.text
    assert shown.text.count("<fieldset") == shown.text.count("<legend>") == 5
    assert ticked(shown.text) == {"marketing.email"}
    assert 'id="survey-sms"' in shown.text  # was spoken of
    assert 'id="survey-phone"' not in shown.text  # no number, never spoken of


def test_the_page_can_be_had_in_english(page, stranger):
    shown = stranger.get(page, params={"lang": "en"})
    assert '<html lang="en">' in shown.text
    assert "What may we write to you about?" in shown.text
    assert HAN.findall(re.sub(r"<(nav|style).*?</\1>", "", shown.text, flags=re.DOTALL)) == []


def test_every_choice_has_a_label_and_every_topic_a_legend(page, stranger):
    html = stranger.get(page).text
    fields = re.findall(r'<input type="checkbox" id="([^"]+)"', html)
    assert len(fields) == 5
    assert set(fields) <= set(re.findall(r'<label for="([^"]+)"', html))
    described = set(re.findall(r'aria-describedby="([^"]+)"', html))
    assert described <= set(re.findall(r'\bid="([^"]+)"', html))
    assert "<main>" in html and "<nav aria-label=" in html


def test_what_is_ticked_is_granted_and_what_is_unticked_withdrawn_at_once(profile, wang, page, stranger):
    say(profile, wang, "granted")
    saved = stranger.post(page, data={"agree": ["survey.email"], "agreed": ["marketing.email"]})
    assert saved.status_code == 200
    assert 'role="status"' in saved.text
    assert ticked(saved.text) == {"survey.email"}
    assert current(profile, wang) == {MARKETING: "withdrawn", "survey/email": "granted"}
    assert ask(profile, wang["id"])[0]["reason"] == "no_consent"
    history = profile.client.get(f"/v1/customers/{wang['id']}/consents/history").json()["items"]
    assert {item["collected_where"] for item in history[:2]} == {"preference page"}
    assert {item["recorded_by"] for item in history[:2]} == {"customer"}


def test_saving_without_a_change_records_nothing(profile, wang, page, stranger):
    say(profile, wang, "granted")
    stranger.post(page, data={"agree": ["marketing.email"], "agreed": ["marketing.email"]})
    assert len(profile.ask("select * from consent")) == 1


def test_a_page_left_open_does_not_bring_back_what_was_withdrawn_elsewhere(profile, wang, page, stranger):
    say(profile, wang, "granted")
    say(profile, wang, "withdrawn")
    stranger.post(page, data={"agree": ["marketing.email"], "agreed": ["marketing.email"]})
    assert current(profile, wang) == {MARKETING: "withdrawn"}


def test_everything_can_be_stopped_at_once(profile, wang, page, stranger):
    for consent in (MARKETING, "survey/sms", "profiling/email"):
        say(profile, wang, "granted", consent)
    assert stranger.post(page, data={"withdraw": "all"}).status_code == 200
    assert set(current(profile, wang).values()) == {"withdrawn"}


def test_the_text_that_was_shown_is_on_record(profile, wang, page, stranger):
    body = {"texts": {"en": "Write to me", "zh": "给我写信"}}
    profile.client.put("/v1/consent-texts/marketing/2026-05", json=body)
    shown = stranger.get(page).text
    assert "给我写信" in shown and 'value="marketing:2026-05"' in shown
    stranger.post(
        page, data={"agree": ["marketing.email"], "shown": ["marketing:2026-05", "survey:nobody's"]}
    )
    [record] = profile.client.get(f"/v1/customers/{wang['id']}/consents").json()["items"]
    assert record["text_version"] == "2026-05"


@pytest.mark.parametrize("agree", ["service.email", "marketing.pigeon", "x", "", "marketing", "é.\u202e"])
def test_what_is_no_topic_is_ignored(profile, wang, page, stranger, agree):
    assert stranger.post(page, data={"agree": [agree]}).status_code == 200
    assert profile.ask("select * from consent") == []


def test_a_link_opens_the_page_for_a_time_and_says_when_it_is_over(profile, wang, stranger):
    links = Links(profile.under_test.settings)
    long_ago = datetime.now(UTC) - timedelta(days=200)
    expired = path_of(links.to_preferences(UUID(wang["id"]), long_ago))
    for reply in (stranger.get(expired), stranger.post(expired, data={"agree": ["marketing.email"]})):
        assert (reply.status_code, "该链接已过期" in reply.text) == (410, True)
    forger = Links(profile.under_test.settings.model_copy(update={"link_key": "somebody else's own key"}))
    forged = path_of(forger.to_preferences(UUID(wang["id"]), datetime.now(UTC)))
    for path in (
        forged,
        "/preferences/x",
        "/unsubscribe/x",
        path_of(links.to_preferences(uuid4(), long_ago))[:-1],
    ):
        assert stranger.get(path).status_code == stranger.post(path).status_code == 404
    assert profile.ask("select * from consent") == []


def test_an_erased_customers_links_are_no_longer_valid(profile, wang, page, stranger):
    unsubscribe = path_of(
        Links(profile.under_test.settings).to_unsubscribe(UUID(wang["id"]), "marketing", "email")
    )
    with profile.under_test.sessions.begin() as session:
        session.execute(text("update customer set state = 'erased'"))
    for path in (page, unsubscribe):
        assert stranger.get(path).status_code == stranger.post(path).status_code == 410


# Unsubscribing


@pytest.fixture
def unsubscribe(profile, wang):
    """The link in a message."""
    say(profile, wang, "granted")
    say(profile, wang, "granted", "survey/email")
    return path_of(ask(profile, wang["id"])[0]["unsubscribe_url"])


def test_one_click_in_a_mail_program_takes_the_consent_back(profile, wang, unsubscribe, stranger):
    reply = stranger.post(
        unsubscribe,
        content="List-Unsubscribe=One-Click",
        headers={"Content-Type": "application/x-www-form-urlencoded"},
        follow_redirects=False,
    )
    assert reply.status_code == 200
    assert current(profile, wang) == {MARKETING: "withdrawn", "survey/email": "granted"}
    assert ask(profile, wang["id"])[0]["reason"] == "no_consent"


def test_one_click_may_come_as_multipart_and_again(profile, wang, unsubscribe, stranger):
    for _ in range(2):
        reply = stranger.post(unsubscribe, files={"List-Unsubscribe": (None, "One-Click")})
        assert reply.status_code == 200
    states = [
        row.state
        for row in profile.ask("select state from consent where purpose = 'marketing' order by number")
    ]
    assert states == ["granted", "withdrawn"]


def test_opening_the_link_asks_first_for_mail_scanners_open_links_too(profile, wang, unsubscribe, stranger):
    shown = stranger.get(unsubscribe)
    assert (shown.status_code, "优惠和新闻" in shown.text, "<button" in shown.text) == (200, True, True)
    assert current(profile, wang)[MARKETING] == "granted"
    assert "您已退订" in stranger.post(unsubscribe).text
    assert current(profile, wang)[MARKETING] == "withdrawn"
