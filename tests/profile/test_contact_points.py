"""Contact points: given for a purpose, or refused with the reason; and never after a refusal was acknowledged."""

import random
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from datetime import datetime, timedelta
from uuid import UUID

import pytest
from sqlalchemy import text

from services.profile.domain import consents, contact_points, identities
from services.profile.domain.consents import GivenConsent
from tests.profile.conftest import NOW, code_of
from tests.profile.test_consents import say


@pytest.fixture
def wang(profile):
    return profile.customer(name="王芳", email="wang@example.com", phone="+8613812345678", language="zh")


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


def test_an_answer_carries_the_links_that_a_message_needs(profile, wang):
    say(profile, wang, "granted")
    [marketing] = ask(profile, wang["id"])
    assert "/profile/preferences/" in marketing["preferences_url"]
    assert "/profile/unsubscribe/" in marketing["unsubscribe_url"]
    [service] = ask(profile, wang["id"], purpose="service")
    assert service["preferences_url"] is not None
    assert service["unsubscribe_url"] is None


def test_on_wechat_the_openid_that_was_verified_last_stands_for_the_address(profile, wang):
    with profile.under_test.sessions.begin() as session:
        for value, verified in (
            ("oFirst_0123456789abcdefghijk", True),
            ("oGuess_0123456789abcdefghijk", False),
        ):
            identities.add(
                session, customer_id_of(wang), "wechat_openid", value, verified=verified, by="test", now=NOW
            )
    [answer] = ask(profile, wang["id"], purpose="service", channel="wechat")
    assert (answer["address"], answer["name"]) == ("oFirst_0123456789abcdefghijk", "王芳")
    nobody = profile.customer("nobody")
    assert ask(profile, nobody["id"], purpose="service", channel="wechat")[0]["reason"] == "no_contact_point"


def test_an_expired_consent_gives_nothing_from_the_moment_of_its_end(profile, wang):
    say(profile, wang, "granted", expires_at="2099-01-01T00:00:00Z")
    with profile.under_test.sessions.begin() as session:
        session.execute(text("update consent set expires_at = collected_at + interval '1 microsecond'"))
    [answer] = ask(profile, wang["id"])
    assert (answer["reason"], answer["consent_state"]) == ("no_consent", "expired")


def test_a_lookup_leaves_one_entry_in_the_audit_log(profile, wang):
    ask(profile, wang["id"], purpose="service")
    [entry] = profile.ask(
        "select actor, facts::text as facts from shared.audit_entry where action = 'contact_points_asked'"
    )
    assert entry.actor == "admin"
    assert '"asked_count": 1' in entry.facts or '"asked_count":1' in entry.facts


@pytest.fixture
def people(committing):
    """A thousand who agreed; made by the shortest way."""
    profile = committing
    ids = [profile.customer("first", email="p1@example.com")["id"]]
    with profile.under_test.sessions.begin() as session:
        session.execute(
            text(
                """
                insert into customer (customer_id, kind, email_sealed, registered_at)
                select gen_random_uuid(), 'person', null, now() from generate_series(2, 1000)
                """
            )
        )
        session.execute(
            text(
                """
                insert into consent (consent_id, customer_id, recorded_customer_id, purpose, channel, state, collected_at,
                    in_force_from, recorded_at, recorded_by)
                select gen_random_uuid(), customer_id, customer_id, 'marketing', 'email', 'granted', now(), now(), now(), 't'
                from customer
                """
            )
        )
        rows = session.execute(text("select customer_id from customer")).scalars()
        ids = [str(row) for row in rows]
        from shared import sealing

        sealed = sealing.seal_many(
            session,
            [(one, f"customer.email_sealed:{one}", f"{one}@example.com") for one in ids],
        )
        session.execute(
            text("update customer set email_sealed = :sealed where customer_id = :id"),
            [{"sealed": value, "id": one} for one, value in zip(ids, sealed, strict=True)],
        )
    return ids


def test_of_a_thousand_withdrawals_while_contact_points_are_asked_none_is_disclosed_after_its_acknowledgement(
    committing, people
):
    acknowledged, disclosed, stop = {}, [], threading.Event()

    def keep_asking(seed):
        chosen = random.Random(seed)
        while not stop.is_set():
            asked_at = time.monotonic()
            answers = ask(committing, *chosen.sample(people, 50))
            disclosed.extend((one["customer_id"], asked_at) for one in answers if one["address"] is not None)

    def withdraw(customer_id):
        reply = say(committing, {"id": customer_id}, "withdrawn")
        acknowledged[customer_id] = time.monotonic()
        assert reply.status_code == 201

    with ThreadPoolExecutor(6) as pool:
        asking = [pool.submit(keep_asking, seed) for seed in range(2)]
        list(pool.map(withdraw, people))
        stop.set()
        for one in asking:
            one.result()
    assert len(acknowledged) == 1000
    assert disclosed
    late = [one for one, asked_at in disclosed if asked_at > acknowledged[one]]
    assert late == []
    # And by the database's own clock: no answer was given after the withdrawal had been dated.
    after = committing.ask(
        """
        select count(*) from disclosure d join consent c using (customer_id)
        where d.outcome = 'disclosed' and c.state = 'withdrawn' and d.asked_at >= c.recorded_at
        """
    )
    assert after == [(0,)]
    assert {answer["reason"] for answer in ask(committing, *people)} == {"no_consent"}


def test_a_withdrawal_waits_for_the_answer_that_is_being_given(committing):
    customer = committing.customer(email="w@example.com")
    say(committing, customer, "granted")
    with ThreadPoolExecutor(1) as pool, committing.under_test.sessions() as session:
        [answer] = contact_points.look_up(session, [customer_id_of(customer)], "marketing", "email", "test")
        assert answer.address == "w@example.com"
        withdrawal = pool.submit(say, committing, customer, "withdrawn")
        time.sleep(0.3)
        assert not withdrawal.done()
        session.commit()
        assert withdrawal.result().status_code == 201


def test_an_answer_waits_for_the_withdrawal_that_is_being_recorded(committing):
    customer = committing.customer(email="w@example.com")
    say(committing, customer, "granted")
    with ThreadPoolExecutor(1) as pool, committing.under_test.sessions() as session:
        said = GivenConsent("withdrawn")
        consents.record(session, customer_id_of(customer), "marketing", "email", said, "test")
        asked = pool.submit(ask, committing, customer["id"])
        time.sleep(0.3)
        assert not asked.done()
        session.commit()
        assert asked.result()[0]["reason"] == "no_consent"


def customer_id_of(customer):
    return UUID(customer["id"])
