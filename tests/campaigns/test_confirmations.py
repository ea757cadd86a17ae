"""What profile asks a customer to confirm reaches the customer as a message; and every promotion can be unsubscribed from."""

from datetime import timedelta
from uuid import uuid4

import pytest

from services.campaigns.mail import compose
from services.campaigns.rules.content import Content
from shared.events.profile import ConfirmationRequested
from tests.campaigns.conftest import NOON, upgraded

UNSUBSCRIBE = "https://shop.example/profile/unsubscribe/" + "x" * 80
PREFERENCES = "https://shop.example/profile/preferences/" + "y" * 50


def asked(customer_id, kind="opt_in", channel="email"):
    return ConfirmationRequested(
        customer_id=customer_id,
        confirmation_id=uuid4(),
        kind=kind,
        channel=channel,
        effective_at=NOON,
        expires_at=NOON + timedelta(days=7),
    )


@pytest.mark.parametrize(
    ("kind", "language", "subject"),
    [
        ("opt_in", "en", "Please confirm: may we write to you?"),
        ("opt_in", "zh", "请您确认：我们可以给您发送信息吗？"),
        ("sign_up", "en", "Welcome! Please confirm your address"),
        ("sign_up", "zh-CN", "欢迎加入！请确认您的邮箱"),
        ("refresh", "en", "Are your details still right?"),
        ("refresh", "zh", "您的信息是否仍然准确？"),
    ],
)
def test_a_customer_gets_the_link_on_the_contract_and_not_on_consent(
    sender, answers, mail_server, kind, language, subject
):
    customer_id = sender.customer()
    answers.know(customer_id, language=language, consent_id=None)
    event = asked(customer_id, kind)
    answers.links[str(event.confirmation_id)] = "https://shop.example/profile/confirm/token"
    sender.hear(event)
    sender.work()
    assert sender.messages(customer_id) == [(f"confirmation_{kind}", "sent", None)]
    (message,) = mail_server.received
    assert message["Subject"] == subject
    assert "https://shop.example/profile/confirm/token" in message.get_content()
    assert message["List-Unsubscribe"] is None
    assert [body["purpose"] for path, body in answers.asked if path.endswith("points/lookup")] == ["service"]


def test_what_was_confirmed_or_expired_meanwhile_is_not_sent(sender, answers, mail_server):
    customer_id = sender.customer()
    answers.know(customer_id)
    sender.hear(asked(customer_id))
    sender.work()
    assert sender.messages(customer_id) == [("confirmation_opt_in", "skipped", "subject_gone")]
    assert mail_server.received == []


def test_a_kind_that_this_version_does_not_know_sends_nothing(sender, answers):
    customer_id = sender.customer()
    answers.know(customer_id)
    sender.hear(asked(customer_id, "renew_vows"))
    assert sender.messages(customer_id) == []


def test_a_promotion_is_unsubscribed_from_by_one_click(sender, answers, mail_server):
    upgraded(sender, answers, unsubscribe_url=UNSUBSCRIBE, preferences_url=PREFERENCES)
    sender.work()
    (message,) = mail_server.received
    assert message["List-Unsubscribe"] == f"<{UNSUBSCRIBE}>, <mailto:hello@tea.example?subject=unsubscribe>"
    assert message["List-Unsubscribe-Post"] == "List-Unsubscribe=One-Click"
    body = message.get_content()
    assert UNSUBSCRIBE in body and PREFERENCES in body


def test_the_link_to_unsubscribe_is_neither_broken_nor_encoded_on_the_wire():
    written = Content("恭喜您升级为金卡会员", "…")
    message = compose(
        uuid4(),
        "Tea <hello@tea.example>",
        "a@example.com",
        written,
        NOON,
        promotional=True,
        unsubscribe_url=UNSUBSCRIBE,
    )
    assert f"\r\nList-Unsubscribe: <{UNSUBSCRIBE}>,\r\n <mailto:".encode() in message.as_bytes()


def test_one_click_is_not_promised_without_tls(sender, answers, mail_server):
    upgraded(
        sender, answers, unsubscribe_url=UNSUBSCRIBE.replace("https", "http"), preferences_url=PREFERENCES
    )
    sender.work()
    (message,) = mail_server.received
    assert message["List-Unsubscribe-Post"] is None
    assert message["List-Unsubscribe"].startswith("<http://shop.example/")
