"""Dead addresses: what the mail server refuses for good is told to profile, once it is there to hear it, and to nobody else."""

import os
import signal
import subprocess
import sys
from pathlib import Path
from uuid import UUID

import pytest
from sqlalchemy import text

from services.campaigns.app import SERVICE
from services.campaigns.jobs import STEPS, tell_bounces
from services.campaigns.rules.bounces import is_dead
from tests.campaigns.conftest import Sender, minutes, tier, upgraded

DEAD = "550 5.1.1 <canary@example.com>: no such user"


def bounced(sender, answers, mail_server, **person) -> UUID:
    """A customer whose message was refused because nobody is there."""
    customer_id = upgraded(sender, answers, **person)
    mail_server.refuse_recipient = DEAD
    sender.work()
    ((_, state, reason),) = sender.messages(customer_id)
    assert (state, reason) == ("failed", "recipient_refused_550")
    return customer_id


def tell(sender) -> None:
    """Everything that is to be told now."""
    while tell_bounces(sender.context):
        pass


def make_due(sender) -> None:
    """The pause before the next try, or the claim of a worker that died, has passed."""
    sender.run_sql("update bounce set due_at = clock_timestamp() - interval '1 second'")


def kept(sender) -> list[tuple[str | None, int]]:
    with sender.service.sessions() as session:
        rows = session.execute(text("select outcome, attempts from bounce order by delivery_id"))
        return [(row.outcome, row.attempts) for row in rows]


def test_a_dead_address_is_told_to_profile_once_by_whose_it_is(sender, answers, mail_server):
    customer_id = bounced(sender, answers, mail_server, reference="r1")
    tell(sender)
    tell(sender)
    message = sender.service.client.get(f"/v1/customers/{customer_id}/messages").json()["items"][0]
    assert answers.suppressed == {
        f"bounce:{message['id']}": {
            "customer_id": str(customer_id),
            "channel": "email",
            "reason": "bounce",
            "reference": "r1",
        }
    }
    assert kept(sender) == [("suppressed", 1)]


def test_a_profile_that_gives_no_reference_is_told_without(sender, answers, mail_server):
    customer_id = bounced(sender, answers, mail_server)
    tell(sender)
    (told,) = answers.suppressed.values()
    assert told == {"customer_id": str(customer_id), "channel": "email", "reason": "bounce"}


def test_it_is_told_by_whom_the_address_was_asked_for(sender, answers, mail_server):
    """Whoever has the message after a merge has another address."""
    customer_id = bounced(sender, answers, mail_server)
    sender.run_sql("update delivery set customer_id = gen_random_uuid()")
    tell(sender)
    (told,) = answers.suppressed.values()
    assert told["customer_id"] == str(customer_id)


@pytest.mark.parametrize(
    "answer",
    [
        "450 4.2.1 try again later",
        "452 4.2.2 mailbox full",
        "552 5.2.2 mailbox full",
        "550 5.7.1 blocked by policy",
        "554 5.7.1 relay access denied",
        "550 relay not permitted",
        "530 5.7.0 authentication required",
    ],
)
def test_a_refusal_that_is_not_the_address_s_fault_is_no_bounce(sender, answers, mail_server, answer):
    upgraded(sender, answers)
    mail_server.refuse_recipient = answer
    sender.work()
    tell(sender)
    assert kept(sender) == []


def test_neither_is_a_message_that_is_refused(sender, answers, mail_server):
    upgraded(sender, answers)
    mail_server.refuse_message = "550 5.1.1 looks like spam"
    sender.work()
    assert kept(sender) == []


def test_nor_a_mail_server_that_is_away(make_sender, answers):
    sender = make_sender(smtp_url="smtp://127.0.0.1:9")
    upgraded(sender, answers)
    sender.work()
    assert kept(sender) == []


@pytest.mark.parametrize(
    ("code", "said", "dead"),
    [
        (550, "no such user", True),
        (550, "5.1.1 relay@example.com unknown", True),
        (550, "5.4.1 Recipient address rejected: Access denied", True),
        (556, "5.1.10 null MX", True),
        (553, "5.1.8 sender's domain does not exist", False),
        (550, "5.1.11 something new", False),
        (551, "", True),
        (554, "no", False),
        (450, "4.1.1 greylisted", False),
        (250, "2.1.5 fine", False),
    ],
)
def test_an_address_is_dead_if_the_server_says_so(code, said, dead):
    assert is_dead(code, said) is dead


def test_while_profile_is_away_it_is_kept_and_told_later(sender, answers, mail_server):
    bounced(sender, answers, mail_server)
    answers.away = True
    for _ in range(3):
        tell(sender)
        make_due(sender)
    assert kept(sender) == [(None, 3)]
    answers.away = False
    tell(sender)
    assert len(answers.suppressed) == 1
    assert kept(sender) == [("suppressed", 4)]


