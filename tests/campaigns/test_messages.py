"""Offers and messages: who gets one, who does not and why, and that nobody gets one twice."""

from datetime import timedelta
from uuid import uuid4

import pytest

from services.campaigns.jobs import deliver
from shared.events.feedback import CaseOpened, CaseReopened, CaseReplied, CaseResolved, SurveyInvited
from shared.events.profile import CustomerErased
from tests.campaigns.conftest import NOON, felt, minutes, tier, upgraded
from tests.campaigns.neighbours import CONSENT


def invited(customer_id, channel="email"):
    return SurveyInvited(
        customer_id=customer_id, invitation_id=uuid4(), survey_id=uuid4(), channel=channel, effective_at=NOON
    )


def case(kind, customer_id, case_id):
    return kind(
        customer_id=customer_id,
        case_id=case_id,
        category="complaint",
        severity="high",
        channel="web",
        effective_at=NOON,
    )


def test_an_upgrade_brings_an_offer_and_a_message(sender, answers, mail_server):
    customer_id = upgraded(sender, answers)
    (offer,) = sender.offers(customer_id)
    assert (offer["campaign_id"], offer["kind"], offer["percent"], offer["tier"]) == (
        "tier_upgrade",
        "percentage",
        10,
        "gold",
    )
    assert sender.messages(customer_id) == [("tier_upgrade", "pending", None)]

    sender.work()
    assert sender.messages(customer_id) == [("tier_upgrade", "sent", None)]
    (message,) = mail_server.received
    assert message["To"] == f"{customer_id}@example.com"
    assert message["Subject"] == "恭喜您升级为金卡会员，送您10%优惠"
    body = message.get_content()
    assert "尊敬的王芳：" in body
    assert offer["code"] in body
    assert "2026-12-20" in body
    assert message["List-Unsubscribe"] == "<mailto:hello@tea.example?subject=unsubscribe>"
    delivery_id = sender.service.client.get(f"/v1/customers/{customer_id}/messages").json()["items"][0]["id"]
    assert message["Message-ID"] == f"<{delivery_id}@tea.example>"
    issued, sent = sender.announced("offer_issued", "message_sent")
    assert issued["offer_id"] == offer["id"]
    assert (sent["message_id"], sent["consent_id"], sent["channel"]) == (delivery_id, CONSENT, "email")
    assert sent["causation_id"] == issued["causation_id"]


@pytest.mark.parametrize(
    ("name", "language", "greeting"),
    [
        (None, "en", "Dear member,"),
        ("  ", "zh-Hans-CN", "尊敬的会员："),
        (None, None, "Dear member,"),
        ("Ann Lee", "fr", "Dear Ann Lee,"),
        ("{{ 7 | times: 6 }}", "en", "Dear {{ 7 | times: 6 }},"),
        ("Eve\r\nBcc: all@example.com", "en", "Dear Eve Bcc: all@example.com,"),
    ],
)
def test_everybody_is_greeted_politely_in_a_language_we_have(
    sender, answers, mail_server, name, language, greeting
):
    upgraded(sender, answers, name=name, language=language)
    sender.work()
    (message,) = mail_server.received
    assert greeting in message.get_content().splitlines()
    assert message["Bcc"] is None


@pytest.mark.parametrize(
    "change",
    [
        {"name": "standard", "previous": "gold"},
        {"name": "silver", "previous": "gold"},
        {"name": "standard", "previous": None},
    ],
)
def test_whoever_does_not_rise_is_not_congratulated(sender, change):
    customer_id = sender.customer()
    sender.hear(tier(customer_id, change["name"], previous=change["previous"]))
    assert sender.offers(customer_id) == []
    assert sender.messages(customer_id) == []


def test_old_facts_and_a_first_calibration_reach_nobody_and_are_counted(sender):
    customers = [sender.customer() for _ in range(3)]
    sender.hear(
        tier(customers[0], "gold", previous=None, initial=True),
        tier(customers[1], "gold", previous=None, initial=True, historical=True),
        tier(customers[2], "gold", historical=True),
    )
    assert all(sender.messages(customer_id) == [] for customer_id in customers)
    assert sender.announced("offer_issued") == []
    assert sender.service.client.get("/v1/reports/held-back").json() == {
        "items": [
            {"trigger": "tier_upgrade", "reason": "historical", "count": 1},
            {"trigger": "tier_upgrade", "reason": "initial", "count": 2},
        ]
    }


def test_without_consent_nothing_is_sent_and_the_reason_is_on_record(sender, answers, mail_server):
    customer_id = upgraded(sender, answers, address=None, reason="no_consent", consent_id=None)
    sender.work()
    assert sender.messages(customer_id) == [("tier_upgrade", "skipped", "no_consent")]
    assert mail_server.received == []
    assert sender.announced("message_skipped")[0]["reason"] == "no_consent"
    assert [body["purpose"] for _, body in answers.asked] == ["marketing"]


