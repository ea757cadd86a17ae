"""An address that turns out to be dead while a message is sent: profile hears of it, and nobody is written to there again."""

from collections.abc import Iterator
from typing import Any

import pytest

from tests.campaigns.neighbours import MailServer
from tests.deployment import Deployment, Process
from tests.suite.test_a_purchase_travels import api, eventually

pytestmark = pytest.mark.xdist_group("deployment")

__all__ = ["api"]  # a fixture


@pytest.fixture
def mail_server(deployment: Deployment) -> Iterator[MailServer]:
    """For this test campaigns sends by SMTP instead of into the mailbox."""
    usual = deployment.processes["campaigns work"]
    server = MailServer()
    usual.stop()
    try:
        with server.running() as url:
            environment = {**usual.environment, "REGULARS_SMTP_URL": url}
            sender = Process("campaigns", "work", usual.arguments, environment, usual.log)
            sender.start()
            try:
                yield server
            finally:
                sender.stop()
    finally:
        usual.start()


def wrote(api: Any, customer_id: str, case_id: str, text: str) -> dict[str, Any]:
    """Write to the customer, and wait: what became of the message."""
    known = {
        each["id"] for each in api["campaigns"].get(f"/customers/{customer_id}/messages").json()["items"]
    }
    reply = api["feedback"].post(f"/cases/{case_id}/messages", json={"text": text})
    assert reply.status_code == 201, reply.text
    (settled,) = eventually(
        lambda: [
            each
            for each in api["campaigns"].get(f"/customers/{customer_id}/messages").json()["items"]
            if each["id"] not in known and each["state"] != "pending"
        ],
        lambda items: items,
    )
    return dict(settled)


def test_a_dead_address_is_suppressed_and_not_written_to_until_that_is_lifted(
    deployment: Deployment, api: Any, mail_server: MailServer
) -> None:
    body = {"kind": "person", "name": "王芳", "email": "dead@example.com", "language": "zh"}
    customer_id = api["profile"].put("/customers/by-external-id/shop/bounced", json=body).json()["id"]
    case = {"customer_id": customer_id, "subject": "Where is my cup?", "text": "It never came."}
    eventually(
        lambda: api["campaigns"].get(f"/customers/{customer_id}/points").status_code, lambda code: code == 200
    )
    case_id = api["feedback"].post("/cases", json=case).json()["id"]

    def look_up() -> dict[str, Any]:
        asked = {"customer_ids": [customer_id], "purpose": "service", "channel": "email"}
        return dict(api["profile"].post("/contact-points/lookup", json=asked).json()["items"][0])

    mail_server.refuse_recipient = "550 5.1.1 <dead@example.com>: no such user"
    refused = wrote(api, customer_id, case_id, "It is on its way.")
    assert (refused["state"], refused["reason"]) == ("failed", "recipient_refused_550")
    answer = eventually(look_up, lambda told: told["reason"])
    assert (answer["reason"], answer["suppression"], answer["address"]) == ("suppressed", "bounce", None)

    mail_server.refuse_recipient = None
    skipped = wrote(api, customer_id, case_id, "Did it arrive?")
    assert (skipped["state"], skipped["reason"]) == ("skipped", "suppressed")
    assert mail_server.received == []

    (suppression,) = api["profile"].get(f"/customers/{customer_id}/suppressions").json()["items"]
    assert (suppression["reason"], suppression["set_by"]) == ("bounce", "campaigns")
    lift = f"/suppressions/{suppression['id']}/lift"
    assert api["profile"].post(lift, json={"because": "the mailbox is back"}).status_code == 200
    assert wrote(api, customer_id, case_id, "And now?")["state"] == "sent"
    (message,) = mail_server.received
    assert message["To"] == "dead@example.com"

    with deployment.connect("campaigns") as connection:
        rows = connection.execute("select to_jsonb(b)::text from bounce b").fetchall()
    assert rows
    assert not any("dead@" in row for (row,) in rows)
    logs = "".join(process.log.read_text() for process in deployment.processes.values())
    assert "dead@example.com" not in logs
