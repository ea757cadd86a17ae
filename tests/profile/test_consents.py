from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from sqlalchemy import text

from services.profile.domain import consents
from services.profile.rules.consents import in_force_from, standing, state_of
from tests.profile.conftest import LONG_AGO, NOW, code_of

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


@dataclass(frozen=True)
class Said:
    state: str
    collected_at: datetime
    recorded_at: datetime
    expires_at: datetime | None = None

    @property
    def in_force_from(self):
        return in_force_from(self.state, self.collected_at, self.recorded_at)


@st.composite
def said(draw):
    state = draw(st.sampled_from(["granted", "denied", "withdrawn", "expired"]))
    hours = st.integers(0, 60).map(lambda hours: datetime(2026, 1, 1, tzinfo=UTC) + timedelta(hours=hours))
    ends = draw(st.none() | hours) if state == "granted" else None
    return Said(state, draw(hours), draw(hours), ends)


@given(st.lists(said(), max_size=6), st.randoms(), MOMENTS)
def test_what_holds_does_not_depend_on_the_order_in_which_records_arrive(records, random, at):
    shuffled = records[:]
    random.shuffle(shuffled)
    assert state_of(standing(shuffled), at) == state_of(standing(records), at)


@given(st.lists(said(), max_size=6), st.integers(0, 60))
def test_a_refusal_is_undone_only_by_a_consent_given_after_it_was_told(records, hours):
    told_at = datetime(2026, 1, 1, tzinfo=UTC) + timedelta(hours=hours)
    stands = standing([*records, Said("withdrawn", told_at, told_at)])
    assert stands.state != "granted" or min(stands.collected_at, stands.recorded_at) > told_at


@given(st.lists(said(), min_size=1, max_size=6))
def test_the_note_that_a_consent_expired_changes_nothing_that_its_end_did_not(records):
    without = [record for record in records if record.state != "expired"]
    assert standing(records) == standing(without)


@settings(max_examples=15, suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
@given(st.permutations(range(4)))
def test_history_told_in_any_order_gives_the_same_state(profile, order):
    customer = profile.customer(f"told {order}", email="o@example.com")
    days = [
        ("granted", "2024-01-01T10:00:00Z"),
        ("withdrawn", "2024-02-01T10:00:00Z"),
        ("granted", "2024-02-01T10:00:00Z"),
        ("denied", "2023-12-01T10:00:00Z"),
    ]
    for number in order:
        state, collected_at = days[number]
        assert say(profile, customer, state, collected_at=collected_at).status_code == 201
    assert current(profile, customer) == {MARKETING: "withdrawn"}
    found = profile.ask(
        "select state, in_force_from, expires_at from consent where customer_id = :id", id=customer["id"]
    )
    assert standing(found).state == "withdrawn"


def soon(**ahead):
    return (NOW + timedelta(**ahead)).isoformat()


def run_out(profile):
    """The end of every grant has come."""
    with profile.under_test.sessions.begin() as session:
        session.execute(
            text(
                "update consent set expires_at = collected_at + interval '1 microsecond' where expires_at is not null"
            )
        )
        session.execute(text("update consent_expiry set expires_at = now() - interval '1 second'"))


def test_a_consent_ends_when_it_was_given_for_a_time_and_its_end_is_recorded_and_announced_once(
    profile, wang
):
    granted = say(
        profile, wang, "granted", expires_at=soon(days=30), collected_where="till 3", collected_by="017"
    )
    assert granted.status_code == 201
    assert (granted.json()["collected_where"], granted.json()["collected_by"]) == ("till 3", "017")
    run_out(profile)
    assert current(profile, wang) == {MARKETING: "expired"}
    for _ in range(2):
        with profile.under_test.sessions.begin() as session:
            consents.expire(session)
    assert [event["state"] for event in profile.announced("consent_changed")] == ["granted", "expired"]
    assert current(profile, wang) == {MARKETING: "expired"}
    history = profile.client.get(f"/v1/customers/{wang['id']}/consents/history").json()["items"]
    assert [item["state"] for item in history] == ["expired", "granted"]
    assert history[0]["recorded_by"] == "expiry"
    assert profile.ask("select * from consent_expiry") == []


def test_a_consent_that_was_renewed_or_withdrawn_before_its_end_does_not_expire(profile, wang):
    other = profile.customer("other", email="o@example.com")
    for customer in (wang, other):
        say(profile, customer, "granted", expires_at=soon(days=30))
    say(profile, wang, "granted", text_version="2026-03")
    say(profile, other, "withdrawn")
    run_out(profile)
    with profile.under_test.sessions.begin() as session:
        assert consents.expire(session) == 2
    assert current(profile, wang) == {MARKETING: "granted"}
    assert current(profile, other) == {MARKETING: "withdrawn"}
    assert profile.ask("select * from consent where state = 'expired'") == []


def test_an_expired_consent_can_be_given_again(profile, wang):
    say(profile, wang, "granted", expires_at=soon(days=30))
    run_out(profile)
    assert say(profile, wang, "granted").status_code == 201
    assert current(profile, wang) == {MARKETING: "granted"}


@pytest.mark.parametrize(
    ("fields", "code"),
    [
        ({"state": "withdrawn", "expires_at": "2030-01-01T00:00:00Z"}, "only_grants_expire"),
        ({"state": "granted", "expires_at": "2020-01-01T00:00:00Z"}, "expires_too_early"),
    ],
)
def test_an_end_must_be_one(profile, wang, fields, code):
    reply = profile.client.put(f"/v1/customers/{wang['id']}/consents/{MARKETING}", json=fields)
    assert (reply.status_code, code_of(reply)) == (422, code)


def test_the_refusal_of_profiling_is_announced_for_all_to_see(profile, wang):
    say(profile, wang, "denied", "profiling/email")
    [changed] = profile.announced("consent_changed")
    assert (changed["purpose"], changed["state"], changed["customer_id"]) == (
        "profiling",
        "denied",
        wang["id"],
    )


def test_of_two_at_once_the_stricter_stands_in_whatever_order_they_came():
    at = datetime(2026, 1, 1, tzinfo=UTC)
    later = at + timedelta(days=9)
    withdrawn, denied = Said("withdrawn", at, at), Said("denied", at, at)
    sooner, endless = Said("granted", at, at, later), Said("granted", at, at)
    for stricter, laxer in ((withdrawn, denied), (denied, sooner), (sooner, endless)):
        assert standing([stricter, laxer]) is standing([laxer, stricter]) is stricter