def test_an_answer_of_profile_that_is_no_longer_valid_is_not_used(sender, answers, mail_server):
    customer_id = upgraded(sender, answers)
    answers.valid_for = timedelta(seconds=-1)
    deliver(sender.context)
    assert mail_server.received == []
    assert sender.messages(customer_id) == [("tier_upgrade", "pending", None)]


def test_a_survey_goes_out_with_the_link_that_feedback_gives(sender, answers, mail_server):
    customer_id = sender.customer()
    answers.know(customer_id)
    invitation = invited(customer_id)
    answers.links[str(invitation.invitation_id)] = "http://127.0.0.1:8080/feedback/s/token"
    sender.hear(invitation)
    sender.work()
    (message,) = mail_server.received
    assert "http://127.0.0.1:8080/feedback/s/token" in message.get_content()
    assert sender.messages(customer_id) == [("survey_invitation", "sent", None)]
    assert [path for path, _ in answers.asked] == [
        "/profile/v1/contact-points/lookup",
        "/feedback/v1/invitation-links/lookup",
    ]
    assert answers.asked[0][1]["purpose"] == "survey"


def test_a_case_reply_goes_out_as_a_service_message_even_to_a_detractor(sender, answers, mail_server):
    customer_id = sender.customer()
    answers.know(customer_id, consent_id=None)
    reply = CaseReplied(
        customer_id=customer_id, case_id=uuid4(), message_id=uuid4(), channel="email", effective_at=NOON
    )
    answers.case_messages[str(reply.message_id)] = "非常抱歉，{{ 我们 }} 马上处理。\n退款已经在路上。"
    sender.hear(felt(customer_id, "detractor"), reply)
    sender.work()
    (message,) = mail_server.received
    assert "非常抱歉，{{ 我们 }} 马上处理。\n退款已经在路上。" in "\n".join(
        message.get_content().splitlines()
    )
    assert "C-1001" in message["Subject"]
    assert message["List-Unsubscribe"] is None
    assert answers.asked[0][1]["purpose"] == "service"


def test_what_the_message_was_about_may_be_gone(sender, answers):
    customer_id = sender.customer()
    answers.know(customer_id)
    sender.hear(invited(customer_id))
    sender.work()
    assert sender.messages(customer_id) == [("survey_invitation", "skipped", "subject_gone")]


def test_a_channel_that_nobody_serves_is_skipped(sender):
    customer_id = sender.customer()
    sender.hear(invited(customer_id, "sms"))
    sender.work()
    assert sender.messages(customer_id) == [("survey_invitation", "skipped", "channel_unavailable")]


def test_a_detractor_hears_no_promotion_until_the_case_is_resolved(sender, answers, mail_server):
    customer_id, case_id = sender.customer(), uuid4()
    answers.know(customer_id)
    sender.hear(felt(customer_id, "detractor"), case(CaseOpened, customer_id, case_id))
    sender.hear(tier(customer_id, "gold"))
    sender.work()
    assert sender.messages(customer_id) == [("tier_upgrade", "skipped", "paused")]
    assert answers.asked == []
    sender.hear(case(CaseResolved, customer_id, case_id))
    sender.hear(tier(customer_id, "platinum", minutes(1), previous="gold"))
    sender.work()
    assert sender.messages(customer_id)[1] == ("tier_upgrade", "sent", None)


def test_promotions_stay_paused_while_another_case_is_open_and_when_one_is_reopened(sender):
    customer_id, first, second = sender.customer(), uuid4(), uuid4()

    def paused():
        sender.hear(tier(customer_id, "gold"))
        sender.work()
        return sender.messages(customer_id)[-1][2] == "paused"

    sender.hear(
        case(CaseOpened, customer_id, first),
        felt(customer_id, "detractor"),
        case(CaseOpened, customer_id, second),
    )
    sender.hear(case(CaseResolved, customer_id, second))
    assert paused()
    sender.hear(case(CaseResolved, customer_id, first))
    assert not paused()
    sender.hear(case(CaseReopened, customer_id, first))
    assert paused()
    sender.hear(felt(customer_id, "promoter", "detractor"))
    assert not paused()


def test_an_upgrade_heard_of_twice_is_one_offer_and_one_message(sender, answers, mail_server):
    customer_id = sender.customer()
    answers.know(customer_id)
    invitation = invited(customer_id)
    answers.links[str(invitation.invitation_id)] = "http://127.0.0.1/feedback/s/token"
    sender.hear(invitation)
    sender.hear(invitation)
    sender.work()
    assert len(mail_server.received) == 1


def test_an_erased_customer_is_left_alone(sender, answers, mail_server):
    customer_id = upgraded(sender, answers)
    sender.hear(CustomerErased(customer_id=customer_id, erased_at=NOON))
    sender.work()
    assert mail_server.received == []
    assert sender.announced("message_skipped")[0]["reason"] == "erased"
