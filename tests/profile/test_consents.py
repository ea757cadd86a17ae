from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.profile.rules.consents import in_force_from
from tests.profile.conftest import LONG_AGO, code_of

MARKETING = "marketing/email"


@pytest.fixture
def wang(profile):
    return profile.customer(name="王芳", email="wang@example.com", phone="+8613812345678", language="zh")


def say(profile, customer, state, consent=MARKETING, **fields):
    return profile.client.put(
        f"/v1/customers/{customer['id']}/consents/{consent}", json={"state": state} | fields
    )


def current(profile, customer):
    items = profile.client.get(f"/v1/customers/{customer['id']}/consents").json()["items"]
    return {f"{item['purpose']}/{item['channel']}": item["state"] for item in items}


def test_what_was_said_last_holds_and_everything_stays_on_record(profile, wang):
    for state in ("granted", "withdrawn", "granted"):
        assert say(profile, wang, state).status_code == 201
    say(profile, wang, "denied", "survey/sms")
    assert current(profile, wang) == {MARKETING: "granted", "survey/sms": "denied"}
    history = profile.client.get(f"/v1/customers/{wang['id']}/consents/history?limit=3").json()
    assert [item["state"] for item in history["items"]] == ["denied", "granted", "withdrawn"]
    assert history["next_cursor"] is not None


def test_the_same_again_is_neither_recorded_nor_announced(profile, wang):
    first = say(profile, wang, "granted", text_version="2026-03", evidence="ticked the box at the till")
    again = say(profile, wang, "granted", text_version="2026-03", evidence="ticked the box at the till")
    assert (first.status_code, again.status_code) == (201, 200)
    assert first.json() == again.json()
    assert say(profile, wang, "granted", text_version="2026-04").status_code == 201
    [changed] = profile.announced("consent_changed")
    assert (changed["state"], changed["purpose"], changed["channel"]) == ("granted", "marketing", "email")
    assert changed["consent_id"] == first.json()["id"]


def test_evidence_is_sealed(profile, wang):
    reply = say(profile, wang, "granted", evidence="said so to Ms Li on the phone")
    assert reply.json()["evidence"] == "said so to Ms Li on the phone"
    [row] = profile.ask("select encode(evidence_sealed, 'escape') as text from consent")
    assert "Ms Li" not in row.text


def test_an_old_consent_told_late_does_not_undo_a_refusal(profile, wang):
    say(profile, wang, "denied")
    assert say(profile, wang, "granted", collected_at=LONG_AGO).status_code == 201
    assert current(profile, wang) == {MARKETING: "denied"}
    assert [event["state"] for event in profile.announced("consent_changed")] == ["denied"]


def test_a_withdrawal_holds_even_if_its_clock_is_behind(profile, wang):
    say(profile, wang, "granted")
    behind = (datetime.now(UTC) - timedelta(minutes=10)).isoformat()
    assert say(profile, wang, "withdrawn", collected_at=behind).status_code == 201
    assert current(profile, wang) == {MARKETING: "withdrawn"}


@pytest.mark.parametrize("consent", ["begging/email", "marketing/pigeon", "service/email"])
def test_unheard_of_purposes_and_channels_are_refused(profile, wang, consent):
    assert say(profile, wang, "granted", consent).status_code == 422


def ask(profile, *ids, purpose="marketing", channel="email"):
    reply = profile.client.post(
        "/v1/contact-points/lookup",
        json={"customer_ids": list(ids), "purpose": purpose, "channel": channel},
    )
    assert reply.status_code == 200, reply.text
    return reply.json()["items"]


def test_an_address_is_given_for_a_purpose_that_was_consented_to(profile, wang):
    consent = say(profile, wang, "granted").json()
    [found] = ask(profile, wang["id"])
    assert (found["address"], found["name"], found["language"]) == ("wang@example.com", "王芳", "zh")
    assert (found["reason"], found["consent_id"]) == (None, consent["id"])
    [audited] = profile.ask("select asked_at, asked_by, outcome, consent_id::text from disclosure")
    assert (audited.asked_by, audited.outcome, audited.consent_id) == ("admin", "disclosed", consent["id"])
    assert datetime.fromisoformat(found["valid_until"]) - audited.asked_at == timedelta(seconds=60)


def test_whoever_may_not_be_reached_is_answered_with_the_reason(profile, wang):
    refuses = profile.customer("refuses", email="r@example.com")
    say(profile, refuses, "granted")
    say(profile, refuses, "withdrawn")
    nowhere = profile.customer("nowhere")
    say(profile, nowhere, "granted")
    stranger = "01939d2c-0000-7000-8000-000000000000"
    answers = ask(profile, refuses["id"], wang["id"], nowhere["id"], stranger)
    assert [one["reason"] for one in answers] == [
        "no_consent",
        "no_consent",
        "no_contact_point",
        "unknown_customer",
    ]
    assert [one["consent_state"] for one in answers] == ["withdrawn", None, "granted", None]
    for one in answers:
        assert one["address"] is one["name"] is one["valid_until"] is None
    outcomes = profile.ask("select outcome from disclosure order by 1")
    assert [row.outcome for row in outcomes] == [
        "no_consent",
        "no_consent",
        "no_contact_point",
        "unknown_customer",
    ]


def test_the_contract_needs_no_consent(profile, wang):
    assert ask(profile, wang["id"], purpose="service", channel="sms")[0]["address"] == "+8613812345678"


def test_a_consent_is_for_its_purpose_and_channel_only(profile, wang):
    say(profile, wang, "granted")
    assert ask(profile, wang["id"], purpose="survey")[0]["reason"] == "no_consent"
    assert ask(profile, wang["id"], channel="sms")[0]["reason"] == "no_consent"


def test_a_thousand_are_answered_at_once_and_more_are_refused(profile, wang):
    say(profile, wang, "granted")
    answers = ask(profile, *[wang["id"]] * 1000)
    assert {one["address"] for one in answers} == {"wang@example.com"}
    reply = profile.client.post(
        "/v1/contact-points/lookup",
        json={"customer_ids": [wang["id"]] * 1001, "purpose": "marketing", "channel": "email"},
    )
    assert (reply.status_code, code_of(reply)) == (422, "validation_failed")


MOMENTS = st.timedeltas(timedelta(), timedelta(days=2000)).map(
    lambda age: datetime(2020, 1, 1, tzinfo=UTC) + age
)


@given(st.sampled_from(["granted", "denied", "withdrawn"]), MOMENTS, MOMENTS)
def test_nothing_is_in_force_before_it_was_collected_or_after_it_was_told(state, collected_at, now):
    assert min(collected_at, now) <= in_force_from(state, collected_at, now) <= now


@given(MOMENTS, st.timedeltas(timedelta(), timedelta(days=1)), MOMENTS)
def test_a_fresh_refusal_is_never_older_than_any_consent_before_it(now, behind, consented_at):
    granted = in_force_from("granted", consented_at, now)
    assert in_force_from("withdrawn", now - behind, now) >= granted