def test_each_try_waits_longer_up_to_an_hour(sender, answers, mail_server):
    bounced(sender, answers, mail_server)
    answers.away = True
    pauses = []
    for attempts in (0, 1, 2, 40):
        sender.run_sql("update bounce set attempts = :attempts", attempts=attempts)
        make_due(sender)
        tell(sender)
        with sender.service.sessions() as session:
            pauses.append(
                round(
                    session.scalar(text("select extract(epoch from due_at - clock_timestamp()) from bounce"))
                )
            )
    assert pauses == pytest.approx([5, 10, 20, 3600], abs=2)


@pytest.mark.parametrize(
    "refusal",
    [
        (404, "customer_not_found"),
        (409, "contact_point_changed"),
        (410, "customer_erased"),
        (422, "no_contact_point"),
    ],
)
def test_where_there_is_nothing_to_suppress_that_is_the_end_of_it(sender, answers, mail_server, refusal):
    bounced(sender, answers, mail_server)
    answers.refusal = refusal
    tell(sender)
    make_due(sender)
    tell(sender)
    assert kept(sender) == [(refusal[1], 1)]


@pytest.mark.parametrize("refusal", [(403, "insufficient_scope"), (409, "idempotency_key_in_use")])
def test_any_other_refusal_is_tried_again_and_holds_up_nobody(sender, answers, mail_server, refusal):
    bounced(sender, answers, mail_server)
    bounced(sender, answers, mail_server)
    answers.refusal = refusal
    tell(sender)
    assert kept(sender) == [(None, 1), (None, 1)]
    answers.refusal = None
    make_due(sender)
    tell(sender)
    assert kept(sender) == [("suppressed", 2), ("suppressed", 2)]


def test_nothing_of_the_address_stays(sender, answers, mail_server, caplog, capsys):
    bounced(sender, answers, mail_server, name="王小明", address="canary@example.com")
    answers.refusal = (403, "insufficient_scope")
    tell(sender)
    with sender.service.sessions() as session:
        rows = [
            row
            for table in ("bounce", "delivery", "shared.outbox")
            for row in session.scalars(text(f"select to_jsonb(t)::text from {table} t"))
        ]
    said = capsys.readouterr()
    for each in (*rows, caplog.text, said.out, said.err):
        assert "canary" not in each
        assert "小明" not in each


def test_until_profile_was_told_nothing_more_is_sent_there(sender, answers, mail_server):
    customer_id = upgraded(sender, answers)
    sender.hear(tier(customer_id, "platinum", minutes(1), previous="gold"))
    mail_server.refuse_recipient = DEAD
    sender.work()
    mail_server.refuse_recipient = None
    answers.refusal = (403, "insufficient_scope")
    tell(sender)
    other = upgraded(sender, answers)
    sender.work()
    assert [(state, reason) for _, state, reason in sender.messages(customer_id)] == [
        ("failed", "recipient_refused_550"),
        ("pending", None),
    ]
    assert [message["To"] for message in mail_server.received] == [f"{other}@example.com"]

    answers.refusal = None
    make_due(sender)
    tell(sender)
    answers.know(customer_id, address=None, reason="suppressed")
    sender.work()
    assert sender.messages(customer_id)[1] == ("tier_upgrade", "skipped", "suppressed")
    assert len(mail_server.received) == 1


def test_work_tells_by_itself():
    assert tell_bounces in [step.run for step in STEPS]


WORKER = """
import json, sys
from services.campaigns.app import SERVICE
from services.campaigns.jobs import tell_bounces
from shared.database import open_engine, open_sessions
from shared.jobs.schedule import Context
settings = SERVICE.settings.model_validate(json.loads(sys.argv[1]) | {"sealing_keys": {"k1": bytes(32)}})
engine = open_engine(settings.database_url)
tell_bounces(Context(settings, open_sessions(engine, settings=settings), engine))
"""


def test_one_whose_teller_was_killed_is_told_again_under_the_same_key(service, answers, mail_server):
    settings = {
        "profile_url": answers.url,
        "feedback_url": answers.url,
        "smtp_url": mail_server.url,
        "service_key": "k",
    }
    sender = Sender(service(SERVICE, committing=True, **settings))
    bounced(sender, answers, mail_server)
    told = sender.service.settings.model_dump_json(exclude={"sealing_keys"})
    worker = subprocess.Popen(
        [sys.executable, "-c", WORKER, told], cwd=Path(__file__).parents[2], env=dict(os.environ)
    )
    answers.on_suppression = lambda: os.kill(worker.pid, signal.SIGKILL)
    assert worker.wait(30) == -signal.SIGKILL

    answers.on_suppression = lambda: None
    tell(sender)
    assert kept(sender) == [(None, 1)]  # its claim has not run out
    make_due(sender)
    tell(sender)
    assert kept(sender) == [("suppressed", 2)]
    assert len(answers.suppressed) == 1
