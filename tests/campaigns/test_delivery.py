"""Messages on their way: refused, lost, late, and sent by several at once."""

import os
import signal
import subprocess
import sys
import threading
from pathlib import Path
from uuid import UUID

from sqlalchemy import text

from services.campaigns.app import SERVICE
from services.campaigns.jobs import give_up_lost
from tests.campaigns.conftest import Sender, upgraded


def test_what_the_server_refuses_for_now_is_tried_again_later(sender, answers, mail_server):
    customer_id = upgraded(sender, answers)
    mail_server.refuse_message = "451 busy"
    sender.work()
    assert sender.messages(customer_id) == [("tier_upgrade", "pending", "message_refused_451")]
    mail_server.refuse_message = None
    sender.work()
    assert mail_server.received == []  # its pause has not passed
    sender.make_due()
    sender.work()
    assert sender.messages(customer_id) == [("tier_upgrade", "sent", None)]
    assert len(mail_server.received) == 1


def test_what_the_server_refuses_for_good_is_not_tried_again(sender, answers, mail_server):
    customer_id = upgraded(sender, answers)
    mail_server.refuse_recipient = "550 no such user"
    sender.work()
    assert sender.messages(customer_id) == [("tier_upgrade", "failed", "recipient_refused_550")]
    mail_server.refuse_recipient = None
    sender.make_due()
    sender.work()
    assert mail_server.received == []


def test_one_refused_message_does_not_hold_up_the_next(sender, answers, mail_server):
    upgraded(sender, answers, address="not an address\r\nX: y")
    customer_id = upgraded(sender, answers)
    sender.work()
    assert sender.messages(customer_id) == [("tier_upgrade", "sent", None)]
    assert len(mail_server.received) == 1


def test_too_many_tries_are_given_up(make_sender, answers, mail_server):
    sender = make_sender(smtp_url=mail_server.url, delivery_attempts=2)
    customer_id = upgraded(sender, answers)
    mail_server.refuse_message = "451 busy"
    for _ in range(3):
        sender.work()
        sender.make_due()
    assert sender.messages(customer_id) == [("tier_upgrade", "failed", "message_refused_451")]


def test_while_profile_or_the_mail_server_is_away_messages_wait(make_sender, answers):
    sender = make_sender(smtp_url="smtp://127.0.0.1:9", delivery_attempts=1)
    customer_id = upgraded(sender, answers)
    answers.away = True
    sender.work()
    assert sender.messages(customer_id) == [("tier_upgrade", "pending", "profile_unavailable")]
    answers.away = False
    sender.make_due()
    sender.work()
    ((_, state, reason),) = sender.messages(customer_id)
    assert (state, reason) == ("pending", "server_unavailable_ConnectionRefusedError")


def test_a_message_that_waited_too_long_is_not_sent_late(sender, answers, mail_server):
    customer_id = upgraded(sender, answers)
    sender.run_sql("update delivery set created_at = created_at - interval '4 days'")
    sender.work()
    assert sender.messages(customer_id) == [("tier_upgrade", "skipped", "expired")]


def test_a_claim_whose_worker_died_is_taken_over(sender, answers, mail_server):
    customer_id = upgraded(sender, answers)
    sender.run_sql(
        "update delivery set state = 'claimed', lease = gen_random_uuid(),"
        " leased_until = clock_timestamp() - interval '1 second'"
    )
    sender.work()
    assert sender.messages(customer_id) == [("tier_upgrade", "sent", None)]


def test_without_a_mail_server_messages_go_to_the_mailbox(make_sender, answers, tmp_path):
    sender = make_sender(mailbox_dir=str(tmp_path / "mailbox"))
    customer_id = upgraded(sender, answers)
    sender.work()
    (file,) = (tmp_path / "mailbox").iterdir()
    assert UUID(file.stem)
    assert file.suffix == ".eml"
    assert f"To: {customer_id}@example.com" in file.read_text()
    assert "尊敬的王芳：" in file.read_text()
    assert sender.messages(customer_id) == [("tier_upgrade", "sent", None)]


def test_nothing_personal_stays_in_the_database(sender, answers, mail_server):
    upgraded(sender, answers, name="王小明", address="canary@example.com")
    sender.work()
    assert len(mail_server.received) == 1
    with sender.service.sessions() as session:
        rows = session.execute(
            text("select to_jsonb(d)::text from delivery d union all select data::text from shared.outbox")
        ).scalars()
        assert not any("canary" in row or "小明" in row for row in rows)


def test_two_workers_at_once_send_each_message_once(service, answers, mail_server):
    urls = {
        "profile_url": answers.url,
        "feedback_url": answers.url,
        "smtp_url": mail_server.url,
        "service_key": "k",
    }
    sender = Sender(service(SERVICE, committing=True, delivery_batch=7, **urls))
    customers = [upgraded(sender, answers) for _ in range(40)]
    workers = [threading.Thread(target=sender.work) for _ in range(4)]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join()
    assert len(mail_server.received) == 40
    assert len({message["Message-ID"] for message in mail_server.received}) == 40
    assert all(sender.messages(customer_id) == [("tier_upgrade", "sent", None)] for customer_id in customers)


WORKER = """
import json, sys
from services.campaigns.app import SERVICE
from services.campaigns.jobs import deliver
from shared.database import open_engine, open_sessions
from shared.jobs.schedule import Context
settings = SERVICE.settings.model_validate(json.loads(sys.argv[1]) | {"sealing_keys": {"k1": bytes(32)}})
engine = open_engine(settings.database_url)
deliver(Context(settings, open_sessions(engine, settings=settings), engine))
"""


def test_a_message_whose_sender_died_before_recording_it_is_unknown_and_never_sent_again(
    service, answers, mail_server
):
    urls = {
        "profile_url": answers.url,
        "feedback_url": answers.url,
        "smtp_url": mail_server.url,
        "service_key": "k",
    }
    sender = Sender(service(SERVICE, committing=True, **urls))
    customer_id = upgraded(sender, answers)
    settings = sender.service.settings.model_dump_json(exclude={"sealing_keys"})
    worker = subprocess.Popen(
        [sys.executable, "-c", WORKER, settings], cwd=Path(__file__).parents[2], env=dict(os.environ)
    )
    mail_server.on_message = lambda: os.kill(worker.pid, signal.SIGKILL)
    assert worker.wait(30) == -signal.SIGKILL

    mail_server.on_message = lambda: None
    give_up_lost(sender.context)
    sender.work()
    assert sender.messages(customer_id) == [("tier_upgrade", "pending", None)]  # its lease has not run out
    sender.run_sql("update delivery set leased_until = clock_timestamp() - interval '1 second'")
    sender.work()
    give_up_lost(sender.context)
    sender.work()
    assert sender.messages(customer_id) == [("tier_upgrade", "unknown", "worker_lost")]
    assert len(mail_server.received) == 1
